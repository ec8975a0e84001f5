"""Evaluates paper/claims.toml against result rows: one Result a claim, true or false with a reason.

A claim says how its number is measured:

    [[claim]]
    id = "pagedattention.fig02.vllm_token_states"   <paper>.<figure>.<what>
    figure = "fig02_memory_waste"                   folder under paper/figures
    sentence = "..."                                one sentence, without the numbers
    published = 96.3                                or "96.3" and `unit`; a list [low, high] is a range
    unit = "%"
    source = "..."                                  where it is printed
    mark = "verified"                               one of MARKS (see claims.toml)
    tolerance = {points = 1.5}                      see TOLERANCES
    mode = "simulated"
    here = {experiment = "...", rows = {field = value, ...}, metric = "...", reduce = "mean"}

`here.between` = [low, high] names the numbers of a row between which its metric was found by bisection: the
verdict's line prints what they allow.
`here.over` (fields that replace some of `rows`) divides by the same metric over other rows: a ratio.
`here.subtract_from` = 100 gives 100 - value.
"""

import json
import math
import os
import statistics
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

MARKS = ("verified", "abstract", "plot", "recalled", "measured", "computed", "bar")


class ClaimError(Exception):
    """paper/claims.toml is wrong; says which claim and what was expected."""


class Unanswered(Exception):
    """The rows do not answer the claim; says why."""


@dataclass
class Result:
    id: str
    figure: str
    sentence: str
    source: str
    published: object
    here: object
    tolerance: str
    mode: str
    holds: bool
    reason: str
    seeds: object = None   # [least, most] of the number by single seeds, where there are several
    rungs: object = None   # [least, most] that the axis values beside a crossing allow
    interval: object = None  # [low, high] of the number, or of the one whose end it is, as its row has it
    note: str = ""  # what the claims file says of it: where it differs, and why where that is known


# ---- reducers: rows -> one number ------------------------------------------------------------------

