"""Where the memory for keys and values goes in overload, for every way of reserving it and every workload, OPT-13B: averages
over steps, from 300 to 900 s, simulated. The request's own limit is its output rounded up to 256 tokens."""

TITLE = "Every reservation under every workload"
EXPERIMENTS = ("kv_memory_waste",)
VARIANTS = {"orca_max": "longest", "orca_pow2": "power of two", "orca_max+reservation=request_limit": "stated limit",
            "orca_oracle": "oracle", "vllm": "on demand"}
WORKLOADS = ("sharegpt", "alpaca", "chat", "shared_prefix")
PARTS = (("token_states", "token states", "#0072B2"), ("reserved", "reserved", "#E69F00"),
         ("internal", "internal fragmentation", "#D55E00"), ("external", "external and free", "#999999"))


def draw(context, plt):
    from lib import figures
    figure, panels = plt.subplots(1, len(WORKLOADS), figsize=(6.8, 3.0), sharey=True)
    for axes, workload in zip(panels, WORKLOADS):
        for x, variant in enumerate(VARIANTS):
            bottom = 0.0
            for part, label, colour in PARTS:
                height = context.mean("kv_memory_waste", f"{part}_percent", part="reservations", workload=workload,
                                      variant=variant)
                axes.bar(x, height, 0.7, bottom=bottom, color=colour, label=label)
                bottom += height
        axes.set_xticks(range(len(VARIANTS)), list(VARIANTS.values()), rotation=60, ha="right")
        axes.grid(axis="x", visible=False)
        axes.set_title(figures.name(workload))
    panels[0].set_ylabel("share of key-value memory (%)")
    handles, labels = panels[0].get_legend_handles_labels()
    unique = dict(zip(labels, handles))
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=4)
    return figure
