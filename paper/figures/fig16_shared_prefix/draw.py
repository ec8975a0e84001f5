"""Normalized latency against request rate when all prompts begin alike, LLaMA-13B, translation (Figure 16 of the paper): one
example (80 tokens) and five (341 tokens) before each sentence. vLLM shares the pages of the prefix (the preset with a
prefix cache). Lines are simulated; the
lengths of the sentences are not published and are assumed to be 30 tokens in and out."""

TITLE = "Figure 16: a shared prefix"
EXPERIMENTS = ("batching",)
PANELS = (("fig16_one_shot", "one example, 80 tokens"), ("fig16_five_shot", "five examples, 341 tokens"))


def draw(context, plt):
    from lib import figures
    return figures.rate_panels(context, plt, PANELS, ("orca_oracle", "vllm"), columns=2)
