"""Writes each program of a Markdown file (a fenced `cpp` block with a main) into a file of its own,
and prints the files' names: extract.py README.md FOLDER. A file that would not change is left
alone."""

import pathlib
import re
import sys


def main():
    text = pathlib.Path(sys.argv[1]).read_text()
    folder = pathlib.Path(sys.argv[2])
    blocks = re.findall(r"^```cpp[^\n]*\n(.*?)^```[ \t]*$", text, re.M | re.S)
    for number, block in enumerate([b for b in blocks if "int main(" in b], 1):
        file = folder / f"readme_program_{number}.cpp"
        if not file.exists() or file.read_text() != block:
            file.write_text(block)
        print(file)


if __name__ == "__main__":
    main()
