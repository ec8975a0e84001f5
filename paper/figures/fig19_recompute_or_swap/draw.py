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
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.5, 2.8))
    context.rows("offload", part="move")
    for machine, (label, colour) in MACHINES.items():
        if context.optional_rows("offload", part="move", machine=machine):
            left.plot(*context.curve("offload", "recompute_over_swap", "block_size", part="move", machine=machine),
                      marker="o", color=colour, label=label)
        for preemption, line in (("recompute", "-"), ("swap_to_host", ":")):
            where = {"part": "serve", "machine": machine, "preemption": preemption}
            if machine != "cpu_memory" and context.optional_rows("offload", **where):
                right.plot(*context.curve("offload", "mean_normalized_latency_s", "block_size", **where), marker="o",
                           linestyle=line, color=colour, label=f"{label}, {preemption.split('_')[0]}")
    low, high = context.published("pagedattention.fig19a.crossover_a100")
    for axes in (left, right):
        axes.axvspan(low, high, color="#DDDDDD")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(SIZES, [str(size) for size in SIZES])
        axes.minorticks_off()
        axes.set_xlabel("tokens a block")
        axes.legend()
    left.axhline(1, color="black", linewidth=0.8)
    left.set_ylabel("recompute / swap")
    left.set_title(f"256 tokens: {context.modes('offload', part='move')}")
    right.set_ylabel("normalized latency (s/token)")
    right.set_title("whole runs")
    return figure
