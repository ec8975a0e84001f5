"""Prints what ./tests/run found: failures with their output, what the build cost and how that
compares with its caps, and the closing line `N passed, N failed, N skipped`."""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Tally:
    def __init__(self):
        self.passed, self.failed, self.skipped = 0, 0, 0

    def check(self, name, fine, output=""):
        if fine:
            self.passed += 1
            return
        self.failed += 1
        print(f"FAILED {name}")
        lines = output.strip().splitlines()
        if len(lines) > 60:
            lines = lines[:30] + [f"... {len(lines) - 60} lines left out ..."] + lines[-30:]
        for line in lines:
            print(f"    {line}")

    def skip(self, name, reason):
        self.skipped += 1
        print(f"skipped {name}: {reason}")


def count_ctest(path, tally):
    """Adds every case of CTest's JUnit file; a case that could not start is a failure."""
    cases = 0
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        cases += 1
        name, skipped = case.get("name"), case.find("skipped")
        output = case.findtext("system-out") or ""
        if skipped is not None:
            message = skipped.get("message") or ""
            if message.startswith(("SKIP_RETURN_CODE", "SKIP_REGULAR_EXPRESSION")):
                lines = [line for line in output.splitlines() if "kip" in line]
                tally.skip(name, lines[-1].strip() if lines else "no reason given")
            else:
                tally.check(name, False, message or "not run")
        else:
            tally.check(name, case.get("status") == "run" and case.find("failure") is None, output)
    return cases


def built_program():
    """The `quire` program of this build, or None."""
    return next((p for p in sorted(BUILD.rglob("quire"))
                 if p.is_file() and os.access(p, os.X_OK)), None)


def registered_variants(program):
    """How many engine variants `quire list` knows."""
    shown = subprocess.run([program, "list", "--json"], capture_output=True, text=True, timeout=60)
    return len(json.loads(shown.stdout)["variants"]) if shown.returncode == 0 else None


def kernel_instantiations(program):
    """How many attention kernels (KV format, attention variant, where keys come from) the program holds."""
    if shutil.which("nm") is None:
        return None
    shown = subprocess.run(["nm", "-C", "--defined-only", program], capture_output=True, text=True)
    return len(kernels_named(shown.stdout))


def kernels_named(symbols):
    """The template arguments of each TaskKernel<...> in demangled symbols.

    Its lambdas' names hold it too, and what they are arguments of, so the brackets are counted.
    """
    found = set()
    for begin in re.finditer(r"TaskKernel<", symbols):
        depth, end = 1, begin.end()
        while depth and end < len(symbols) and symbols[end] != "\n":
            depth += {"<": 1, ">": -1}.get(symbols[end], 0)
            end += 1
        if not depth:
            found.add(symbols[begin.end():end - 1])
    return found


# Much of the standard library and no line of the project: what it takes to compile tells a slow hour of a
# shared machine from a build that has grown.
PROBE = """
#include <algorithm>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <random>
#include <regex>
#include <unordered_map>
int main() {
  std::map<std::string, std::function<int(int)>> calls{{"a", [](int x) { return x + 1; }}};
  std::unordered_map<std::string, std::vector<std::string>> names;
  std::mt19937 random(1);
  std::vector<double> numbers(100);
  std::generate(numbers.begin(), numbers.end(), [&] { return std::normal_distribution<>()(random); });
  std::sort(numbers.begin(), numbers.end());
  std::smatch match;
  const std::string text = std::filesystem::current_path().string();
  if (std::regex_search(text, match, std::regex("(a|b)+"))) names[text].push_back(match[0]);
  std::cout << calls.at("a")(static_cast<int>(names.size())) << numbers.front();
}
"""


def probe_seconds(compiler):
    """CPU seconds of the probe, the median of six, two at a time as a build runs them."""
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "probe.cpp"
        source.write_text(PROBE)
        seconds = []
        for _ in range(3):
            running = [subprocess.Popen([compiler, "-std=c++20", "-O2", "-c", source, "-o",
                                         f"{folder}/{i}.o"]) for i in range(2)]
            for process in running:
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                if process.returncode == 0:
                    seconds.append(usage.ru_utime + usage.ru_stime)
        return statistics.median(seconds) if seconds else 0.0


def report_cost(tally, clean, without=""):
    caps = tomllib.loads((ROOT / "tests/caps.toml").read_text())
    # without a folder's program it is less than the clean build, and may cost no more
    seconds_file = BUILD / ("build_seconds" if clean and without else "clean_build_seconds")
    if seconds_file.exists():
        wall, user, system = map(float, seconds_file.read_text().split()[-3:])
        cache = (BUILD / "CMakeCache.txt").read_text()
        launcher = re.search(r"^CMAKE_CXX_COMPILER_LAUNCHER:\w+=(.+)$", cache, re.M)
        note = " (with a compiler cache)" if launcher else ""
        note += f" (without {without}_test)" if clean and without else ""
        print(f"clean build: {wall:.0f} s, {user + system:.0f} CPU seconds{note}")
        if clean and not launcher and "cpu" == BUILD.name:
            cap = caps["clean_build_cpu_seconds"]
            said = f"{user + system:.0f} CPU seconds, cap {cap} (tests/caps.toml)"
            compiler = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.+)$", cache, re.M)
            if user + system > cap and compiler:
                slow = probe_seconds(compiler[1]) / caps["probe_cpu_seconds"]
                # beyond that an hour is too slow to tell, and no build passes because of it
                cap *= min(max(1.0, slow), caps["most_slowness"])
                said += f"; {cap:.0f} on a machine that is {slow:.2f} times as slow as usual now"
                print(said)
            tally.check("caps/clean_build", user + system <= cap, said)
    program = built_program()
    if program is None:
        return
    for key, count in (("variants", registered_variants), ("kernel_instantiations",
                                                           kernel_instantiations)):
        number = count(program)
        if number is None:
            tally.skip(f"caps/{key}", "it could not be counted")
            continue
        print(f"{key.replace('_', ' ')}: {number}")
        tally.check(f"caps/{key}", 0 < number <= caps[key],
                    f"{number}, cap {caps[key]} (tests/caps.toml)")


def main():
    tally = Tally()
    tally.check("build", ARGS.built == 0, "see the errors above")
    if ARGS.clean and ARGS.built == 0:
        log = (BUILD / "build.log").read_text(errors="replace")
        found = sorted(set(re.findall(r"^\S*(include/quire/\S+: warning: .*)$", log, re.M)))
        tally.check("build/no_warning_in_include", not found, "\n".join(found))
    results = BUILD / "tests.xml"
    cases = count_ctest(results, tally) if results.exists() else 0
    if cases == 0 and ARGS.filtered and ARGS.built == 0:
        print("no test matches", file=sys.stderr)
        print(f"{0} passed, {0} failed, {0} skipped")
        return 3
    if ARGS.ctest != 0 and tally.failed == 0:
        tail = "\n".join((BUILD / "tests.log").read_text(errors="replace").splitlines()[-20:])
        tally.check("ctest", False, tail)
    if not ARGS.filtered:
        report_cost(tally, ARGS.clean, ARGS.without)
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--built", type=int, required=True)
    parser.add_argument("--ctest", type=int, required=True)
    parser.add_argument("--clean", action="store_true")
    parser.add_argument("--filtered", action="store_true")
    parser.add_argument("--without", default="")
    ARGS = parser.parse_args()
    BUILD = ARGS.build
    sys.exit(main())
