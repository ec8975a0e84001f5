"""Block size. Left: how full the allocated blocks are when a request ends, which falls as blocks grow; crosses are the
paper's own ShareGPT lengths replayed. Right: normalized latency at a fixed rate (Figure 18(b) of the paper), at the
published rates; the grey band is the published range of good
sizes on ShareGPT, 16 to 128. That small blocks are slow rests on two assumed constants of the attention kernel; thin
lines have attention equally fast at every size."""

TITLE = "Figure 18(b): block size"
EXPERIMENTS = ("block_size",)
SIZES = (1, 4, 8, 16, 32, 64, 128, 256)
COLOURS = {"sharegpt": "#0072B2", "alpaca": "#D55E00", "azure_conv": "#009E73", "mooncake_conversation": "#CC79A7",
           "sarathi_sharegpt": "#E69F00"}


def draw(context, plt):
    from lib import figures
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.5, 2.8))
    for workload, colour in COLOURS.items():
        if context.optional_rows("block_size", part="utilisation", workload=workload):
            left.plot(*context.curve("block_size", "utilisation_percent", "block_size", part="utilisation",
                                     workload=workload), marker="o", color=colour, label=figures.name(workload))
    for workload, rate, line in (("sharegpt", 2.01, "-"), ("alpaca", 30.1, "-")):
        right.plot(*context.curve("block_size", "mean_normalized_latency_s", "block_size", part="latency",
                                  workload=workload, request_rate=rate), marker="o", linestyle=line,
                   color=COLOURS[workload], label=f"{figures.name(workload)}, {rate:g} requests/s")
        right.plot(*context.curve("block_size", "mean_normalized_latency_s", "block_size",
                                  part="latency_equal_kernels", workload=workload, request_rate=rate),
                   linestyle=line, linewidth=0.6, color=COLOURS[workload],
                   label="attention equally fast" if workload == "sharegpt" else None)
    told = [context.published(f"pagedattention.fig18.last_block_utilisation_{size}") for size in SIZES]
    left.plot(SIZES, told, marker="x", linestyle="none", color="black", label="ShareGPT, real lengths")
    low, high = context.published("pagedattention.fig18b.sharegpt_best_block_size")
    right.axvspan(low, high, color="#DDDDDD", label="published best, ShareGPT")
    right.set_yscale("log")
    left.set_ylabel("allocated slots in use (%)")
    right.set_ylabel("normalized latency (s/token)")
    left.set_title(f"utilisation: {context.modes('block_size', part='utilisation')}")
    right.set_title(f"latency: {context.modes('block_size', part='latency')}")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(SIZES, [str(size) for size in SIZES])
        axes.minorticks_off()
        axes.set_xlabel("tokens a block")
        axes.legend()
    return figure
