"""Conversations whose users come back after minutes. Left: share of what was said before that is still found when the next
question comes, by what keeps it, for three mean times to think. Middle: the same by the size of host memory, with and without
a disk below it. Right: time to first token of the returning turns (after Figures 13, 14 and 21 of the CachedAttention
paper)."""

TITLE = "Tiers: conversations that come back"
EXPERIMENTS = ("offload",)
POLICIES = {"nothing": "nothing kept", "recompute": "device alone", "host_cache": "host", "tiered": "host and disk",
            "attention_store": "look-ahead, overlap",
            "cost_based": "by cost"}
THINKS = ((60, "#0072B2"), (300, "#009E73"), (900, "#D55E00"))


def draw(context, plt):
    from lib import layout
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(7.2, 3.2))
    context.rows("offload", part="sessions")
    for axes, metric in ((left, "history_hit_percent"), (right, "mean_ttft_returning_s")):
        for i, (think, colour) in enumerate(THINKS):
            for x, policy in enumerate(POLICIES):
                where = {"part": "sessions", "policy": policy, "think_s": think}
                found = [row for row in context.optional_rows("offload", **where) if metric in row]
                if found:
                    value = sum(row[metric] for row in found) / len(found)
                    axes.bar(x + 0.27 * (i - 1), value, width=0.25, color=colour,
                             label=f"{think // 60} min" if x == len(POLICIES) - 1 else None)
        axes.set_xticks(range(len(POLICIES)), list(POLICIES.values()), rotation=60, ha="right")
        axes.grid(axis="x", visible=False)
    for policy, label, colour in (("host_cache", "host alone", "#E69F00"), ("tiered", "with disk", "#0072B2")):
        if context.optional_rows("offload", part="tiers", policy=policy):
            middle.plot(*context.curve("offload", "history_hit_percent", "host_gib", part="tiers", policy=policy),
                        marker="o", color=colour, label=label)
    left.set_ylabel("history found (%)")
    left.set_title(context.modes("offload", part="sessions"))
    middle.set_xlabel("host memory (GiB)")
    middle.set_ylabel("history found (%)")
    middle.set_title("by size, 5 min: " + context.modes("offload", part="tiers")
                     if context.optional_rows("offload", part="tiers") else "by size: no rows")
    if middle.get_legend_handles_labels()[0]:
        middle.legend()
    right.set_ylabel("time to first token (s)")
    right.set_title(context.modes("offload", part="sessions"))
    right.set_yscale("log")
    layout.plain_log(right.yaxis)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, title="time to think (left and right)", loc="outside lower center", ncols=3)
    return figure
