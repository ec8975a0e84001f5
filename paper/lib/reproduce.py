"""The program behind ./paper/reproduce: builds the experiments, runs them, draws, judges the claims."""

import argparse
import difflib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "paper"))

from lib import claims as claim_tools  # noqa: E402
from lib import figures as figure_tools  # noqa: E402
from lib import report, rows as row_tools, tex  # noqa: E402

OK, FAILED, USAGE, NOTHING, INTERRUPTED, CARRY_ON = 0, 1, 2, 3, 130, 64
OUT = ROOT / "build" / "paper"
FROZEN = ROOT / "paper" / "results"

EXAMPLES = """examples:
  ./paper/reproduce                    every figure and claim; the first time, with installing and compiling,
                                       about 40 minutes on two cores (tests/bare_root measures it)
  ./paper/reproduce --smoke            the same chain on small runs, for continuous integration
  ./paper/reproduce --fig 2            Figure 2 alone (also: fig02, fig02_memory_waste)
  ./paper/reproduce --frozen           redraw from the committed rows, run nothing
  ./paper/reproduce --traces ~/traces  also replay real trace files

Results lie under build/paper: report.html, figures/, rows/, claims.json. With --fig the report and claims.json are of
these figures alone; figures of earlier commands stay in figures/.
Exit codes: 0 ok, 1 a run failed, 2 usage, 3 nothing matched, 130 interrupted. A false claim is a result, not a failure."""


class Parser(argparse.ArgumentParser):
    """Names the nearest flag when one is misspelt."""

    def error(self, message):
        known = [option for action in self._actions for option in action.option_strings]
        unknown = message.split(":")[-1].split() if message.startswith("unrecognized") else []
        words = [word.partition("=")[0] for word in unknown if word.startswith("-")]
        near = [match for word in words
                for match in difflib.get_close_matches(word, known, n=1, cutoff=0.5)]
        hint = f"; did you mean {near[0]}?" if near else ""
        print(f"reproduce: {message}{hint}", file=sys.stderr)
        sys.exit(USAGE)


def parser():
    def jobs(text):
        value = int(text)
        if value < 1:
            raise ValueError
        return value

    made = Parser(prog="./paper/reproduce", allow_abbrev=False, epilog=EXAMPLES,
                  description="Redraws the figures of the PagedAttention paper and prints each claim as true or false.",
                  formatter_class=argparse.RawDescriptionHelpFormatter)
    scale = made.add_mutually_exclusive_group()
    scale.add_argument("--smoke", dest="scale", action="store_const", const="smoke", default="default",
                       help="small runs that touch everything; claims are printed but mean little")
    scale.add_argument("--full", dest="scale", action="store_const", const="full",
                       help="more seeds and finer ladders than the default")
    scale.add_argument("--frozen", dest="scale", action="store_const", const="frozen",
                       help="draw from the committed rows in paper/results; build and run nothing")
    made.add_argument("--fig", metavar="ID", action="append", default=[], help="only this figure; may be repeated")
    made.add_argument("--traces", metavar="DIR", type=Path, help="folder with real trace files, replayed as well")
    made.add_argument("-l", "--list", action="store_true", help="list figures, experiments and claims, then stop")
    made.add_argument("-j", "--jobs", metavar="N", type=jobs, default=os.cpu_count() or 1,
                      help="processes at a time (default: all cores)")
    made.add_argument("--resume", action="store_true", help="keep the finished rows of an earlier run")
    made.add_argument("--check-usage", action="store_true", help=argparse.SUPPRESS)
    return made


def figure_folders():
    """Ids of all figures, without loading any drawing code."""
    return sorted(path.parent.name for path in figure_tools.FIGURES.glob("*/draw.py"))


def choose(wanted):
    """Ids of the figures that --fig names."""
    ids = figure_folders()
    if not wanted:
        return ids
    chosen = []
    for word in wanted:
        found = [name for name in ids if figure_tools.is_named(name, word)]
        if not found:
            words = ids + [name.split("_")[0] for name in ids]
            near = difflib.get_close_matches(word, words, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]}?" if near else ""
            print(f"reproduce: no figure is named {word!r}{hint} (--list names all)", file=sys.stderr)
            sys.exit(NOTHING)
        chosen += [name for name in found if name not in chosen]
    return sorted(chosen)


class Progress:
    """One line on stderr that is rewritten; silent unless stderr is a terminal."""

    def __init__(self):
        self.shown = sys.stderr.isatty()
        self.start = time.monotonic()

    def say(self, text):
        if self.shown:
            print(f"\r\033[K[{time.monotonic() - self.start:4.0f} s] {text}", end="", file=sys.stderr, flush=True)

    def stage(self, text):
        """What begins now, as a line that stays: also for who reads a file."""
        self.done()
        print(text, flush=True)

    def done(self):
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


class RunFailed(Exception):
    pass


