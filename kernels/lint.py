#!/usr/bin/env python3
"""Builds the manifest for devices and reads what the compiler says of each kernel.

    kernels/lint.py [--arch sm_80 --arch sm_90 --arch sm_90a] [--nvcc NVCC] [--jobs N] [--unit NAME]

A unit that begins with "// arch: sm_90a" is built for that alone, others for the rest. Fails on
warnings, on products of warpgroups that the compiler puts one after the other, on spilled registers,
local memory, and more registers than a kernel's cap. Prints each kernel's registers, the number of instantiations and the seconds that the build took.
Exit codes: 0 clean, 1 something is wrong, 2 usage, 77 no nvcc here.
"""

import argparse
import concurrent.futures
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
FLAGS = ["-std=c++20", "-O3", "--expt-relaxed-constexpr", "-lineinfo", "-Werror", "all-warnings",
         f"-I{ROOT}/include", f"-I{ROOT}/kernels", f"-I{ROOT}"]
# Registers a thread: 65536 a multiprocessor shared by the blocks that are to run at once.
# Three blocks of 128 threads need 168, two 255: head_dim 256 keeps twice the sums.
CAPS = ((r"PagedDecodeMatrix<.* 256u", 255), ("PagedDecode", 168),
        ("PagedAttention", 80),  # six blocks of 128 threads
        ("WarpgroupPrefill", 168),  # 384 threads; consumers take what the one that brings tiles gives
        ("PagedPrefill", 255),  # prefill lives on registers, two blocks at once
        ("ExpertProduct", 80),  # six blocks of 128 threads
        ("GroupedExperts", 80),  # three blocks of 256 threads
        ("GroupedProduct", 184),  # few warps, each with many loads under way
        ("", 64))


def demangle(names):
    tool = shutil.which("c++filt")
    if not tool or not names:
        return list(names)
    out = subprocess.run([tool], input="\n".join(names), capture_output=True, text=True).stdout
    return out.splitlines()


def short(name):
    name = re.sub(r"^void quire::simt::entry<(.*)>\(.*\)$", r"\1", name)
    return re.sub(r"quire::(kernels|attention|kv_format)::", "", name)


def build(nvcc, unit, arch):
    """(warnings or errors, [(kernel, registers, spills, local)])"""
    command = [nvcc, *FLAGS, f"-arch={arch}", "-Xptxas", "-v", "-c", str(unit), "-o", "/dev/null"]
    done = subprocess.run(command, capture_output=True, text=True)
    text = done.stdout + done.stderr
    found, name, stack = [], None, (0, 0, 0)
    for line in text.splitlines():
        if m := re.search(r"Function properties for (\S+)", line):
            name = m[1]
        elif m := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill",
                            line):
            stack = tuple(int(x) for x in m.groups())
        elif (m := re.search(r"Used (\d+) registers", line)) and name:
            found.append((name, int(m[1]), stack[1] + stack[2], stack[0]))
            name = None
    problems = [line for line in text.splitlines()
                if re.search(r"\b(warning|error)\b|serialized|Performance Loss", line, re.I)]
    if done.returncode != 0 and not problems:
        problems.append(text.strip()[-400:] or f"nvcc ended with {done.returncode}")
    names = demangle([f[0] for f in found])
    kernels = [(short(n), *f[1:]) for n, f in zip(names, found)]
    # the layer's own, which says what a device can do
    return problems, [k for k in kernels if not k[0].startswith("quire::simt::detail::")]


def archs_of(unit, archs):
    """Of the architectures asked for, those that a unit is for."""
    if m := re.match(r"// arch: (\S+)", unit.read_text()):
        return [a for a in archs if a == m[1]]
    return [a for a in archs if not a.endswith("a")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", action="append")
    parser.add_argument("--nvcc", default=shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--unit", action="append", help="only this unit of kernels/manifest")
    args = parser.parse_args()
    if not pathlib.Path(args.nvcc).exists():
        print("skipped: nvcc is not here")
        return 77
    units = sorted((ROOT / "kernels" / "manifest").glob("*.cu"))
    if args.unit:
        units = [u for u in units if u.stem in args.unit]
        if not units:
            print(f"--unit {args.unit[0]}: no such unit", file=sys.stderr)
            return 2
    bad, count, start = 0, 0, time.monotonic()
    tasks = [(u, a) for u in units
             for a in archs_of(u, args.arch or ["sm_80", "sm_90", "sm_90a"])]
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for (unit, arch), (problems, kernels) in zip(
                tasks, pool.map(lambda t: build(args.nvcc, *t), tasks)):
            for line in problems:
                print(f"{unit.name} {arch}: {line}")
                bad += 1
            listed = len(re.findall(r"^QUIRE_INSTANTIATE", unit.read_text(), re.M))
            if not problems and len(kernels) != listed:
                print(f"{unit.name} {arch}: {listed} kernels listed, {len(kernels)} reported on")
                bad += 1
            for name, registers, spills, local in kernels:
                count += 1
                cap = next(limit for pattern, limit in CAPS if re.match(pattern, name))
                wrong = [text for test, text in (
                    (spills > 0, f"spills {spills} bytes"), (local > 0, f"{local} bytes of local memory"),
                    (registers > cap, f"more than {cap} registers")) if test]
                bad += len(wrong)
                print(f"{arch} {registers:4} registers  {name}" +
                      ("  <-- " + ", ".join(wrong) if wrong else ""))
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{count} instantiations, {time.monotonic() - start:.0f} s, "
          f"{cpu.ru_utime + cpu.ru_stime:.0f} CPU seconds, {bad} problems")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
