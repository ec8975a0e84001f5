#!/usr/bin/env python3
"""Writes held_out.jsonl: stories that the story model never saw, with the questions at their ends.

    python3 experiments/retention/held_out.py [--stories 48]

One story a line: text; questions as [begin of the answer, its end, end of the sentence that states
it], in characters.
"""

import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "small_models"))
import stories  # noqa: E402

HELD_OUT_SEED = 1_000_000_000  # as evaluate_stories.py: training uses seeds below


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stories", type=int, default=48)
    stories.write_with_questions(HERE / "held_out.jsonl", HELD_OUT_SEED, parser.parse_args().stories)


if __name__ == "__main__":
    main()
