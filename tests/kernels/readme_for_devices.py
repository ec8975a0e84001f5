#!/usr/bin/env python3
"""Compiles the documents' programs for devices as nvcc would for a reader, and runs them.

    tests/kernels/readme_for_devices.py [--nvcc NVCC] [--arch compute_90] [--all]

The program of kernels/README.md; with --all also that of README.md, which takes two minutes more. No warning is let pass. Where
there is no device a program must say so; where there is one it must come to its end.
Exit codes: 0 all right, 1 something is not, 77 no nvcc, or not what it links with, here.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ("kernels/README.md", "README.md")
MODEL = "experiments/small_models/checkpoints/stories"
LIBRARIES = ["-lcublasLt", "-lhwy", "-luring"]
# The readers' flags are in kernels/README.md; what is compiled here need not be fast.
FLAGS = ["-std=c++20", "--expt-relaxed-constexpr", "-diag-suppress", "20011,20014", "-Werror", "all-warnings",
         "-Xcompiler", "-O0", "-Xcicc", "-O0", f"-I{ROOT}/include", f"-I{ROOT}/kernels"]


def programs(pages):
    """[(page, text)]"""
    found = []
    for page in pages:
        blocks = re.findall(r"```cpp\n(#include[^`]*)```", (ROOT / page).read_text())
        found += [(page, b) for b in blocks if "quire/executor/cuda" in b]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nvcc", default=shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc")
    parser.add_argument("--arch", default="compute_90")
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args()
    if not pathlib.Path(args.nvcc).exists():
        print("skipped: nvcc is not here")
        return 77
    flags = [*FLAGS, f"-arch={args.arch}", f"-code={args.arch}"]
    with tempfile.TemporaryDirectory() as folder:
        unit, program = pathlib.Path(folder) / "unit.cu", pathlib.Path(folder) / "program"
        unit.write_text("#include <hwy/highway.h>\nint main() {}\n")
        links = subprocess.run([args.nvcc, *flags, str(unit), "-o", str(program), *LIBRARIES],
                               capture_output=True, text=True)
        if links.returncode != 0:
            print(f"skipped: {' '.join(LIBRARIES)} are not all here\n{links.stderr[-300:]}")
            return 77
        wrong = 0
        pages = PAGES if args.all else PAGES[:1]
        todo = programs(pages)
        if [page for page, _ in todo] != list(pages):
            print(f"programs on {[page for page, _ in todo]}, expected one on each of {', '.join(pages)}")
            return 1
        for page, text in todo:
            unit.write_text(text)
            built = subprocess.run([args.nvcc, *flags, str(unit), "-o", str(program), *LIBRARIES],
                                   capture_output=True, text=True)
            if built.returncode != 0:
                print(f"{page}: {built.stderr[:3000]}")
                wrong += 1
                continue
            done = subprocess.run([str(program), MODEL], capture_output=True, text=True, cwd=ROOT)
            none = re.search(r"device: cuda\w+: (no CUDA-capable device|CUDA driver version)", done.stderr)
            right = done.returncode == 0 or none
            print(f"{page}: {'compiled, no device here' if none else done.stdout.strip() or done.stderr}")
            wrong += not right
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
