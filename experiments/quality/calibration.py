#!/usr/bin/env python3
"""Writes calibration.jsonl: stories that weights are calibrated on, from seeds that neither training
nor the held-out stories use.

    python3 experiments/quality/calibration.py [--stories 16]

The same lines as experiments/retention/held_out.jsonl.
"""

import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "small_models"))
import stories  # noqa: E402

SEED = 1_200_000_000  # training uses seeds below 1_000_000_000, held-out stories those above it


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stories", type=int, default=16)
    count = parser.parse_args().stories
    with open(HERE / "calibration.jsonl", "w") as out:
        for i in range(count):
            s = stories.story(SEED + i, 60)
            questions = [[q.answer_start, q.answer_end, q.stated_end] for q in s.questions]
            out.write(json.dumps({"text": s.text, "questions": questions}) + "\n")


if __name__ == "__main__":
    main()
