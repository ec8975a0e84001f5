"""Blocks saved by sharing them between the sequences of a request, OPT-13B (Figure 15 of the paper), 1 - 1 / mean(logical /
physical blocks), at 2 (ShareGPT) and 20 (Alpaca) requests a second, from 300 to 900 s. Hatched bars are published, filled bars are simulated; for
ShareGPT the paper prints a range (grey band). Parallel samples share their prompt alone; how much beams share depends on
which survive, which the simulation draws at random."""

TITLE = "Figure 15: memory saved by sharing"
EXPERIMENTS = ("kv_memory_waste",)
WIDTHS = (2, 4, 6)
PANELS = (("parallel", "parallel sampling", "#0072B2"), ("beam", "beam search", "#D55E00"))


def draw(context, plt):
    from lib import figures
    figure, grid = plt.subplots(2, 2, figsize=(6.0, 4.8), sharex=True, sharey="col")
    for panels, workload in zip(grid, ("alpaca", "sharegpt")):
        for axes, (decoding, label, colour) in zip(panels, PANELS):
            ours = [context.mean("kv_memory_waste", "saving_percent", part="sharing", workload=workload,
                                 decoding=decoding, width=width) for width in WIDTHS]
            spots = range(len(WIDTHS))
            if workload == "alpaca":
                told = [context.published(f"pagedattention.fig15.{decoding}_{width}") for width in WIDTHS]
                bars = axes.bar([x - 0.2 for x in spots], told, 0.38, facecolor="white", edgecolor=colour,
                                hatch="/////")
                axes.bar_label(bars, fmt="%.2f", fontsize=6, padding=1)
                bars = axes.bar([x + 0.2 for x in spots], ours, 0.38, facecolor=colour, edgecolor=colour)
            else:
                low, high = context.published(f"pagedattention.fig15.sharegpt_{decoding}_2")
                axes.axhspan(low, high, facecolor="#E4E4E4", edgecolor="#BBBBBB", label="published range")
                axes.legend(loc="upper left", frameon=True)
                bars = axes.bar(spots, ours, 0.5, facecolor=colour, edgecolor=colour)
                axes.set_xlabel("sequences a request" if decoding == "parallel" else "beam width")
            axes.bar_label(bars, fmt="%.2f", fontsize=6, padding=1)
            axes.set_xticks(list(spots), [str(width) for width in WIDTHS])
            axes.grid(axis="x", visible=False)
            mode = context.modes("kv_memory_waste", part="sharing", workload=workload, decoding=decoding)
            axes.set_title(f"{label}, {figures.name(workload)}:\n"
                           + (f"published (hatched), {mode} (filled)" if workload == "alpaca" else f"{mode} (filled)"))
        for axes in panels:
            axes.margins(y=0.12)
        panels[0].set_ylabel("blocks saved (%)")
    return figure
