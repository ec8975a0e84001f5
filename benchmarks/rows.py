"""Measures this machine's ceilings, then every component, and writes one row a benchmark.

Examples:
  ./benchmarks/run --quick
  ./benchmarks/run --filter 'eviction/sieve'
  ./benchmarks/run --filter 'eviction/.*' --blocks 1000000 --traces DIR --repetitions 2
  ./benchmarks/run --list
  ./benchmarks/run --check --filter 'attention/.*'
  ./benchmarks/run --keep

A row's id is `<program>/<benchmark>`. `value` is its rate in `unit`; `ceiling` is the rate of the
limit that the benchmark names (one of benchmarks/limits or of its own program), measured in the
same run, and `ratio` their quotient. A benchmark
`<what>/peer:<name>/...` is the peer of `<what>/<policy>/...`: rows beside it carry `peer`,
`peer_value` and `peer_ratio`.

--check compares ratios with those that benchmarks/ratios.json keeps for this kind of processor. What lost more than 15 % is
measured twice more; what stays below is listed, and the exit code is 1. --keep writes the ratios there.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import time

import ratios

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/cpu"
OUT = ROOT / "build/benchmarks"


# Limits of a program of its own, beside benchmarks/limits: no policy's name, so they stand for themselves.
OWN_LIMITS = ("pointer_chase/", "look_at_each/", "read_text/")


def programs():
    found = sorted(p for p in (BUILD / "benchmarks").glob("*_bench") if os.access(p, os.X_OK))
    return sorted(found, key=lambda p: p.name != "limits_bench")  # the ceilings first


def listed(program):
    shown = subprocess.run([program, "--benchmark_list_tests"], capture_output=True, text=True,
                           check=True)
    return [line for line in shown.stdout.splitlines() if line]


def measure(program, names, quick, repetitions):
    """Runs the named benchmarks of a program; the entries of its JSON report."""
    report = OUT / f"{program.name}.json"
    # not re.escape(): the library's regular expressions know no escaped space
    chosen = "^(" + "|".join(re.sub(r"([][.^$*+?(){}|\\])", r"\\\1", name) for name in names) + ")$"
    command = [program, f"--benchmark_filter={chosen}", f"--benchmark_out={report}",
               "--benchmark_out_format=json", f"--benchmark_min_time={0.02 if quick else 0.2}"]
    if not quick:
        command += [f"--benchmark_repetitions={repetitions}", "--benchmark_report_aggregates_only=true",
                    "--benchmark_enable_random_interleaving=true"]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{program.name} failed with exit code {done.returncode}\n{done.stderr}")
    text = report.read_text()
    if not text:
        sys.exit(f"{program.name}: its own list of benchmarks matches none of them: {chosen}")
    entries = json.loads(text)["benchmarks"]
    wanted = [e for e in entries if quick or e.get("aggregate_name") == "median"]
    spread = {e["run_name"]: e for e in entries if e.get("aggregate_name") == "cv"}
    for entry in wanted:
        if entry.get("error_occurred"):
            sys.exit(f"{program.name}: {entry['name']}: {entry.get('error_message')}")
        entry["spread"] = spread.get(entry["run_name"])
    return wanted


def rate(entry):
    for key, unit in (("bytes_per_second", "bytes/s"), ("items_per_second", "items/s")):
        if key in entry:
            return entry[key], unit
    return 1.0 / (entry["real_time"] * {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}[
        entry["time_unit"]]), "runs/s"


def provenance(quick):
    def said(*command):
        shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        return shown.stdout.strip() if shown.returncode == 0 else ""

    cache = (BUILD / "CMakeCache.txt").read_text()
    compiler = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", cache, re.M)[1]
    return {
        "git_sha": said("git", "rev-parse", "HEAD"),
        "git_dirty": bool(said("git", "status", "--porcelain")),
        "cpu_model": ratios.processor(pathlib.Path("/proc/cpuinfo").read_text()) or platform.machine(),
        "num_cpus": os.cpu_count(),
        "compiler": said(compiler, "--version").splitlines()[0],
        "build_type": re.search(r"^CMAKE_BUILD_TYPE:\w+=(.*)$", cache, re.M)[1],
        "arch": re.search(r"^QUIRE_ARCH:\w+=(.*)$", cache, re.M)[1],
        "cmdline": " ".join(["./benchmarks/run"] + sys.argv[1:]),
        "time_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_average": os.getloadavg()[0],
        "quick": quick,
    }


def peers(rows):
    """Puts a peer's value beside the rows that it is the peer of."""
    def split(row):
        what, _, rest = row["id"].partition("/")[2].partition("/")
        who, _, arguments = rest.partition("/")
        return (row["id"].partition("/")[0], what, arguments), who

    found = {split(row)[0]: (split(row)[1][5:], row["value"])
             for row in rows if split(row)[1].startswith("peer:")}
    for row in rows:
        place, who = split(row)
        if place in found and not who.startswith("peer:"):
            row["peer"], row["peer_value"] = found[place]
            row["peer_ratio"] = row["value"] / row["peer_value"]


