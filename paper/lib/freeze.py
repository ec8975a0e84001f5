"""Copies the rows of the last full run to paper/results, without what names the machine.

    python3 paper/lib/freeze.py

Refuses rows of a dirty tree, of several commits, or of another scale than the default."""

import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "paper"))

from lib import rows as row_tools  # noqa: E402

PRIVATE = ("host",)


def frozen(row):
    made = {key: value for key, value in row["provenance"].items() if key not in PRIVATE}
    return {**row, "provenance": made}


def main():
    made = row_tools.RowSet(ROOT / "build" / "paper" / "rows")
    for experiment in made.experiments():
        found = made.of(experiment)
        commits = {row["provenance"]["git_sha"] for row in found}
        if len(commits) != 1 or any(row["provenance"].get("git_dirty") for row in found):
            print(f"freeze: {experiment}: rows of {len(commits)} commits or of changed files; commit, then run "
                  "./paper/reproduce", file=sys.stderr)
            return 1
        if {row["scale"] for row in found} != {"default"} or any(row["trace_sha256"] for row in found):
            print(f"freeze: {experiment}: run ./paper/reproduce without --smoke, --full and --traces", file=sys.stderr)
            return 1
        target = ROOT / "paper" / "results" / f"{experiment}.jsonl"
        target.parent.mkdir(exist_ok=True)
        partial = target.with_suffix(".partial")
        ordered = sorted(found, key=lambda row: row["run_id"])
        partial.write_text("".join(json.dumps(frozen(row)) + "\n" for row in ordered), encoding="utf-8")
        os.replace(partial, target)
        print(f"{target.relative_to(ROOT)}: {len(ordered)} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
