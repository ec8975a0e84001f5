"""Dropping tokens and packing what is left: change of perplexity of the story model against fp32 with everything kept, for two
retention policies with 64 tokens and for KV formats, with 95 % intervals. Right: what both cost together beyond the sum of what
each costs alone; zero where the two do not meet."""

TITLE = "Retention and KV format together"
EXPERIMENTS = ("quality",)
POLICIES = (("keep_all", "everything kept", "#7F7F7F"), ("streaming_llm", "StreamingLLM, 64 tokens", "#0072B2"),
            ("h2o", "H2O, 64 tokens", "#D55E00"))


def draw(context, plt):
    figure, (cost, meeting) = plt.subplots(1, 2, figsize=(8.0, 3.2))
    rows = context.rows("quality", part="retention", budget=64)
    formats = sorted({row["kv_format"] for row in rows}, key=lambda name: ("fp32", "int8", "int4", "int2").index(name.split("_")[0]))
    for number, (policy, label, colour) in enumerate(POLICIES):
        for place, name in enumerate(formats):
            if policy == "keep_all":
                found = [row for row in context.optional_rows("quality", keys="as_trained", kv_format=name)
                         if "perplexity_change_percent" in row]
            else:
                found = [row for row in rows if row["retention"] == policy and row["kv_format"] == name]
            for row in found:
                x = place + (number - 1) * 0.2
                for axes, metric in ((cost, "perplexity_change_percent"), (meeting, "interaction_percent")):
                    if metric not in row:
                        continue
                    mean, low, high = (row[metric + end] for end in ("", "_low", "_high"))
                    axes.errorbar(x, mean, yerr=[[mean - low], [high - mean]], marker="o", markersize=3, color=colour,
                                  linewidth=1, label=label if place == 0 else None)
    for axes, title, unit in ((cost, "cost: measured", "change of perplexity (%)"),
                              (meeting, "beyond the sum of both: measured", "change of perplexity (%)")):
        axes.set_xticks(range(len(formats)), [name.replace("_per_token_head", "\nper token\nand head") for name in formats])
        axes.set_ylabel(unit)
        axes.set_title(title)
    meeting.axhline(0, color="#444444", linewidth=0.8)
    cost.legend(fontsize=6)
    return figure
