"""Average number of requests in the batch, OPT-13B (Figure 13 of the paper): ShareGPT lengths at 2 requests a second and
Alpaca at 30. Hatched bars are published, filled bars are simulated."""

TITLE = "Figure 13: requests in the batch"
EXPERIMENTS = ("kv_memory_waste",)
VARIANTS = ("orca_max", "orca_pow2", "orca_oracle", "vllm")
PANELS = (("a", "sharegpt", "2 requests/s"), ("b", "alpaca", "30 requests/s"))


def draw(context, plt):
    from lib import figures
    figure, panels = plt.subplots(1, 2, figsize=(6.5, 2.6))
    for axes, (panel, workload, rate) in zip(panels, PANELS):
        for x, variant in enumerate(VARIANTS):
            here = context.mean("kv_memory_waste", "mean_batched_requests", part="batch", workload=workload,
                                variant=variant)
            told = context.published(f"pagedattention.fig13{panel}.{variant}_batched")
            colour = figures.colour(variant)
            bars = [axes.bar(x - 0.2, told, 0.38, facecolor="white", edgecolor=colour, hatch="/////"),
                    axes.bar(x + 0.2, here, 0.38, facecolor=colour, edgecolor=colour)]
            for bar in bars:
                axes.bar_label(bar, fmt="%.2f", fontsize=6, padding=1)
        axes.set_xticks(range(len(VARIANTS)), [figures.name(v).replace(" (", "\n(") for v in VARIANTS])
        axes.grid(axis="x", visible=False)
        mode = context.modes("kv_memory_waste", part="batch", workload=workload)
        axes.set_title(f"({panel}) {figures.name(workload)}, {rate}\npublished (hatched), {mode} (filled)")
    for axes in panels:
        axes.margins(y=0.12)
    panels[0].set_ylabel("requests in the batch")
    return figure
