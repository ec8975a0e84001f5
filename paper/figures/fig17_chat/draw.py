"""Normalized latency against request rate for conversations, OPT-13B: each prompt is the last 1,024 tokens of what was said,
and at most 1,024 are generated (Figure 17 of the paper). Lines are simulated. Every system gets the same conversations. The
paper's artifact gave vLLM a new one with every second request (left, for all), Orca with every tenth (right, for all)."""

TITLE = "Figure 17: conversations"
EXPERIMENTS = ("batching",)


def draw(context, plt):
    from lib import figures
    return figures.rate_panels(context, plt, (("fig17", "half begin a conversation"), ("fig17_long", "one in ten does")),
                               ("orca_max", "orca_pow2", "orca_oracle", "vllm"), columns=2)
