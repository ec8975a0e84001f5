"""What is lost when a sequence keeps part of its past. Left: exact recall on the induction model against the budget;
lines are computed from the model's derivation and the policies' papers, marks are what the engine answered. Middle:
perplexity of the story model on held-out stories read token by token, against the share of keys kept (quest keeps all and
reads pages of 4 tokens: the share read). Right: output tokens a second of OPT-13B in simulated time, all requests waiting,
against the budget: what is dropped is free for others."""

TITLE = "Token retention: what is kept against what is lost"
EXPERIMENTS = ("retention",)
POLICIES = {
    "keep_all": "#444444", "sliding_window": "#7F7F7F", "streaming_llm": "#0072B2", "h2o": "#D55E00", "tova": "#E69F00",
    "scissorhands": "#CC79A7", "snap_kv": "#009E73", "pyramid_kv": "#56B4E9", "quest": "#8C564B",
}


def draw(context, plt):
    from lib import figures, layout
    figure, (recall, text, speed) = plt.subplots(1, 3, figsize=(9.0, 3.2))
    context.rows("retention", part="recall")
    for policy, colour in POLICIES.items():
        block = 4 if policy == "quest" else 16
        rows = [row for row in context.optional_rows("retention", part="recall", policy=policy, block_size=block)
                if "computed_recall_percent" in row and "recall_percent" in row]
        if rows:
            rows.sort(key=lambda row: row["budget"])
            budgets = [row["budget"] for row in rows]
            recall.plot(budgets, [row["computed_recall_percent"] for row in rows], color=colour, linewidth=1)
            recall.plot(budgets, [row["recall_percent"] for row in rows], linestyle="none", marker="o", markersize=3,
                        color=colour, label=figures.name(policy))
        share = "pages_read_percent" if policy == "quest" else "kept_percent"
        rows = [row for row in context.optional_rows("retention", part="stories", policy=policy, block_size=block)
                if share in row and "perplexity" in row]
        if rows:
            points = sorted((row[share], row["perplexity"]) for row in rows)
            text.plot(*zip(*points), marker="o", markersize=3, color=colour, label=figures.name(policy))
        rows = [row for row in context.optional_rows("retention", part="simulated", policy=policy)
                if "output_tokens_per_s" in row]
        if rows and policy == "keep_all":
            speed.axhline(rows[0]["output_tokens_per_s"], color=colour, linestyle=":", label=figures.name(policy))
        elif rows:
            points = sorted((row["budget"], row["output_tokens_per_s"]) for row in rows)
            speed.plot(*zip(*points), marker="o", markersize=3, color=colour, label=figures.name(policy))
    recall.set_xlabel("tokens kept (budget)")
    recall.set_ylabel("questions answered right (%)")
    recall.set_title(f"recall: {context.modes('retention', part='recall')}")
    text.set_xlabel("keys kept or read (%)")
    text.set_ylabel("perplexity a token")
    text.set_yscale("log")
    text.set_title("stories: measured")
    speed.set_xlabel("tokens kept (budget)")
    speed.set_ylabel("output tokens a second")
    speed.set_title("OPT-13B: simulated")
    for axes in (recall, speed):
        axes.set_xscale("log", base=2)
    unique = {}
    for axes in (recall, text, speed):
        for handle, label in zip(*axes.get_legend_handles_labels()):
            unique.setdefault(label, handle)
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=9)
    layout.plain_log(text.yaxis, (1, 2, 3, 4, 6, 8))
    return figure
