"""What cutting prompts into chunks does to the tail between tokens, Mistral-7B on one A100-80GB with the chat lengths of
Sarathi-Serve: 99th percentile of the time between tokens against rate, and the highest rate (capacity) with that percentile below
0.1 s (strict) or 0.5 s (relaxed) and a median scheduling delay of at most 2 s. All simulated, on one engine; vLLM's scheduler here
mixes whole prompts with decodes, as its publication did."""

TITLE = "Sarathi-Serve: time between tokens, capacity"
EXPERIMENTS = ("scheduling",)
KINDS = (("fcfs", 0, "whole prompts", "#0072B2"), ("chunked_prefill", 2048, "chunks of 2,048", "#E69F00"),
         ("chunked_prefill", 512, "chunks of 512", "#009E73"))


def draw(context, plt):
    from lib import layout
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.5, 2.8))
    for place, (variant, chunk, label, colour) in enumerate(KINDS):
        rates, tails = context.curve("scheduling", "p99_itl_ms", "request_rate", part="sarathi", variant=variant,
                                     chunk=chunk)
        left.plot(rates, [t / 1000 for t in tails], marker="o", markersize=2.5, color=colour, label=label)
        for group, limit in enumerate((100, 500)):
            capacity = context.mean("scheduling", "capacity", part="sarathi_capacity", variant=variant, chunk=chunk,
                                    p99_itl_limit_ms=limit)
            bar = right.bar(group + 0.27 * (place - 1), capacity, 0.25, color=colour)
            right.bar_label(bar, fmt="%.2f", fontsize=6, padding=1)
    for limit in (0.1, 0.5):
        left.axhline(limit, color="#888888", linewidth=0.8, linestyle="--")
    left.set_yscale("log")
    layout.plain_log(left.yaxis)
    left.set_xlabel("request rate (requests/s)")
    left.set_ylabel("P99 time between tokens (s)")
    left.legend()
    right.set_xticks((0, 1), ("strict, 0.1 s", "relaxed, 0.5 s"))
    right.grid(axis="x", visible=False)
    right.set_ylabel("capacity (requests/s)")
    left.set_title(context.modes("scheduling", part="sarathi"))
    right.set_title(context.modes("scheduling", part="sarathi_capacity"))
    return figure
