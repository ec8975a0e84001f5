"""Reads result rows (JSONL, schema quire.result/1) and picks the ones that a claim or a figure names."""

import json
from pathlib import Path

SCHEMA = "quire.result/1"
MODES = ("measured", "simulated")
REQUIRED = {"schema": str, "run_id": str, "experiment": str, "variant": str, "workload": str,
            "seed": int, "mode": str, "provenance": dict}
PROVENANCE = ("git_sha", "version", "compiler", "build_type", "cmdline", "time_utc")


class RowError(Exception):
    """A file of rows is damaged; says file, line and what was expected."""


def check(row, where):
    """Raises RowError unless `row` is a complete result row."""
    if not isinstance(row, dict):
        raise RowError(f"{where}: not an object; expected a {SCHEMA} row")
    if row.get("schema") != SCHEMA:
        raise RowError(f"{where}: schema is {row.get('schema')!r}; expected {SCHEMA!r}")
    for name, kind in REQUIRED.items():
        if name not in row:
            raise RowError(f"{where}: field {name!r} is missing")
        if not isinstance(row[name], kind) or isinstance(row[name], bool):
            raise RowError(f"{where}: field {name!r} is {row[name]!r}; expected {kind.__name__}")
    if row["mode"] not in MODES:
        raise RowError(f"{where}: mode is {row['mode']!r}; expected one of {', '.join(MODES)}")
    missing = [name for name in PROVENANCE if name not in row["provenance"]]
    if missing:
        raise RowError(f"{where}: provenance lacks {', '.join(missing)}")
    if row["provenance"].get("simulated", row["mode"] == "simulated") != (row["mode"] == "simulated"):
        raise RowError(f"{where}: mode is {row['mode']!r} but provenance says otherwise")


def _refuse_constant(text):
    raise ValueError(f"{text} is not a number")


def read(path):
    """All rows of one file, oldest first. A last line without its newline is an interrupted write and is left out."""
    rows = []
    text = Path(path).read_bytes()
    complete, _, _ = text.rpartition(b"\n")
    for number, line in enumerate(complete.split(b"\n"), 1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            row = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
        except ValueError as error:
            raise RowError(f"{where}: not JSON ({error})") from None
        check(row, where)
        rows.append(row)
    return latest(current(rows))


def current(rows):
    """Rows of the program and the scale that wrote the last one: a resumed file may hold older ones, and those
    of another program or scale must not be averaged with them."""
    if not rows:
        return rows
    last = (rows[-1].get("program"), rows[-1].get("scale"))
    return [row for row in rows if (row.get("program"), row.get("scale")) == last]


def latest(rows):
    """One row a run_id: a cell that ran twice counts once, with its last result."""
    return list({row["run_id"]: row for row in rows}.values())


class RowSet:
    """The rows of several experiments, read from a folder when first asked for."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self._cache = {}

    def of(self, experiment):
        if experiment not in self._cache:
            path = self.folder / f"{experiment}.jsonl"
            self._cache[experiment] = read(path) if path.is_file() else []
        return self._cache[experiment]

    def select(self, experiment, **where):
        """Rows whose fields equal `where`; a list means any of its values."""
        return [row for row in self.of(experiment) if matches(row, where)]

    def experiments(self):
        return sorted(path.stem for path in self.folder.glob("*.jsonl"))


def matches(row, where):
    for name, wanted in where.items():
        value = row.get(name)
        allowed = wanted if isinstance(wanted, (list, tuple)) else [wanted]
        if not any(_equal(value, one) for one in allowed):
            return False
    return True


def _equal(value, wanted):
    numeric = all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in (value, wanted))
    if numeric:
        return abs(value - wanted) <= 1e-9 * max(1.0, abs(wanted))
    return value == wanted
