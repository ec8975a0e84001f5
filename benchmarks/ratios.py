"""Ratios to ceilings that are kept, by kind of processor, in benchmarks/ratios.json, and what fell below them.

A ratio is a benchmark's rate over that of the limit it names, measured in the same run: so it says what our code makes of a
processor, not how fast that one is.
"""

import json
import pathlib
import re

KEPT = pathlib.Path(__file__).resolve().parent / "ratios.json"
MOST_LOST = 0.15


def read(path=KEPT):
    """{processor: {id: ratio}}. ValueError with the file and the place for anything else."""
    if not path.exists():
        return {}
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}; expected JSON as --keep writes it") from None
    if not isinstance(kept, dict):
        raise ValueError(f"{path}: is no object; expected ratios by processor")
    for cpu, ratios in kept.items():
        if not isinstance(ratios, dict):
            raise ValueError(f"{path}: {cpu!r}: is no object; expected ratios by id")
        for name, ratio in ratios.items():
            if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not ratio > 0:
                raise ValueError(f"{path}: {cpu!r}: {name!r}: {ratio!r}; expected a number above 0")
    return kept


def processor(cpuinfo):
    """The first processor of a /proc/cpuinfo, as rows of experiments name it: virtual machines call several generations
    alike, but tell family and model. None when it has no name."""
    first = cpuinfo.split("\n\n")[0]
    said = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", first, re.M))
    if "model name" not in said or "cpu family" not in said:
        return said.get("model name")
    return f"{said['model name']}, family {said['cpu family']}" + (f" model {said['model']}" if "model" in said else "")


def mine(kept, cpu):
    """The ratios of a processor; of its family where its model has none. {} for a stranger."""
    return kept.get(cpu) or kept.get(cpu.split(" model ")[0], {})


def of(rows):
    """{id: ratio} of the rows that have one; a run too short to finish a single item has none."""
    return {row["id"]: row["ratio"] for row in rows if row.get("ratio", 0) > 0}


def fallen(rows, kept, most_lost=MOST_LOST):
    """[(id, ratio, kept ratio)] of rows that lost more than a share of theirs, worst first; rows without a kept one are new."""
    found = [(name, ratio, kept[name]) for name, ratio in of(rows).items()
             if name in kept and ratio < (1 - most_lost) * kept[name]]
    return sorted(found, key=lambda each: each[1] / each[2])


def better_of(rows, again):
    """The rows, each replaced by what was measured again where that has a higher ratio: noise only ever slows."""
    second = {row["id"]: row for row in again if "ratio" in row}
    return [max((row, second[row["id"]]), key=lambda r: r["ratio"])
            if "ratio" in row and row["id"] in second else row for row in rows]


def keep(cpu, rows, path=KEPT):
    """Puts the rows' ratios beside those of other processors and other benchmarks."""
    kept = read(path)
    kept.setdefault(cpu, {}).update({name: float(f"{ratio:.3g}") for name, ratio in of(rows).items()})
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    unfinished.replace(path)