class Runner:
    """Child processes: output to a log, all ended when the run is interrupted."""

    def __init__(self, logs):
        self.logs = logs
        self.children = set()
        self.stopped = False

    def run(self, name, command):
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{name}.log"
        with open(log, "wb") as out:
            if self.stopped:
                raise RunFailed(f"{name}: interrupted")
            child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                     start_new_session=True)
            self.children.add(child)
            try:
                status = child.wait()
            finally:
                if child.poll() is not None:  # an interrupted wait leaves it to stop()
                    self.children.discard(child)
        if status != 0 and not self.stopped:
            tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
            raise RunFailed("\n".join([f"{name} ended with {status}: {' '.join(map(str, command))}", *tail,
                                       f"(whole log: {log.relative_to(ROOT)})"]))

    def stop(self):
        """SIGINT first: an experiment then finishes its row and ends."""
        self.stopped = True
        for number in (signal.SIGINT, signal.SIGKILL):
            for child in [one for one in self.children if one.poll() is None]:
                try:
                    os.killpg(child.pid, number)
                except ProcessLookupError:
                    pass
            deadline = time.monotonic() + 5
            while any(child.poll() is None for child in self.children) and time.monotonic() < deadline:
                time.sleep(0.05)


def build(runner, experiments, jobs, progress):
    """Builds the named experiments, in the folder that ./tests/run uses too, and returns their programs."""
    folder = ROOT / "build" / "cpu"
    progress.say("configuring")
    if (folder / "build.ninja").exists():  # as it was configured: perhaps with the tests
        configure = ["cmake", "-S", str(ROOT), "-B", str(folder), "-DQUIRE_EXPERIMENTS=ON"]
    else:  # without what the tests need installed
        configure = ["cmake", "--preset", "cpu", "-DQUIRE_TESTS=OFF", "-DQUIRE_BENCHMARKS=OFF"]
    runner.run("configure", configure)
    progress.say(f"building {', '.join(experiments)}")
    runner.run("build", ["cmake", "--build", str(folder), "-j", str(jobs), "--target", *experiments])
    programs = {}
    for experiment in experiments:
        found = [path for path in (folder / "experiments").rglob(experiment)
                 if path.is_file() and os.access(path, os.X_OK)]
        if not found:
            raise RunFailed(f"{experiment}: the build made no program of this name")
        programs[experiment] = found[0]
    return programs


def set_aside(path):
    """Moves an earlier run's rows out of the way; they are never deleted."""
    if path.exists():
        old = path.parent / "earlier"
        old.mkdir(exist_ok=True)
        number = 1
        while (target := old / f"{path.stem}.{number}.jsonl").exists():
            number += 1
        os.rename(path, target)


def experiment_commands(programs, options, folder):
    """One command a program: the flags every experiment shares."""
    commands = {}
    for name, program in programs.items():
        # relative, so that rows do not say where this clone lies
        command = [str(program.relative_to(ROOT)), "--out", str((folder / f"{name}.jsonl").relative_to(ROOT)),
                   "--scale", options.scale]
        if options.resume:
            command.append("--resume")
        if options.traces:
            command += ["--traces", str(options.traces.resolve())]
        commands[name] = command
    return commands


# Experiments whose result is this machine's wall time: nothing runs beside them.
TIMED = ("cpu_against_simulation", "cpu_step", "fusion", "kernel_roofline", "loading", "model_pool", "offload", "quality", "speculation")
# Begun before the others, which then fill the cores that are left.
LONG = ("retention", "batching")


