"""Compute again, or move. Left: time to compute 256 tokens again over the time to swap them out and in, by block size;
above 1 (line) moving is faster. Simulated for OPT-13B, measured for a small model on this machine with a link slowed to the
A100's ratio. Right: normalized latency of whole runs under pressure with either way of preempting (Figure 19 of the paper);
the grey band is where it calls both comparable, 16 to 64 tokens."""

TITLE = "Figure 19: recompute or swap"
EXPERIMENTS = ("offload",)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
MACHINES = {"a100_40gb": ("A100-40GB", "#0072B2"), "h200": ("H200", "#009E73"),
            "cpu_scaled_link": ("this machine, slowed link", "#D55E00"),
            "cpu_memory": ("this machine, main memory", "#7F7F7F")}


def draw(context, plt):
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.5, 3.4))
    context.rows("offload", part="move")
    for machine, (label, colour) in MACHINES.items():
        if context.optional_rows("offload", part="move", machine=machine):
            left.plot(*context.curve("offload", "recompute_over_swap", "block_size", part="move", machine=machine),
                      marker="o", color=colour, label=label)
        for preemption, line in (("recompute", "-"), ("swap_to_host", ":")):
            where = {"part": "serve", "machine": machine, "preemption": preemption}
            if machine != "cpu_memory" and context.optional_rows("offload", **where):
                right.plot(*context.curve("offload", "mean_normalized_latency_s", "block_size", **where), marker="o",
                           linestyle=line, color=colour)
    low, high = context.published("pagedattention.fig19a.crossover_a100")
    for axes in (left, right):
        axes.axvspan(low, high, color="#DDDDDD", label="published: comparable")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(SIZES, [str(size) for size in SIZES])
        axes.minorticks_off()
        axes.set_xlabel("tokens a block")
    for line, label in (("-", "right: recompute"), (":", "right: swap")):
        left.plot([], [], linestyle=line, color="black", label=label)
    left.axhline(1, color="black", linewidth=0.8)
    left.set_ylabel("recompute / swap")
    left.set_title(f"256 tokens: {context.modes('offload', part='move')}")
    right.set_ylabel("normalized latency (s/token)")
    served = context.optional_rows("offload", part="serve")
    right.set_title("whole runs: " + (" and ".join(sorted({row["mode"] for row in served})) or "no rows"))
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure
