"""Attention over block tables against attention over one run of memory: how much longer the last token takes, by the size
of the context, measured on this machine by turns (8 query and 2 KV heads of 128, bf16, one thread). Lines are block
sizes, panels batch sizes. The grey line is the most that the paper measured on a GPU against FasterTransformer, 26 %
(Figure 18(a), contexts of 64 to 256)."""

TITLE = "Figure 18(a): what block tables cost attention"
EXPERIMENTS = ("kernel_roofline",)
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#7F7F7F", "#56B4E9", "#000000", "#F0E442")


def draw(context, plt):
    rows = context.rows("kernel_roofline", part="paged")
    batches = sorted({row["batch"] for row in rows})
    shown = [batches[0], batches[-1]] if len(batches) > 1 else batches
    figure, panels = plt.subplots(1, len(shown), figsize=(6.4, 2.8), squeeze=False, sharey=True)
    published = context.published("pagedattention.fig18a.kernel_cost")
    for axes, batch in zip(panels[0], shown):
        axes.axhline(published, color="#999999", linewidth=0.8, label="published, GPU")
        for size, colour in zip(sorted({row["block_size"] for row in rows}), COLOURS):
            axes.plot(*context.curve("kernel_roofline", "cost_percent", "context", part="paged", batch=batch,
                                     block_size=size), marker="o", color=colour, label=f"blocks of {size}")
        axes.axhline(0, color="#888888", linewidth=0.8)
        axes.set_xscale("log", base=2)
        axes.set_xlabel("context (tokens)")
        axes.set_title(f"batch {batch}: {context.modes('kernel_roofline', part='paged')}")
    panels[0][0].set_ylabel("longer than contiguous (%)")
    # Below both: curves of another machine may lie anywhere.
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
