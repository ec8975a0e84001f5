"""Schedulers on one engine, OPT-13B on one A100-40GB: mean normalized latency (FastServe's figure 11, level 0.3 s a token) and
mean quality of experience (Andes) against request rate. All simulated; only the scheduler differs between lines, but for the
dashed one, which swaps ahead of need as FastServe does; the others swap who is preempted, when it is."""

TITLE = "FastServe and Andes: latency and quality against rate"
EXPERIMENTS = ("scheduling",)
KINDS = (("fcfs", "#0072B2"), ("mlfq", "#D55E00"), ("mlfq+proactive_swap", "#D55E00"), ("learning_to_rank", "#CC79A7"), ("qoe", "#009E73"))
LABELS = {"fcfs": "first come first served", "mlfq": "skip-join MLFQ", "mlfq+proactive_swap": "MLFQ, swapping ahead",
          "learning_to_rank": "ranking, tau 0.5", "qoe": "quality of experience"}


def draw(context, plt):
    figure, panels = plt.subplots(2, 2, figsize=(6.5, 4.6), sharex="col")
    for column, (workload, title) in enumerate((("sharegpt", "ShareGPT"), ("alpaca", "Alpaca"))):
        for variant, colour in KINDS:
            if not context.optional_rows("scheduling", part="ladder", workload=workload, variant=variant):
                continue
            for axes, metric in zip(panels[:, column], ("mean_normalized_latency_s", "mean_qoe")):
                rates, values = context.curve("scheduling", metric, "request_rate", part="ladder", workload=workload,
                                              variant=variant)
                axes.plot(rates, values, marker="o", markersize=2.5, color=colour, label=LABELS[variant],
                          linestyle="--" if "proactive" in variant else "-")
        panels[0][column].axhline(0.3, color="#888888", linewidth=0.8, linestyle="--")
        panels[0][column].set_ylim(0, 1)
        panels[1][column].set_ylim(0, 1.05)
        panels[0][column].set_title(f"{title}: {context.modes('scheduling', part='ladder', workload=workload)}")
        panels[1][column].set_xlabel("request rate (requests/s)")
    panels[0][0].set_ylabel("normalized latency (s/token)")
    panels[1][0].set_ylabel("mean QoE")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure
