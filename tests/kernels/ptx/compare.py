#!/usr/bin/env python3
"""Shows that the layer costs nothing under nvcc: two kernels written by hand and through it.

    tests/kernels/ptx/compare.py [--nvcc NVCC] [--arch sm_90]

Compares how often each PTX instruction occurs, and the registers that ptxas gives each kernel.
Exit codes: 0 equal, 1 they differ, 77 no nvcc here.
"""

import argparse
import collections
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
FLAGS = ["-std=c++20", "-O3", "--expt-relaxed-constexpr", f"-I{ROOT}/include", f"-I{ROOT}/kernels",
         f"-I{ROOT}"]
KERNELS = {"copy_blocks": "CopyBlocks", "block_sum": "BlockSum"}


def kernels_of(unit, nvcc, arch):
    """{entry: (instructions, registers)}"""
    with tempfile.TemporaryDirectory() as folder:
        ptx = pathlib.Path(folder) / "unit.ptx"
        subprocess.run([nvcc, *FLAGS, f"-arch={arch}", "-ptx", str(unit), "-o", str(ptx)],
                       check=True)
        found = {}
        for m in re.finditer(r"\.entry (\w+)\((.*?)\n\}", ptx.read_text(), re.S):
            body = re.sub(r"//[^\n]*", "", m[2])
            words = re.findall(r"^\s*(?:@!?%\w+\s+)?([a-z][\w.:]*)\s[^;]*;", body, re.M)
            found[m[1]] = collections.Counter(words)
        report = subprocess.run([nvcc, *FLAGS, f"-arch={arch}", "-Xptxas", "-v", "-cubin", str(unit),
                                 "-o", str(pathlib.Path(folder) / "unit.cubin")],
                                capture_output=True, text=True, check=True).stderr
        registers, name = {}, None
        for line in report.splitlines():
            if m := re.search(r"Function properties for (\S+)", line):
                name = m[1]
            elif (m := re.search(r"Used (\d+) registers", line)) and name:
                registers[name] = int(m[1])
        return {name: (words, registers.get(name)) for name, words in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nvcc", default=shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc")
    parser.add_argument("--arch", default="sm_90")
    args = parser.parse_args()
    if not pathlib.Path(args.nvcc).exists():
        print("skipped: nvcc is not here")
        return 77
    by_hand = kernels_of(HERE / "hand_written.cu", args.nvcc, args.arch)
    layered = kernels_of(HERE / "layered.cu", args.nvcc, args.arch)
    differ = 0
    for plain, part in KERNELS.items():
        words, registers = by_hand[plain]
        other = next(v for name, v in layered.items() if part in name)
        same = (words, registers) == other
        differ += not same
        print(f"{plain}: {sum(words.values())} and {sum(other[0].values())} instructions, "
              f"{registers} and {other[1]} registers: {'equal' if same else 'DIFFERENT'}")
        if not same:
            print("  by hand only:", dict(words - other[0]))
            print("  through the layer only:", dict(other[0] - words))
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