def _values(rows, metric):
    values = []
    for row in rows:
        value = row.get(metric)
        if value is None:
            raise Unanswered(f"row {row['run_id']} has no {metric}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise Unanswered(f"row {row['run_id']}: {metric} is {value!r}, not a number")
        values.append(float(value))
    return values


def _curve(rows, metric, axis):
    """Points (axis value, mean of the metric over seeds), in ascending order of the axis."""
    groups = {}
    for row, value in zip(rows, _values(rows, metric)):
        if axis not in row:
            raise Unanswered(f"row {row['run_id']} has no {axis}")
        groups.setdefault(float(row[axis]), []).append(value)
    return sorted((x, statistics.fmean(ys)) for x, ys in groups.items())


def _exactly(rows, here):
    values = set(_values(rows, here["metric"]))
    if len(values) != 1:
        raise Unanswered(f"{len(values)} different values of {here['metric']} where one was expected")
    return values.pop()


def _crossing(rows, here):
    """Where the curve first rises through `level`, linear between its points."""
    (x0, y0), (x1, y1) = _rungs(rows, here)
    return x0 + (x1 - x0) * (here["level"] - y0) / (y1 - y0)


def _rungs(rows, here):
    """The two points of the curve between which it first rises through `level`."""
    points = _curve(rows, here["metric"], here["axis"])
    level = here["level"]
    if points[0][1] > level:
        raise Unanswered(f"{here['metric']} is above {level} already at {here['axis']} {points[0][0]:g}")
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        if y0 <= level < y1:
            return (x0, y0), (x1, y1)
    raise Unanswered(f"{here['metric']} stays below {level} up to {here['axis']} {points[-1][0]:g}")


def _argbest(pick):
    def reduce(rows, here):
        return pick(_curve(rows, here["metric"], here["axis"]), key=lambda point: point[1])[0]
    return reduce


REDUCERS = {
    "mean": lambda rows, here: statistics.fmean(_values(rows, here["metric"])),
    "median": lambda rows, here: statistics.median(_values(rows, here["metric"])),
    "min": lambda rows, here: min(_values(rows, here["metric"])),
    "max": lambda rows, here: max(_values(rows, here["metric"])),
    "exactly": _exactly,            # all rows agree
    "crossing": _crossing,          # axis value where the metric reaches `level`
    "argmin": _argbest(min),        # axis value with the smallest metric
    "argmax": _argbest(max),
}


def measure(here, rows):
    """The number of this repository: (value, set of modes of the rows it came from)."""
    reduce = REDUCERS[here.get("reduce", "mean")]

    def one(where):
        chosen = rows.select(here["experiment"], **where)
        if not chosen:
            wanted = ", ".join(f"{key} {value}" for key, value in where.items())
            raise Unanswered(f"no rows of {here['experiment']} with {wanted}")
        return reduce(chosen, here), {row["mode"] for row in chosen}

    value, modes = one(here["rows"])
    if "over" in here:
        below, more = one({**here["rows"], **here["over"]})
        if below == 0:
            raise Unanswered("division by a value of 0")
        value, modes = value / below, modes | more
    if "subtract_from" in here:
        value = here["subtract_from"] - value
    return value, modes


def _chosen(here, rows):
    """The rows of the number, and of what it is divided by."""
    wheres = [here["rows"]] + ([{**here["rows"], **here["over"]}] if "over" in here else [])
    return [rows.select(here["experiment"], **where) for where in wheres]


def spread_over_seeds(here, rows):
    """[least, most] of the number by single seeds; None where there is one seed, or one that has no number."""
    chosen = _chosen(here, rows)
    seeds = {row.get("seed") for part in chosen for row in part}
    if len(seeds) < 2:
        return None
    values = []
    for seed in seeds:
        one = [[row for row in part if row.get("seed") == seed] for part in chosen]
        if not all(one):
            return None
        try:
            parts = [REDUCERS[here.get("reduce", "mean")](part, here) for part in one]
        except Unanswered:
            return None
        values.append(parts[0] / parts[1] if len(parts) > 1 else parts[0])
    if "subtract_from" in here:
        values = [here["subtract_from"] - value for value in values]
    return [min(values), max(values)]


def spread_over_rungs(here, rows):
    """[least, most] of a crossing, or of the ratio of two, were the curves known at their points alone; with
    `between`, of a rate that the rows found by bisection between these two of their numbers."""
    if "between" in here:
        reduce = REDUCERS[here.get("reduce", "mean")]
        try:
            brackets = [[reduce(part, {**here, "metric": end}) for end in here["between"]]
                        for part in _chosen(here, rows)]
        except Unanswered:
            return None
    elif here.get("reduce") == "crossing":
        brackets = [[x for x, _ in _rungs(part, here)] for part in _chosen(here, rows)]
    else:
        return None
    low, high = brackets[0]
    if len(brackets) > 1:
        low, high = low / brackets[1][1], high / brackets[1][0]
    return [low, high]


def interval_of_row(here, rows):
    """[low, high] that one row gives beside its metric, or of which the metric is an end; None without them."""
    chosen = _chosen(here, rows)
    if len(chosen) != 1 or len(chosen[0]) != 1 or "subtract_from" in here:
        return None
    stem = here["metric"].removesuffix("_low").removesuffix("_high")
    ends = [chosen[0][0].get(f"{stem}_{end}") for end in ("low", "high")]
    return ends if all(isinstance(end, (int, float)) for end in ends) else None


# ---- tolerances: (published, here) -> does it hold ---------------------------------------------------

def _bounds(published):
    low, high = published if isinstance(published, list) else (published, published)
    return float(low), float(high)


def _within(slack):
    def test(published, here, amount):
        low, high = _bounds(published)
        return low - slack(low, amount) - 1e-12 <= here <= high + slack(high, amount) + 1e-12
    return test


TOLERANCES = {
    "exact": (lambda published, here, _: here == published, lambda a: "exact"),
    "points": (_within(lambda _, amount: amount), lambda a: f"within {a:g}"),
    "percent": (_within(lambda x, amount: abs(x) * amount / 100), lambda a: f"within {a:g} %"),
    "at_most": (lambda published, here, _: here <= published, lambda a: "at most"),
    "below": (lambda published, here, _: here < published, lambda a: "below"),
    "at_least": (lambda published, here, _: here >= published, lambda a: "at least"),
    "factor": (lambda published, here, amount: published / amount <= here <= published * amount,
               lambda a: f"within a factor of {a:g}"),
}


# Of "1.2 times as fast within 15 %" a gain of 2 % is left, which nobody would call as published.
LEAST_SHARE_OF_GAIN = 0.25


def _least_gain(claim):
    """Of the gain over 1 that a published ratio above it has, the share that its tolerance still asks for; None where it
    is no such ratio or the tolerance no range."""
    [kind] = claim["tolerance"]
    low, _ = _bounds(claim["published"]) if not isinstance(claim["published"], str) else (1, 1)
    ratio = "over" in claim["here"] or str(claim.get("unit", "")).split(",")[0] in ("x", "times")
    if not ratio or low <= 1 or kind not in ("points", "percent", "factor"):
        return None
    amount = claim["tolerance"][kind]
    least = {"points": low - amount, "percent": low * (1 - amount / 100), "factor": low / amount if amount else low}[kind]
    return (least - 1) / (low - 1)


def load(path):
    """The claims of a TOML file, checked."""
    try:
        claims = tomllib.loads(Path(path).read_text(encoding="utf-8")).get("claim", [])
    except tomllib.TOMLDecodeError as error:
        raise ClaimError(f"{path}: {error}") from None
    seen = set()
    for number, claim in enumerate(claims, 1):
        name = claim.get("id", f"claim number {number}")
        for field in ("id", "figure", "sentence", "published", "source", "mark", "tolerance", "mode", "here"):
            if field not in claim:
                raise ClaimError(f"{path}: {name}: {field} is missing")
        if name.count(".") < 2:
            raise ClaimError(f"{path}: {name}: id must read <paper>.<figure>.<what>")
        if name in seen:
            raise ClaimError(f"{path}: {name}: id is used twice")
        seen.add(name)
        if claim["mark"] not in MARKS:
            raise ClaimError(f"{path}: {name}: mark is {claim['mark']!r}; expected one of {', '.join(MARKS)}")
        if len(claim["tolerance"]) != 1 or not set(claim["tolerance"]) <= set(TOLERANCES):
            raise ClaimError(f"{path}: {name}: tolerance needs exactly one of {', '.join(TOLERANCES)}")
        here = claim["here"]
        for field in ("experiment", "rows", "metric"):
            if field not in here:
                raise ClaimError(f"{path}: {name}: here.{field} is missing")
        least = _least_gain(claim)
        if least is not None and least < LEAST_SHARE_OF_GAIN:
            raise ClaimError(f"{path}: {name}: within its tolerance {100 * least:.0f} % of the published gain would do; "
                             f"expected {100 * LEAST_SHARE_OF_GAIN:.0f} % at least, or it holds where there is none")
        if here.get("reduce", "mean") not in REDUCERS:
            raise ClaimError(f"{path}: {name}: here.reduce is {here['reduce']!r}; expected one of "
                             f"{', '.join(REDUCERS)}")
    return claims


def number(value, unit="", digits=None):
    """A number as the report and the paper print it."""
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return " to ".join(number(v, digits=digits) for v in value) + (f" {unit}" if unit else "")
    if isinstance(value, str):
        return value
    if digits is None:
        digits = 0 if float(value).is_integer() or abs(value) >= 1000 else 2
    text = f"{value:,.{digits}f}"
    return f"{text} {unit}" if unit else text


def evaluate(claim, rows):
    """One claim against the rows."""
    [(kind, amount)] = claim["tolerance"].items()
    holds_when, describe = TOLERANCES[kind]
    unit = claim.get("unit", "")
    result = Result(claim["id"], claim["figure"], claim["sentence"], f"{claim['source']} [{claim['mark']}]",
                    claim["published"], None, describe(amount), claim["mode"], False, "", note=claim.get("note", ""))
    try:
        here, modes = measure(claim["here"], rows)
    except Unanswered as reason:
        result.reason = str(reason)
        return result
    result.here = here
    result.seeds = spread_over_seeds(claim["here"], rows)
    result.rungs = spread_over_rungs(claim["here"], rows)
    result.interval = interval_of_row(claim["here"], rows)
    if modes != {claim["mode"]}:
        result.mode = " and ".join(sorted(modes))
        result.reason = f"the rows are {result.mode}, the claim is about {claim['mode']} ones"
        return result
    result.holds = bool(holds_when(claim["published"], here, amount))
    if not result.holds:
        result.reason = (f"{number(here, unit)} is not {describe(amount)}"
                         + ("" if kind == "exact" else f" of {number(claim['published'], unit)}")
                         if kind not in ("at_most", "at_least", "below") else
                         f"{number(here, unit)} is not {describe(amount)} {number(claim['published'], unit)}")
    return result


def is_check(result):
    """Whether nobody printed the number it is held against: a check of a substitute against real data, of the engine
    against a computation, or of a result against a bar that this project set, not a published claim."""
    return result.source.endswith(("[measured]", "[computed]", "[bar]"))


def _beside(result):
    for mark in ("computed", "bar"):
        if result.source.endswith(f"[{mark}]"):
            return mark
    return "real data" if is_check(result) else "published"


def score(results):
    """`43 of 53 claims hold`, and the checks apart."""
    claims = [result for result in results if not is_check(result)]
    checks = [result for result in results if is_check(result)]
    text = f"{sum(r.holds for r in claims)} of {len(claims)} claims hold"
    return text + (f", and {sum(r.holds for r in checks)} of {len(checks)} checks" if checks else "")


def uncertainty(result):
    """What the number may also be: `, seeds 37.90 to 40.04`, `, rungs 1.05 to 2.28`, `, interval -0.02 to 0.07`; or
    nothing."""
    text = ""
    for name, interval in (("seeds", result.seeds), ("rungs", result.rungs), ("interval", result.interval)):
        if interval and interval[0] != interval[1]:
            text += f", {name} {number(interval)}"
    return text


def line(claim, result):
    """`[true] sentence (published 96.3 %, here 96.1 %, simulated)`, with the reason and the note when false."""
    unit = claim.get("unit", "")
    text = (f"[{'true' if result.holds else 'false'}] {result.sentence} "
            f"({_beside(result)} {number(result.published, unit)}, here {number(result.here, unit)}{uncertainty(result)}, {result.mode})")
    if result.holds or not result.reason:
        return text
    return f"{text}: {result.reason}" + (f"; {result.note}" if result.note else "")


def write_json(path, results):
    """Writes claims.json whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps([asdict(r) for r in results], indent=1, ensure_ascii=False) + "\n",
                       encoding="utf-8")
    os.replace(partial, path)
