#!/usr/bin/env python3
"""English prose of people, for models that should not see stories.py alone: the King James Bible, out of the Debian package
bible-kjv. The text is in the public domain; it is never committed, and the package's program is what reads it.

    python3 prose.py --out build/texts          # training.txt, held_out.txt (the book of Mark)

A chapter is a document: its verses, a line each, without their numbers.
"""

import argparse
import hashlib
import pathlib
import re
import shutil
import subprocess
import sys

PACKAGE, WHOLE = "bible-kjv", "gen1:1-rev22:21"
SHA256 = "cd45f0c9cedab8e4439bd6486c8952c77cc8b0ecc5d1f6ae3513f2039f47229d"  # of the program's output, package 4.38
HELD_OUT = "Mark"


def chapters():
    """[(book, text of a chapter)] in order. SystemExit where the package is missing."""
    program = shutil.which("bible")
    if program is None:
        raise SystemExit(f"prose.py: no program `bible`; expected the Debian package {PACKAGE}: apt-get install {PACKAGE}")
    lines = subprocess.run([program, "-f", WHOLE], stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout
    if hashlib.sha256(lines).hexdigest() != SHA256:
        print(f"prose.py: note: this text is not the one of {PACKAGE} 4.38; numbers will differ", file=sys.stderr)
    found, last = [], None
    for line in lines.decode("ascii").splitlines():
        book, chapter, text = re.fullmatch(r"(\d?[A-Za-z]+)(\d+):\d+ (.*)", line).groups()
        if (book, chapter) != last:
            found.append((book, []))
            last = book, chapter
        found[-1][1].append(text + "\n")
    return [(book, "".join(verses)) for book, verses in found]


def training():
    """Chapters that may be learned."""
    return [text for book, text in chapters() if book != HELD_OUT]


def held_out():
    """Chapters that are kept for judging."""
    return [text for book, text in chapters() if book == HELD_OUT]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for training.txt and held_out.txt")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "training.txt").write_text("".join(training()))
    (folder / "held_out.txt").write_text("".join(held_out()))


if __name__ == "__main__":
    main()
