"""Draws figures with equal bytes for equal rows: one style, three formats, no dates and no random ids."""

import contextlib
import importlib.util
import multiprocessing
import os
from pathlib import Path

from . import layout

FIGURES = Path(__file__).resolve().parent.parent / "figures"

# Systems keep their colour in every figure. Okabe and Ito's palette: told apart by colour-blind readers.
COLOURS = {
    "vllm": "#0072B2", "orca_oracle": "#009E73", "orca_pow2": "#E69F00", "orca_max": "#D55E00",
    "faster_transformer": "#CC79A7", "hf_transformers": "#7F7F7F",
}
NAMES = {
    "vllm": "vLLM", "orca_oracle": "Orca (Oracle)", "orca_pow2": "Orca (Pow2)", "orca_max": "Orca (Max)",
    "faster_transformer": "FasterTransformer", "hf_transformers": "static batch",
    "sharegpt": "ShareGPT", "alpaca": "Alpaca", "azure_conv": "Azure conversation",
    "mooncake_conversation": "Mooncake conversation", "sarathi_sharegpt": "ShareGPT, 8k (trace)",
    "multi_tenant": "many tenants", "azure_fitted": "Azure, fitted", "mooncake_fitted": "Mooncake, fitted",
}
PUBLISHED = {"hatch": "////", "facecolor": "white"}  # published bars are hollow, ours are filled

STYLE = {
    "font.family": "DejaVu Sans", "font.size": 8, "axes.titlesize": 9, "axes.labelsize": 8,
    "legend.fontsize": 7, "xtick.labelsize": 7, "ytick.labelsize": 7, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "grid.color": "#E0E0E0", "grid.linewidth": 0.6, "lines.linewidth": 1.4, "lines.markersize": 4,
    "hatch.linewidth": 0.6, "figure.constrained_layout.use": True,
    "figure.dpi": 150, "savefig.dpi": 150,  # laid out with the letters that are drawn: hinting makes them wider or narrower
    "legend.handlelength": 2.6,  # dashes are told from solid lines
    "svg.fonttype": "path", "svg.hashsalt": "quire", "pdf.fonttype": 42,
}
METADATA = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


class NotDrawn(Exception):
    """A figure's rows are missing; says which."""


def name(key):
    return NAMES.get(key, key.replace("_", " "))


def colour(key):
    return COLOURS.get(key, "#444444")


class Figure:
    """One folder under paper/figures: figNN_<slug>/draw.py with TITLE, EXPERIMENTS and draw(context, plt).

    The module's docstring is the caption. NEEDS, where there is one: files below the root that not every machine has, each with
    what brings it; where one is missing the figure is left out of a run, which is no failure."""

    def __init__(self, folder):
        self.id = folder.name
        spec = importlib.util.spec_from_file_location(f"quire_figure_{self.id}", folder / "draw.py")
        self._module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self._module)
        self.title = self._module.TITLE
        self.experiments = tuple(self._module.EXPERIMENTS)
        self.needs = dict(getattr(self._module, "NEEDS", {}))
        self.caption = " ".join(self._module.__doc__.split())

    def missing(self, root):
        """The first file it needs that is not there, and what brings it; None when all are."""
        return next(((path, how) for path, how in self.needs.items() if not (root / path).exists()), None)

    def draw(self, context, folder):
        """Writes <id>.svg, .pdf and .png into `folder` and returns their paths by format."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = {}
        with self.laid_out(context) as figure:
            for kind, metadata in METADATA.items():
                paths[kind] = folder / f"{self.id}.{kind}"
                partial = folder / f".{self.id}.{kind}.partial"
                figure.savefig(partial, format=kind, metadata=metadata)
                os.replace(partial, paths[kind])
        return paths

    @contextlib.contextmanager
    def laid_out(self, context):
        """The figure, everything at its place, until the block ends."""
        import matplotlib
        matplotlib.use("Agg")
        from matplotlib import pyplot as plt
        os.environ["SOURCE_DATE_EPOCH"] = "0"
        with plt.rc_context({**matplotlib.rcParamsDefault, **STYLE, "backend": "Agg"}):
            opened_before = set(plt.get_fignums())
            try:
                figure = self._module.draw(context, plt)
                _settle(figure)
                yield figure
            finally:  # also those that a figure opened before it found its rows missing
                for number in set(plt.get_fignums()) - opened_before:
                    plt.close(number)


def draw_all(figures, context, folder, jobs):
    """[(id, paths by format or None, None or why it was not drawn)], drawn by `jobs` processes, in the order of `figures`."""
    # Forked, so that rows and drawing code need not be sent: a process is told a place in the list.
    _drawing.update(figures=figures, context=context, folder=folder)
    import matplotlib.pyplot  # noqa: F401  once, not in each process
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        return pool.map(_draw_one, range(len(figures)), chunksize=1)


_drawing = {}


def _draw_one(place):
    figure = _drawing["figures"][place]
    try:
        return figure.id, figure.draw(_drawing["context"], _drawing["folder"]), None
    except NotDrawn as reason:
        return figure.id, None, str(reason)


def _settle(figure):
    """Lays the figure out once and rounds where its axes stand. The solver of the layout ends within its own rounding,
    different from run to run; an SVG names its clip rectangles by a hash of their exact corners and would show it."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position([round(side, 5) for side in axes.get_position(original=True).bounds])
    layout.settle_names(figure)


class Context:
    """What a figure may look at: rows, and claims with the published numbers."""

    def __init__(self, rows, claims, results):
        self._rows = rows
        self._claims = {claim["id"]: claim for claim in claims}
        self._results = {result.id: result for result in results}

    def rows(self, experiment, **where):
        found = self._rows.select(experiment, **where)
        if not found:
            wanted = ", ".join(f"{key} {value}" for key, value in where.items())
            raise NotDrawn(f"no rows of {experiment} with {wanted}")
        return found

    def optional_rows(self, experiment, **where):
        return self._rows.select(experiment, **where)

    def mean(self, experiment, metric, **where):
        """Mean of a metric over seeds."""
        values = [row[metric] for row in self.rows(experiment, **where)]
        return sum(values) / len(values)

    def curve(self, experiment, metric, axis, **where):
        """(axis values ascending, means of the metric over seeds)."""
        groups = {}
        for row in self.rows(experiment, **where):
            groups.setdefault(row[axis], []).append(row[metric])
        xs = sorted(groups)
        return xs, [sum(groups[x]) / len(groups[x]) for x in xs]

    def published(self, claim):
        return self._claims[claim]["published"]

    def modes(self, experiment, **where):
        return " and ".join(sorted({row["mode"] for row in self.rows(experiment, **where)}))


def climbed(context, part, variant):
    """(rates ascending, latencies) of the ladder of one panel and of the search between its rungs."""
    points = {row["request_rate"]: row["mean_normalized_latency_s"]
              for row in context.rows("batching", part=part, variant=variant)}
    for row in context.optional_rows("batching", part="limit", panel=part, variant=variant, timed_to="answer"):
        points.update(row["tried"])
    rates = sorted(points)
    return rates, [points[rate] for rate in rates]


def rate_panels(context, plt, panels, variants, columns):
    """Normalized latency against rate, one panel a part of the experiment `batching`."""
    count = -(-len(panels) // columns)
    figure, axes = plt.subplots(count, columns, figsize=(max(2.3 * columns, 4.0), 0.6 + 2.1 * count), sharey=True,
                                squeeze=False)
    for place, here in enumerate(axes.flat):
        if place >= len(panels):
            here.set_visible(False)
            continue
        part, title = panels[place]
        for variant in variants:
            if not context.optional_rows("batching", part=part, variant=variant):
                continue
            rates, latencies = climbed(context, part, variant)
            here.plot(rates, latencies, marker="o", markersize=2.5, color=colour(variant), label=name(variant))
        here.axhline(0.5, color="#888888", linewidth=0.8, linestyle="--")
        here.set_ylim(0, 1)
        here.set_xlim(left=0)
        here.set_title(f"{title}: {context.modes('batching', part=part)}", fontsize=7.5)
        here.set_xlabel("request rate (requests/s)")
        if place % columns == 0:
            here.set_ylabel("normalized latency (s/token)")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def discover():
    """Every figure, in the order of their names."""
    return [Figure(path.parent) for path in sorted(FIGURES.glob("*/draw.py"))]


def is_named(figure_id, wanted):
    """Whether a reader's word (fig02, 2, fig02_memory_waste, pagedattention.fig02) means this figure."""
    wanted = wanted.lower().rpartition(".")[2].removesuffix("/")
    stem = figure_id.split("_")[0]
    if wanted.isdigit():
        return stem == f"fig{int(wanted):02d}"
    return wanted in (figure_id, stem, figure_id.partition("_")[2]) or (
        wanted[:-1] == stem and wanted[-1:].isalpha())  # fig13a is a panel of fig13
