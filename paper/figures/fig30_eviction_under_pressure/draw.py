"""Hit ratio against cache size for every eviction policy, in blocks: requests of many tenants, each block for itself and
under the prefix rule (a block is found only behind all before it), the Mooncake conversation trace where it was given, and
three strings that break classic policies: scans, a loop a little larger than the cache, a hot set that moves. Last, what it
does to requests: the tenants' string as prompts for Llama-3-8B on one A100-80GB, by tokens in the pool. Thin grey lines are
the policies that are not named; Belady's clairvoyant choice bounds the plain panels."""

import textwrap

TITLE = "Eviction policies under pressure"
EXPERIMENTS = ("eviction_under_pressure",)
NAMED = {"fifo": "#555555", "lru": "#0072B2", "lfu": "#E69F00", "sieve": "#009E73", "s3_fifo": "#D55E00",
         "arc": "#CC79A7", "w_tiny_lfu": "#56B4E9", "workload_aware": "#8C510A", "mru": "#B2ABD2", "belady": "#000000"}
OTHER = "#BDBDBD"  # darker than the grid
PANELS = (("multi_tenant", "curve", "plain"), ("multi_tenant", "curve", "prefix"),
          ("mooncake_conversation", "curve", "plain"), ("mooncake_conversation", "curve", "prefix"),
          ("scan", "breaks", "plain"), ("loop", "breaks", "plain"), ("shift", "breaks", "plain"))


def draw(context, plt):
    from lib import figures
    panels = [panel for panel in PANELS
              if context.optional_rows("eviction_under_pressure", workload=panel[0], rule=panel[2])]
    if not panels:
        context.rows("eviction_under_pressure")  # says what is missing
    columns = 3 if len(panels) > 3 else len(panels) + 1
    rows = -(-(len(panels) + 1) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(2.5 * columns, 2.2 * rows + 0.9), squeeze=False)
    for axes, (workload, part, rule) in zip(grid.flat, panels):
        where = {"part": part, "workload": workload, "rule": rule, "admission": "always"}
        variants = sorted({row["eviction"] for row in context.rows("eviction_under_pressure", **where)},
                          key=lambda name: (name in NAMED, name == "belady"))
        for name in variants:
            xs, ys = context.curve("eviction_under_pressure", "hit_ratio", "blocks", eviction=name, **where)
            axes.plot(xs, ys, color=NAMED.get(name, OTHER), label=name if name in NAMED else None,
                      linewidth=1.2 if name in NAMED else 0.7, linestyle="--" if name == "belady" else "-")
        axes.set_xscale("log")
        axes.set_xticks(xs, [f"{x:g}" if x < 1000 else f"{x / 1000:g}k" for x in xs], fontsize=6)
        axes.minorticks_off()
        mode = context.modes("eviction_under_pressure", **where)
        axes.set_title(f"{figures.name(workload)}, {rule}\n{mode}")
        axes.set_xlabel("cache size (blocks)")
    spare = list(grid.flat)[len(panels):]
    served = {"part": "serving", "workload": "multi_tenant"}
    if spare and context.optional_rows("eviction_under_pressure", **served):
        axes = spare.pop(0)
        for name in sorted({row["eviction"] for row in context.rows("eviction_under_pressure", **served)},
                           key=lambda name: name in NAMED):
            xs, ys = context.curve("eviction_under_pressure", "mean_ttft_ms", "pool_tokens", eviction=name, **served)
            axes.plot([x / 1000 for x in xs], ys, color=NAMED.get(name, OTHER), linewidth=1.2 if name in NAMED else 0.7)
        axes.set_title(f"{figures.name('multi_tenant')}, served\n{context.modes('eviction_under_pressure', **served)}")
        axes.set_xlabel("pool (1,000 tokens)")
        axes.set_ylabel("mean time to first token (ms)")
    for axes in spare:
        axes.set_visible(False)
    for line in grid:
        line[0].set_ylabel("hit ratio")
    handles, labels = grid[0][0].get_legend_handles_labels()
    shown = {row["eviction"] for row in context.rows("eviction_under_pressure") if row.get("part") in ("curve", "breaks", "serving")}
    others = sorted(shown - set(NAMED))
    handles.append(plt.Line2D([], [], color=OTHER, linewidth=0.7))
    labels.append(f"{len(others)} others")
    figure.legend(handles, labels, title=textwrap.fill("thin grey lines: " + ", ".join(others), 150), title_fontsize=6,
                  loc="outside lower center", ncols=6)
    return figure
