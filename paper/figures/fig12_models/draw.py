"""Normalized latency against request rate for the panels of Figure 12 beside (a): two larger models and a workload of short
requests, on the devices and key-value memory of Table 1. Lines are simulated. The paper prints no numbers for these panels but
the ranges of its text; the dashed line is the level, 0.5 s a token, at which the claims compare rates.
The zigzag of FasterTransformer in (c) is of its batches and not smoothed: a point holds 46 to 118 requests, in some
twenty batches of whoever waits when the last one ends, each as long as its longest reply; a little more than the same rate divides
them otherwise, and the same rate with other random numbers differs as much."""

TITLE = "Figure 12(b) to (f): latency against request rate"
EXPERIMENTS = ("batching",)
VARIANTS = ("faster_transformer", "orca_max", "orca_pow2", "orca_oracle", "vllm")
PANELS = (("fig12b", "(b) OPT-66B, ShareGPT"), ("fig12c", "(c) OPT-175B, ShareGPT"), ("fig12d", "(d) OPT-13B, Alpaca"),
          ("fig12e", "(e) OPT-66B, Alpaca"), ("fig12f", "(f) OPT-175B, Alpaca"))


def draw(context, plt):
    from lib import figures
    return figures.rate_panels(context, plt, PANELS, VARIANTS, columns=3)
