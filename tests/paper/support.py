"""Shared by these tests: finds paper/lib, and makes rows that answer every claim."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "paper"))

PROVENANCE = {"git_sha": "0" * 40, "git_dirty": False, "version": "0.1.0", "compiler": "g++ 12", "build_type": "Release",
              "cmdline": "kv_memory_waste --out rows.jsonl", "time_utc": "2026-01-01T00:00:00Z", "simulated": True}
_count = 0


def row(experiment="batching", **fields):
    """A complete row with a new run_id."""
    global _count
    _count += 1
    made = {**PROVENANCE, "simulated": fields.get("mode", "simulated") == "simulated"}
    return {"schema": "quire.result/1", "run_id": f"run-{_count}", "experiment": experiment, "variant": "vllm",
            "workload": "sharegpt", "seed": 0, "mode": "simulated", "provenance": made, **fields}


def _middle(published):
    low, high = published if isinstance(published, list) else (published, published)
    return (low + high) / 2


def answering_rows(claims):
    """Rows by experiment from which every claim has exactly its published number, but those that only bound it from above."""
    by_experiment, seen, values = {}, {}, {}

    def key_of(here, where):
        return (here["experiment"], here.get("reduce") == "crossing", *sorted(where.items()))

    def answer(claim, where, value):
        """Makes the rows hold this value, unless another claim has given them one; returns what they hold."""
        here = claim["here"]
        key = key_of(here, where)
        crossing = key[1]
        value = values.setdefault((*key, here["metric"]), value)
        latencies = (0.2 * here["level"], 1.8 * here["level"]) if crossing else (value,)
        if key not in seen:
            axis = [{here["axis"]: value * share} for share in (0.5, 1.5)] if crossing else [{}]
            seen[key] = [row(here["experiment"], mode=claim["mode"], **where, **one) for one in axis]
            by_experiment.setdefault(here["experiment"], []).extend(seen[key])
        for one, latency in zip(seen[key], latencies):
            one.setdefault(here["metric"], latency)
        return value

    for claim in claims:
        here = claim["here"]
        if here.get("reduce") in ("argmin", "argmax"):
            for x, y in ((_middle(claim["published"]), 1), (1e6, 2 if here["reduce"] == "argmin" else 0)):
                answer(claim, {**here["rows"], here["axis"]: x}, y)
        elif "over" not in here:
            published = claim["published"]
            value = published[0] if isinstance(published, list) else published
            answer(claim, here["rows"], here["subtract_from"] - value if "subtract_from" in here else value)
    for claim in claims:  # ratios, of which other claims may have given both sides
        here = claim["here"]
        if "over" in here:
            ratio = here["subtract_from"] - _middle(claim["published"]) if "subtract_from" in here else _middle(claim["published"])
            above = values.get((*key_of(here, here["rows"]), here["metric"]), 10 * ratio)
            below = answer(claim, {**here["rows"], **here["over"]}, above / ratio)
            answer(claim, here["rows"], below * ratio)
    for claim in claims:  # rows of other claims are among those that a claim selects
        here = claim["here"]
        if here.get("reduce") in ("argmin", "argmax"):
            continue
        for where in (here["rows"], {**here["rows"], **here.get("over", {})}):
            value = values[(*key_of(here, where), here["metric"])]
            for one in by_experiment[here["experiment"]]:
                if any(one.get(field) != wanted for field, wanted in where.items()):
                    continue
                if here.get("reduce") == "crossing":
                    one.setdefault(here["metric"], (1 + 1.6 * (one[here["axis"]] / value - 1)) * here["level"])
                else:
                    one.setdefault(here["metric"], value)
    return by_experiment
