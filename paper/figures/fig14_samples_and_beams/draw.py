"""Normalized latency against request rate with several outputs a request, OPT-13B and Alpaca lengths (Figure 14 of the
paper): 2, 4 and 6 samples, and beams of width 2, 4 and 6. Lines are simulated; log-probabilities are drawn, not computed, so that
how beams fork is a model of its own. The dashed line is the level at which the claims compare rates."""

TITLE = "Figure 14: samples and beams"
EXPERIMENTS = ("batching",)
VARIANTS = ("orca_max", "orca_pow2", "orca_oracle", "vllm")
PANELS = tuple((f"fig14_{kind}{n}", f"{words} {n}") for kind, words in (("parallel", "samples:"), ("beam", "beam width"))
               for n in (2, 4, 6))


def draw(context, plt):
    from lib import figures
    return figures.rate_panels(context, plt, PANELS, VARIANTS, columns=3)