def run_experiments(runner, programs, options, folder, progress):
    """Runs the programs, side by side but for TIMED ones; a failure is told after the others have finished."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in programs:
        if not options.resume:
            set_aside(folder / f"{name}.jsonl")
    commands = experiment_commands(programs, options, folder)
    together = {name: command for name, command in commands.items() if name not in TIMED}
    apart = {name: command for name, command in commands.items() if name in TIMED}
    return (_run_side_by_side(runner, together, options.jobs, progress)
            + _run_side_by_side(runner, apart, 1, progress))


def _run_side_by_side(runner, commands, jobs, progress):
    if not commands:
        return []
    failures = []
    order = sorted(commands, key=lambda name: LONG.index(name) if name in LONG else len(LONG))
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        waiting = {pool.submit(runner.run, name, commands[name]): name for name in order}
        try:
            progress.say(f"running {', '.join(sorted(waiting.values()))}")
            for done in as_completed(list(waiting)):
                name = waiting.pop(done)
                try:
                    done.result()
                except RunFailed as error:
                    failures.append(str(error))
                if waiting:
                    progress.say(f"running {', '.join(sorted(waiting.values()))}")
        except KeyboardInterrupt:
            for one in waiting:
                one.cancel()
            runner.stop()
            raise
    return failures


def draw_figures(chosen, context, jobs):
    """Draws each figure, several at a time: (paths by id, reasons by id, failures)."""
    drawn, not_drawn, failures = {}, {}, []
    for figure_id, paths, reason in figure_tools.draw_all(chosen, context, OUT / "figures", jobs):
        if reason is None:
            drawn[figure_id] = paths
        else:
            not_drawn[figure_id] = reason
            failures.append(f"{figure_id} not drawn: {reason}")
    return drawn, not_drawn, failures


def drawn_before(chosen, folder):
    """Ids of figures in `folder` that earlier commands drew and this one did not choose."""
    mine = {figure.id for figure in chosen}
    return sorted({path.stem for path in folder.glob("*.svg")} - mine)


def without_what_is_missing(chosen, root=ROOT):
    """(figures that can be made here, a sentence for each that cannot)."""
    can, sentences = [], []
    for figure in chosen:
        missing = figure.missing(root)
        if missing is None:
            can.append(figure)
        else:
            sentences.append(f"{figure.id} is left out: {missing[0]} is not there; {missing[1]}")
    return can, sentences


def show_list(ids, claims):
    for name in ids:
        figure = figure_tools.Figure(figure_tools.FIGURES / name)
        print(f"{name}: {figure.title} (from {', '.join(figure.experiments)})")
        for claim in claims:
            if claim["figure"] == name:
                print(f"    {claim['id']}")


def reproduce(options, ids, claims):
    started = time.monotonic()
    progress = Progress()
    runner = Runner(OUT / "logs")
    chosen = [figure_tools.Figure(figure_tools.FIGURES / name) for name in ids]
    left_out = []
    if options.scale != "frozen":
        chosen, left_out = without_what_is_missing(chosen)
        ids = [figure.id for figure in chosen]
    for sentence in left_out:
        print(f"reproduce: {sentence}", file=sys.stderr)
    if not chosen:
        return OK
    claims = [claim for claim in claims if claim["figure"] in ids]
    experiments = sorted({name for figure in chosen for name in figure.experiments})
    folder = FROZEN if options.scale == "frozen" else OUT / "rows"
    failures = []
    try:
        if options.scale == "frozen":
            progress.stage("rows: the committed ones in paper/results; nothing is built or run")
        else:
            progress.stage(f"building {', '.join(experiments)}")
            programs = build(runner, experiments, options.jobs, progress)
            progress.stage(f"running {len(programs)} experiments at {options.scale} scale; logs lie in {runner.logs.relative_to(ROOT)}")
            failures = run_experiments(runner, programs, options, folder, progress)
        rows = row_tools.RowSet(folder)
        results = [claim_tools.evaluate(claim, rows) for claim in claims]
        progress.done()
        for claim, result in zip(claims, results):
            print(claim_tools.line(claim, result), flush=True)
        progress.stage(f"drawing {len(chosen)} figure{'s' if len(chosen) > 1 else ''}")
        drawn, not_drawn, undrawn = draw_figures(chosen, figure_tools.Context(rows, claims, results), options.jobs)
        failures += undrawn
        claim_tools.write_json(OUT / "claims.json", results)
        before = drawn_before(chosen, OUT / "figures")
        report.write(OUT / "report.html", chosen, drawn, not_drawn, claims, results, rows, options.scale,
                     of=len(figure_folders()), before=before)
        pdf, sentence = None, ""
        if len(ids) == len(figure_folders()):  # the paper needs them all
            tex.generate(OUT / "tex", chosen, drawn, not_drawn, claims, results)
            pdf, sentence = tex.build(ROOT / "paper" / "quire.tex", OUT / "tex")
    except KeyboardInterrupt:
        runner.stop()
        progress.done()
        print("reproduce: interrupted; finished rows are kept, --resume carries on", file=sys.stderr)
        return INTERRUPTED
    except (RunFailed, row_tools.RowError) as error:
        progress.done()
        print(f"reproduce: {error}", file=sys.stderr)
        return FAILED
    progress.done()
    print(f"{claim_tools.score(results)}; {len(drawn)} of {len(chosen)} figures drawn in "
          f"{time.monotonic() - started:.0f} s")
    for sentence in left_out:
        print(sentence)
    print(f"report: {(OUT / 'report.html').relative_to(ROOT)}"
          + (f", of {len(chosen)} of {len(figure_folders())} figures, as claims.json is" if len(chosen) < len(figure_folders()) else ""))
    if before:
        print(f"of earlier commands, not in this report: {len(before)} figures in {(OUT / 'figures').relative_to(ROOT)}")
    print(f"paper: {pdf.relative_to(ROOT)}" if pdf else sentence or "paper: built when every figure is drawn")
    for failure in failures:
        print(f"reproduce: {failure}", file=sys.stderr)
    return FAILED if failures else OK


def main(arguments):
    options = parser().parse_args(arguments)
    ids = choose(options.fig)
    if options.traces is not None and not options.traces.is_dir():
        print(f"reproduce: --traces: {options.traces} is not a folder", file=sys.stderr)
        return USAGE
    try:
        claims = claim_tools.load(ROOT / "paper" / "claims.toml")
    except claim_tools.ClaimError as error:
        print(f"reproduce: {error}", file=sys.stderr)
        return FAILED
    if options.list:
        show_list(ids, claims)
        return OK
    if options.check_usage:
        return CARRY_ON
    # matplotlib writes its font list somewhere: not into the reader's home.
    os.environ.setdefault("MPLCONFIGDIR", str(OUT / "matplotlib"))
    return reproduce(options, ids, claims)


if __name__ == "__main__":
    try:
        sys.stdout.reconfigure(line_buffering=True)  # a file shows each line when it is printed
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of a list has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = OK
    sys.exit(code)
