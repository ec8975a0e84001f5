"""Where the memory for keys and values goes in overload, OPT-13B (Figure 2 of the paper): averages over steps, from 300 to
900 s, at 4 requests a second. Hatched bars are published, filled bars are simulated. For vLLM the paper prints the
token states alone."""

TITLE = "Figure 2: where key-value memory goes"
EXPERIMENTS = ("kv_memory_waste",)
VARIANTS = ("orca_max", "orca_pow2", "orca_oracle", "vllm")
PARTS = (("token_states", "token states", "#0072B2"), ("reserved", "reserved", "#E69F00"),
         ("internal", "internal fragmentation", "#D55E00"), ("external", "external and free", "#999999"))
TRACES = ("azure_conv", "mooncake_conversation", "sarathi_sharegpt")


def _published(context, variant, part):
    name = f"pagedattention.fig02.{variant}_{part}"
    return context.published(name) if variant != "vllm" or part == "token_states" else None


def _stack(axes, x, heights, width, hollow):
    bottom = 0.0
    for (_, label, colour), height in zip(PARTS, heights):
        if height is None:
            continue
        look = {"facecolor": "white", "edgecolor": colour, "hatch": "/////"} if hollow else \
            {"facecolor": colour, "edgecolor": colour}
        axes.bar(x, height, width, bottom=bottom, label=None if hollow else label, linewidth=0.8, **look)
        if height >= 5:
            axes.text(x, bottom + height / 2, f"{height:.1f}", ha="center", va="center", fontsize=6,
                      color="black" if hollow else "white",
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5} if hollow else None)
        bottom += height


def draw(context, plt):
    from lib import figures
    workloads = ["sharegpt"] + [trace for trace in TRACES
                                if context.optional_rows("kv_memory_waste", part="waste", workload=trace)]
    figure, panels = plt.subplots(1, len(workloads), figsize=(4.5 + 2.6 * (len(workloads) - 1), 3.2), sharey=True,
                                  squeeze=False, width_ratios=[1.6] + [1] * (len(workloads) - 1))
    for axes, workload in zip(panels[0], workloads):
        beside = workload == "sharegpt"
        for x, variant in enumerate(VARIANTS):
            ours = [context.mean("kv_memory_waste", f"{part}_percent", part="waste", workload=workload,
                                 variant=variant) for part, _, _ in PARTS]
            if beside:
                _stack(axes, x - 0.21, [_published(context, variant, part) for part, _, _ in PARTS], 0.38, True)
            _stack(axes, x + (0.21 if beside else 0), ours, 0.38 if beside else 0.6, False)
        axes.set_xticks(range(len(VARIANTS)), [figures.name(v).replace(" (", "\n(") for v in VARIANTS])
        axes.grid(axis="x", visible=False)
        mode = context.modes("kv_memory_waste", part="waste", workload=workload)
        axes.set_title(figures.name(workload) + (f": published (hatched), {mode} (filled)" if beside else f": {mode}"))
    panels[0][0].set_ylabel("share of key-value memory (%)")
    handles, labels = panels[0][0].get_legend_handles_labels()
    unique = dict(zip(labels, handles))
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=2)
    return figure
