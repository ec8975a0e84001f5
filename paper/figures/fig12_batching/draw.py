"""Normalized latency (mean over requests of end-to-end latency divided by output length) against request rate, OPT-13B on
one A100-40GB (Figure 12(a) of the paper). Lines are simulated; crosses are points read off the published plot by eye.
The dashed line is the level, 0.5 s a token, at which the claims compare rates."""

TITLE = "Figure 12(a): latency against request rate"
EXPERIMENTS = ("batching",)
VARIANTS = ("hf_transformers", "faster_transformer", "orca_max", "orca_pow2", "orca_oracle", "vllm")
TRACES = ("azure_conv", "mooncake_conversation", "sarathi_sharegpt")
PLOTTED = {  # read off the published figure
    "vllm": ((1.0, .04), (1.5, .05), (1.75, .11), (1.8, .13), (1.9, .24), (2.0, 1.0)),
    "orca_oracle": ((.9, .09), (1.0, .2), (1.1, .5), (1.12, 1.0)),
    "orca_pow2": ((.75, .12), (.8, 1.0)),
    "orca_max": ((.5, .09), (.55, 1.0)),
    "faster_transformer": ((.15, .26), (.2, .28), (.25, .64), (.27, 1.0)),
}


def draw(context, plt):
    from lib import figures
    workloads = ["sharegpt"] + [trace for trace in TRACES
                                if context.optional_rows("batching", part="ladder", workload=trace)]
    figure, panels = plt.subplots(1, len(workloads), figsize=(4.8 + 2.6 * (len(workloads) - 1), 3.0), sharey=True,
                                  squeeze=False)
    for axes, workload in zip(panels[0], workloads):
        for variant in VARIANTS:
            if not context.optional_rows("batching", part="ladder", workload=workload, variant=variant):
                continue
            rates, latencies = context.curve("batching", "mean_normalized_latency_s", "request_rate", part="ladder",
                                             workload=workload, variant=variant)
            axes.plot(rates, latencies, marker="o", markersize=2.5, color=figures.colour(variant),
                      label=figures.name(variant))
            if workload == "sharegpt" and variant in PLOTTED:
                axes.plot(*zip(*PLOTTED[variant]), marker="x", linestyle="none", color=figures.colour(variant))
        axes.axhline(0.5, color="#888888", linewidth=0.8, linestyle="--")
        axes.set_ylim(0, 1)
        axes.set_xlim(left=0)
        axes.set_xlabel("request rate (requests/s)")
        axes.set_title(f"{figures.name(workload)}: {context.modes('batching', part='ladder', workload=workload)}"
                       + (" (lines), published (crosses)" if workload == "sharegpt" else ""))
    panels[0][0].set_ylabel("normalized latency (s/token)")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure
