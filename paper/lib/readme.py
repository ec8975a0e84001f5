"""Writes the generated parts of README.md and of experiments/quality/README.md from the committed rows and the headers;
--check only compares.

A part lies between `<!-- generated: NAME -->` and `<!-- end -->`."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "paper"))

from lib import claims as claim_tools  # noqa: E402
from lib import rows as row_tools  # noqa: E402

_PART = re.compile(r"(<!-- generated: (\w+) -->\n)(.*?)(<!-- end -->)", re.S)


def line_part():
    [claim] = [one for one in claim_tools.load(ROOT / "paper" / "claims.toml")
               if one["id"] == "pagedattention.fig02.vllm_token_states"]
    result = claim_tools.evaluate(claim, row_tools.RowSet(ROOT / "paper" / "results"))
    return f"```text\n{claim_tools.line(claim, result)}\n```\n"


def claims_part():
    """Every figure and table of the paper with how many of its claims hold, and each that does not."""
    claims = claim_tools.load(ROOT / "paper" / "claims.toml")
    rows = row_tools.RowSet(ROOT / "paper" / "results")
    results = {claim["id"]: claim_tools.evaluate(claim, rows) for claim in claims}
    places = {}
    for claim in claims:
        paper, _, rest = claim["id"].partition(".")
        if paper == "pagedattention" and not claim_tools.is_check(results[claim["id"]]):
            places.setdefault(rest.partition(".")[0], []).append(claim)

    def title(place):
        found = re.fullmatch(r"(fig|tab)0?(\d+)([a-z]?)", place)
        if found is None:
            return place.capitalize()
        kind, number, letter = found.groups()
        return {"fig": "Figure", "tab": "Table"}[kind] + f" {number}" + (f"({letter})" if letter else "")

    lines = ["| | hold | those that do not: published, here |", "|---|---|---|"]
    for place in sorted(places, key=lambda place: (not place[:3] in ("tab", "fig"), place[3:], place)):
        found = [(claim, results[claim["id"]]) for claim in places[place]]
        false = [f"{result.sentence}: {claim_tools.number(result.published, claim.get('unit', ''))}, "
                 f"{claim_tools.number(result.here, claim.get('unit', ''))}" for claim, result in found if not result.holds]
        lines.append(f"| {title(place)} | {len(found) - len(false)} of {len(found)} | {'; '.join(false)} |")
    return "\n".join([*lines, "", f"Of all papers, in the committed rows {claim_tools.score(results.values())}; the report, and the "
                      "command's own output, say of each that does not by how much it fails and what is known of why."]) + "\n"


_SLOTS = ("block_size", "reservation", "prefix_index", "eviction", "admission", "offload", "kv_format", "weight_format",
          "retention", "scheduler", "speculation", "router")
# Headers whose policies are a family: how their names are made.
_FAMILIES = {
    "weight_format/a8": "<format>_a8", "weight_format/bitmap": "bitmap_<percent>",
    "eviction/lru_k": "lru_k", "weight_format/int4_grouped": "int<bits>_g<group>",
    "weight_format/int8_grouped": None, "weight_format/int_per_channel": "int<bits>_per_channel", "weight_format/int4_zero_point": "int<bits>_zero_point_g<group>",
    "weight_format/linear_only": "<format>_head_<format>", "weight_format/llm_int8": "llm_int8", "kv_format/int4_grouped": "int<bits>_g<group>",
    "kv_format/int4_per_token_head": "int<bits>_per_token_head",
    "kv_format/channel_groups": "int<bits>_channel_g<group>", "kv_format/kivi": "kivi<bits>_g<group>_r<window>",
    "kv_format/before_rotation": "pre_rope_<format>", "kv_format/rotated": "rotated_<format>",
    "kv_format/turboquant": "turboquant<bits>", "kv_format/keys_values": "k_<format>_v_<format>",
    "kv_format/skip_layers": "<format>_skip<first>_<last>",
    "kv_format/fp8_per_head": "fp8_<e5m2_>per_head_<min_max, percentile or mse>",
    "kv_format/fp8_per_tensor": "fp8_<e5m2_>per_tensor_<min_max, percentile or mse>",
    "kv_format/kvquant": "kvquant<bits>", "kv_format/gear": "gear<bits>_r<rank>_s<percent>",
}


def _slot_of(alias):
    return re.sub(r"(?<!^)(?=[A-Z])", "_", alias).lower()


def presets(folder=ROOT / "include" / "quire" / "presets"):
    """Presets as (name, header, {slot: policy}); a preset that derives from another inherits its slots."""
    structs = {}
    for header in sorted(folder.glob("*.hpp")):
        text = header.read_text(encoding="utf-8")
        for kind, base, body in re.findall(r"^struct (\w+)(?:\s*:\s*(?:public )?(\w+))?\s*\{(.*?)^\};", text, re.S | re.M):
            structs[kind] = (base, body, header.name)

    def slots_of(kind):
        base, body, _ = structs[kind]
        slots = slots_of(base) if base in structs else {}
        for alias, policy in re.findall(r"using (\w+) = ([\w:<>]+);", body):
            slots[_slot_of(alias)] = policy.rpartition("::")[2]
        return slots

    found = []
    for kind, (_, body, header) in structs.items():
        name = re.search(r'string_view name =\s*"([^"]+)"', body)
        if name:
            found.append((name.group(1), header, slots_of(kind)))
    return found


def presets_part():
    lines = ["| Preset | block | reservation | offload | scheduler |", "|---|---|---|---|---|"]
    for name, header, slots in presets():
        cells = [re.sub(r"\D", "", slots.get("block_size", "")), slots.get("reservation", ""), slots.get("offload", ""),
                 slots.get("scheduler", "")]
        lines.append(f"| [`{name}`](include/quire/presets/{header}) | " + " | ".join(f"`{cell}`" for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def policies_part():
    """Every slot with its policies, read from the headers' own names."""
    lines = ["| Slot | policies |", "|---|---|"]
    for slot in _SLOTS:
        names = []
        for header in sorted((ROOT / "include" / "quire" / slot).glob("*.hpp")):
            text = header.read_text(encoding="utf-8")
            if header.stem not in ("concepts", slot) and "// mechanism" not in text:
                names += re.findall(r'static constexpr std::string_view name = "([^"]+)"', text)
            family = _FAMILIES.get(f"{slot}/{header.stem}")
            if family:
                names.append(family)
            elif "std::string_view name = text" in text and f"{slot}/{header.stem}" not in _FAMILIES:
                raise SystemExit(f"readme: {header}: say in _FAMILIES how its names are made")
        if slot == "block_size":
            names = [str(1 << power) for power in range(9)]
        lines.append(f"| `{slot}` | " + ", ".join(f"`{name}`" for name in names) + " |")
    return "\n".join(lines) + "\n"