def measure_all(todo, quick, repetitions, origin):
    """Rows of [(program, slot, names)], ceilings first."""
    rows, ceilings = [], {}
    for number, (program, slot, names) in enumerate(todo, 1):
        if sys.stderr.isatty():
            print(f"\r\033[K{number}/{len(todo)} {slot}", end="", file=sys.stderr, flush=True)
        entries = measure(program, names, quick, repetitions)
        # the program's limits first: benchmarks that take turns end in any order
        entries.sort(key=lambda entry: not entry["run_name"].startswith(OWN_LIMITS))
        for entry in entries:
            value, unit = rate(entry)
            name = entry["run_name"]
            if slot == "limits":
                ceilings[name.split("/")[0]] = value, unit
            elif name.startswith(OWN_LIMITS):
                ceilings[f"{slot} {name}"] = value, unit
            row = {"schema": "quire.result/1", "id": f"{slot}/{name}", "mode": "measured",
                   "value": value, "unit": unit}
            if entry["spread"]:
                row["cv"] = rate(entry["spread"])[0]
            limit = re.search(r"ceiling=(\S+)", entry.get("label", ""))
            if limit:
                ceiling, ceiling_unit = ceilings.get(f"{slot} {limit[1]}") or ceilings.get(
                    limit[1], (None, None))
                if ceiling_unit != unit:
                    sys.exit(f"{row['id']}: counts {unit}, but its ceiling {limit[1]} is "
                             f"{'not a limit' if ceiling is None else 'in ' + ceiling_unit}")
                row |= {"ceiling": ceiling, "ceiling_name": limit[1], "ratio": value / ceiling}
                # the bounds beside: seconds that each limit would let a run take
                units = {key.removeprefix("bound:"): amount for key, amount in entry.items()
                         if key.startswith("bound:")}
                if limit[1] in units:
                    row["bounds"] = {key: amount / ceilings[key][0]
                                     for key, amount in units.items()}
                    seconds = units[limit[1]] / value
                    row["bound_ratio"] = max(row["bounds"].values()) / seconds
            if "cost_percent" in entry:
                row["cost_percent"] = entry["cost_percent"]
            row["provenance"] = origin
            rows.append(row)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    peers(rows)
    return rows


def checked(rows, kept, cpu):
    """Says what fell; the exit code."""
    compared = [name for name in ratios.of(rows) if name in kept]
    if not compared:
        print(f"nothing is kept for {cpu}; expected ratios that `./benchmarks/run --keep` wrote on such a processor",
              file=sys.stderr)
        return 3
    lost = ratios.fallen(rows, kept)
    for name, ratio, before in lost:
        print(f"{name}: {ratio:.3f} of its ceiling, {before:.3f} is kept: {100 * (1 - ratio / before):.0f} % less",
              file=sys.stderr)
    print(f"{len(compared)} ratios compared, {len(lost)} fell by more than {100 * ratios.MOST_LOST:.0f} %")
    return 1 if lost else 0


