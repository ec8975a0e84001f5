#!/usr/bin/env python3
"""Writes calibration.jsonl: stories that weights are calibrated on, from seeds that neither training
nor the held-out stories use.

    python3 experiments/quality/calibration.py [--stories 16]

The same lines as experiments/retention/held_out.jsonl.
"""

import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "small_models"))
import stories  # noqa: E402

SEED = 1_200_000_000  # training uses seeds below 1_000_000_000, held-out stories those above it


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stories", type=int, default=16)
    stories.write_with_questions(HERE / "calibration.jsonl", SEED, parser.parse_args().stories)


if __name__ == "__main__":
    main()