def _interval(row, metric, digits=2):
    low, high = row[f"{metric}_low"], row[f"{metric}_high"]
    return f"{row[metric]:+.{digits}f} % ({low:+.{digits}f} to {high:+.{digits}f})"


def _quality(**where):
    found = row_tools.RowSet(ROOT / "paper" / "results").select("quality", **where)
    return [row for row in found if "perplexity_change_percent" in row]


def kv_formats_part():
    lines = ["| Format | bits a value | change of perplexity | KL, nat a token | with outliers emulated in the keys |",
             "|---|---|---|---|---|"]
    rough = {row["kv_format"]: row for row in _quality(keys="outliers_emulated")}
    found = [row for row in _quality(keys="as_trained") if row["kv_format"] != "fp32"]
    for row in sorted(found, key=lambda row: (-row["pool_bits_per_value"], row["kv_format"])):
        beside = rough.get(row["kv_format"])
        lines.append(f"| `{row['kv_format']}` | {row['pool_bits_per_value']:.2f} | "
                     f"{_interval(row, 'perplexity_change_percent')} | {row['divergence']:.5f} | "
                     f"{_interval(beside, 'perplexity_change_percent') if beside else ''} |")
    return "\n".join(lines) + "\n"


def weight_formats_part():
    lines = ["| Weights | bits a weight | change of perplexity | KL, nat a token | takes away of rounding |",
             "|---|---|---|---|---|"]
    removed = {(row["better"], row["inputs"]): row for row in row_tools.RowSet(ROOT / "paper" / "results").of("quality")
               if "removed_percent" in row and row["worse"].startswith("rtn_") and "part" not in row}

    def bits(row):
        return row.get("stored_bits_per_weight", row["bits_per_weight"])

    found = [row for row in _quality(kv_format="fp32") if "bits_per_weight" in row and "part" not in row]
    for row in sorted(found, key=lambda row: (row.get("inputs", ""), -bits(row), row["weight_format"])):
        emulated = ", outliers emulated in the inputs" if row.get("inputs") == "outliers_emulated" else ""
        beside = removed.get((row["weight_format"], row.get("inputs")))
        share = (f"{beside['removed_percent']:.0f} % ({beside['removed_percent_low']:.0f} to "
                 f"{beside['removed_percent_high']:.0f})") if beside else ""
        lines.append(f"| `{row['weight_format']}`{emulated} | {bits(row):.2f} | "
                     f"{_interval(row, 'perplexity_change_percent')} | {row['divergence']:.5f} | {share} |")
    return "\n".join(lines) + "\n"


def prose_part():
    rows = [row for row in _quality(part="prose") if (row["kv_format"], row["weight_format"]) != ("fp32", "fp32")]
    lines = ["| Keys and values, or weights | bits in memory | change of perplexity | KL, nat a byte |", "|---|---|---|---|"]
    for of, name, bits in (("kv", "kv_format", "pool_bits_per_value"),
                           ("weights", "weight_format", "stored_bits_per_weight")):
        for row in sorted((row for row in rows if row[name] != "fp32"), key=lambda row: (-row[bits], row[name])):
            lines.append(f"| {of}: `{row[name]}` | {row[bits]:.2f} | {_interval(row, 'perplexity_change_percent')} | "
                         f"{row['divergence']:.5f} |")
    return "\n".join(lines) + "\n"