def main():
    parser = argparse.ArgumentParser(
        prog="./benchmarks/run", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short repetition of each")
    parser.add_argument("--repetitions", type=int, default=5, metavar="N",
                        help="of which the median is kept, without --quick (default: 5)")
    parser.add_argument("--filter", default="", metavar="REGEX", help="ids to measure")
    parser.add_argument("--list", action="store_true", help="print the ids, measure none")
    parser.add_argument("--blocks", type=int, metavar="N",
                        help="sizes of pools go up to N blocks, in steps of ten (default: 10000)")
    parser.add_argument("--traces", type=pathlib.Path, metavar="DIR",
                        help="folder of real traces, whose accesses are replayed as well")
    parser.add_argument("--check", action="store_true",
                        help="exit with 1 where a ratio fell by more than 15 %% below the one that is kept")
    parser.add_argument("--keep", action="store_true", help="keep the ratios in benchmarks/ratios.json")
    arguments = parser.parse_args()
    if arguments.repetitions < 2:
        print(f"--repetitions {arguments.repetitions}: expected 2 or more; --quick takes one",
              file=sys.stderr)
        return 2
    if arguments.check and arguments.keep:
        print("--check --keep: expected one of them", file=sys.stderr)
        return 2
    try:
        kept = ratios.read()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.blocks is not None:
        if not 1000 <= arguments.blocks <= 10_000_000:
            print(f"--blocks {arguments.blocks}: expected 1000 to 10000000", file=sys.stderr)
            return 2
        os.environ["QUIRE_BENCH_BLOCKS"] = str(arguments.blocks)
    if arguments.traces is not None:
        if not arguments.traces.is_dir():
            print(f"--traces {arguments.traces}: is not a folder", file=sys.stderr)
            return 2
        os.environ["QUIRE_TRACES"] = str(arguments.traces.resolve())
    try:
        chosen = re.compile(arguments.filter)
    except re.error as error:
        print(f"--filter {arguments.filter}: {error}; expected a regular expression",
              file=sys.stderr)
        return 2
    OUT.mkdir(parents=True, exist_ok=True)
    todo, limits_wanted = [], False
    for program in programs():
        slot = program.name.removesuffix("_bench")
        known = listed(program)
        names = [name for name in known if chosen.search(f"{slot}/{name}")]
        # Ratios need the program's own limits too, which stand for themselves: no policy's name.
        own_limits = [name for name in known if name.startswith(OWN_LIMITS)]
        if names:
            names += [name for name in own_limits if name not in names]
        limits_wanted |= bool(names)
        if slot == "limits":
            todo.append((program, slot, listed(program)))  # every ratio needs them
        elif names:
            todo.append((program, slot, names))
    if not limits_wanted:
        print("no benchmark matches", file=sys.stderr)
        return 3
    if arguments.list:
        for program, slot, names in todo:
            print("\n".join(f"{slot}/{name}" for name in names
                            if chosen.search(f"{slot}/{name}")))
        return 0

    origin = provenance(arguments.quick)
    rows = measure_all(todo, arguments.quick, arguments.repetitions, origin)
    mine = ratios.mine(kept, origin["cpu_model"])
    if arguments.check:
        for _ in range(2):
            names = {name for name, _, _ in ratios.fallen(rows, mine)}
            if not names:
                break
            once_more = [(program, slot, every if slot == "limits" else
                          [name for name in every
                           if f"{slot}/{name}" in names or name.startswith(OWN_LIMITS)])
                         for program, slot, every in todo]
            rows = ratios.better_of(rows, measure_all([each for each in once_more if each[2]], arguments.quick,
                                                      arguments.repetitions, origin))

    unfinished = OUT / "rows.jsonl.unfinished"
    unfinished.write_text("".join(json.dumps(row) + "\n" for row in rows))
    unfinished.replace(OUT / "rows.jsonl")
    for row in rows:
        ratio = f"  {row['ratio']:7.3f} of {row['ceiling_name']}" if "ratio" in row else ""
        if "bounds" in row:
            ratio += "  bounds " + ", ".join(f"{name} {1e3 * seconds:.3g} ms"
                                             for name, seconds in row["bounds"].items())
        if "cost_percent" in row:
            ratio += f"  cost {row['cost_percent']:.2f} %"
        peer = f"  {row['peer_ratio']:.2f} x {row['peer']}" if "peer" in row else ""
        print(f"{row['id']:<58} {row['value']:>11.4g} {row['unit']}{ratio}{peer}")
    print(f"{len(rows)} rows in {(OUT / 'rows.jsonl').relative_to(ROOT)}")
    if arguments.keep:
        ratios.keep(origin["cpu_model"], rows)
        print(f"{len(ratios.of(rows))} ratios of {origin['cpu_model']} kept in {ratios.KEPT.relative_to(ROOT)}")
    if arguments.check:
        return checked(rows, mine, origin["cpu_model"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
