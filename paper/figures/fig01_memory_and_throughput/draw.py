"""What the weights of OPT-13B and the cache take of an A100-40GB (left), and memory and throughput by the number of requests in
the batch, while more wait (Figure 1 of the paper). Lines are simulated, Orca (Max) standing for the existing systems; crosses
are the ends of the published curves, read off the plot by eye."""

TITLE = "Figure 1: memory and throughput by the size of the batch"
EXPERIMENTS = ("batching",)
ENDS = {"orca_max": (8, 40, 270), "vllm": (38.5, 40, 900)}  # requests, GB, tokens/s: read off the published figure


def draw(context, plt):
    from lib import figures
    figure, (split, memory, throughput) = plt.subplots(1, 3, figsize=(7.4, 2.5), width_ratios=(0.7, 1, 1))
    row = context.rows("batching", part="fig01_memory")[0]
    bottom = 0
    for share, label, colour in ((row["weights_percent"], "parameters", "#999999"),
                                 (row["kv_percent"], "keys and values", figures.colour("vllm"))):
        split.bar(0, share, 0.6, bottom=bottom, color=colour)
        split.text(0, bottom + share / 2, f"{label}\n{share:.0f} %", ha="center", va="center", fontsize=6)
        bottom += share
    split.bar(0, 100 - bottom, 0.6, bottom=bottom, facecolor="white", edgecolor="#999999")
    split.set_xticks([])
    split.set_xlim(-0.5, 0.5)
    split.set_ylabel("% of 40 GB")
    split.set_title(context.modes("batching", part="fig01_memory"))
    for variant in ("orca_max", "vllm"):
        rows = sorted(context.rows("batching", part="fig01", variant=variant), key=lambda one: one["batch_limit"])
        batch = [one["mean_batched_requests"] for one in rows]
        requests, gigabytes, tokens = ENDS[variant]
        colour = figures.colour(variant)
        memory.plot(batch, [one["memory_gb"] for one in rows], marker="o", markersize=2.5, color=colour,
                    label=figures.name(variant))
        memory.plot([requests], [gigabytes], marker="x", linestyle="none", color=colour)
        throughput.plot(batch, [one["output_throughput"] for one in rows], marker="o", markersize=2.5, color=colour)
        throughput.plot([requests], [tokens], marker="x", linestyle="none", color=colour)
    mode = context.modes("batching", part="fig01")
    for axes, label in ((memory, "memory (GB)"), (throughput, "tokens/s")):
        axes.set_xlabel("requests in the batch")
        axes.set_ylabel(label)
        axes.set_xlim(left=0)
        axes.set_title(f"{mode} (lines), published (crosses)", fontsize=7)
    throughput.set_ylim(bottom=0)
    memory.legend()
    return figure
