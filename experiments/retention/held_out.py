#!/usr/bin/env python3
"""Writes held_out.jsonl: stories that the story model never saw, with the questions at their ends.

    python3 experiments/retention/held_out.py [--stories 48]

One story a line: text; questions as [begin of the answer, its end, end of the sentence that states
it], in characters.
"""

import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "small_models"))
import stories  # noqa: E402

HELD_OUT_SEED = 1_000_000_000  # as evaluate_stories.py: training uses seeds below


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stories", type=int, default=48)
    count = parser.parse_args().stories
    with open(HERE / "held_out.jsonl", "w") as out:
        for i in range(count):
            s = stories.story(HELD_OUT_SEED + i, 60)
            questions = [[q.answer_start, q.answer_end, q.stated_end] for q in s.questions]
            out.write(json.dumps({"text": s.text, "questions": questions}) + "\n")


if __name__ == "__main__":
    main()