def pruning_part():
    rows = [row for row in _quality(part="pruning") if "weight_format" in row]
    lines = ["| Weights left out | bits a weight in memory | change of perplexity | KL, nat a token |", "|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: (row["weight_format"].split("_")[-2:], row["perplexity_change_percent"])):
        lines.append(f"| `{row['weight_format']}` | {row['stored_bits_per_weight']:.2f} | "
                     f"{_interval(row, 'perplexity_change_percent')} | {row['divergence']:.5f} |")
    return "\n".join(lines) + "\n"


def low_rank_part():
    rows = [row for row in _quality(part="low_rank") if "factor_bits_per_weight" in row]

    def share(row):
        return int(row["weight_format"].split("_percent")[0].rsplit("_", 1)[1])

    lines = ["| Layers | bits a weight, both factors | in memory, whole panels | change of perplexity | KL, nat a token |",
             "|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: (share(row), row["perplexity_change_percent"])):
        lines.append(f"| `{row['weight_format']}` | {row['factor_bits_per_weight']:.2f} | {row['stored_bits_per_weight']:.2f} | "
                     f"{_interval(row, 'perplexity_change_percent')} | {row['divergence']:.5f} |")
    return "\n".join(lines) + "\n"


def qat_part():
    rows = [row for row in _quality(part="qat") if "weight_format" in row]
    removed = {row["better"]: row for row in row_tools.RowSet(ROOT / "paper" / "results").select("quality", part="qat")
               if row.get("worse", "").startswith("rtn_")}
    lines = ["| Weights | bits a weight in memory | change of perplexity | KL, nat a byte | takes away of rounding |",
             "|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: (-row["bits"], -row["perplexity_change_percent"])):
        beside = removed.get(row["weight_format"])
        share = (f"{beside['removed_percent']:.0f} % ({beside['removed_percent_low']:.0f} to "
                 f"{beside['removed_percent_high']:.0f})") if beside else ""
        lines.append(f"| `{row['weight_format']}` | {row['stored_bits_per_weight']:.2f} | "
                     f"{_interval(row, 'perplexity_change_percent')} | {row['divergence']:.5f} | {share} |")
    return "\n".join(lines) + "\n"


def distillation_part():
    results = row_tools.RowSet(ROOT / "paper" / "results")
    rows = [row for row in _quality(part="distillation") if "objective" in row]
    drafts = {(row["objective"], row["student"], row["temperature"]): row["tokens_a_step"]
              for row in results.select("speculation", part="draft")}
    lines = ["| Student | seed | perplexity a byte | KL from the teacher, nat a byte | most probable byte the teacher's | "
             "drafts that hold, by probabilities | tokens a step with 5 drafts, temperature 0 / 1 |",
             "|---|---|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: (row["objective"], row["student"])):
        greedy, drawn = (drafts[row["objective"], row["student"], temperature] for temperature in (0, 1))
        lines.append(f"| `{row['objective']}` | {row['student']} | {row['perplexity']:.3f} | {row['divergence']:.4f} | "
                     f"{row['agreement_percent']:.1f} % | {row['overlap']:.3f} | {greedy:.2f} / {drawn:.2f} |")
    return "\n".join(lines) + "\n"


def fixed_memory_part():
    found = row_tools.RowSet(ROOT / "paper" / "results").select("quality", part="memory", weight_format="bf16")
    here = row_tools.RowSet(ROOT / "paper" / "results").select("quality", part="memory", hardware="cpu")
    gpu = {(row["hardware"], row["kv_format"]): row for row in found}
    lines = ["| Keys and values | here, 4 MiB, one thread (measured) | A100-80GB (simulated) | H200 (simulated) |",
             "|---|---|---|---|"]
    for row in sorted(here, key=lambda row: (row["sequences"], row["kv_format"])):
        cells = [gpu[device, row["kv_format"]] for device in ("a100_80gb", "h200")]
        lines.append(f"| `{row['kv_format']}` | {row['sequences']} sequences, {row['tokens_per_s']:,.0f} tokens/s | "
                     + " | ".join(f"{cell['sequences']:,}, {cell['tokens_per_s']:,.0f} tokens/s" for cell in cells) + " |")
    return "\n".join(lines) + "\n"


PARTS = {"line": line_part, "claims": claims_part, "presets": presets_part, "policies": policies_part}
QUALITY_PARTS = {"kv_formats": kv_formats_part, "weight_formats": weight_formats_part,
                 "low_rank": low_rank_part, "prose": prose_part, "pruning": pruning_part, "qat": qat_part,
                 "distillation": distillation_part, "fixed_memory": fixed_memory_part}
FILES = {"README.md": PARTS, "experiments/quality/README.md": QUALITY_PARTS}


def filled(text, parts=PARTS):
    """The text with every generated part made anew."""
    return _PART.sub(lambda match: match.group(1) + parts[match.group(2)]() + match.group(4), text)


def main(arguments):
    stale = []
    for name, parts in FILES.items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        made = filled(text, parts)
        if made == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.write_text(made, encoding="utf-8")
    if "--check" in arguments and stale:
        print(f"{', '.join(stale)} is stale: run `python3 paper/lib/readme.py`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
