"""Who is served: two clients that both send more than the server can take, one twice as much as the other, Llama-2-7B on one
A10G, 256 tokens in and out (VTC's figure 3), and four clients of weights 1 to 4. Left: difference of the service that the two
have received; right: service over that of the first client. All simulated; hatched bars are published."""

TITLE = "VTC: service of unequal clients"
EXPERIMENTS = ("scheduling",)
KINDS = (("fcfs", "first come first served", "#D55E00"), ("vtc", "VTC", "#0072B2"),
         ("predictive_vtc", "VTC, lengths known", "#009E73"))


def draw(context, plt):
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.5, 2.8))
    for variant, label, colour in KINDS:
        [row] = context.rows("scheduling", part="vtc", workload="overload", variant=variant)
        gaps = row["gap_by_10_s"]
        left.plot([10 * (i + 1) for i in range(len(gaps))], [g / 1000 for g in gaps], color=colour, label=label)
    left.axhline(context.published("vtc.fig03.service_gap_bounded") / 1000, color="#888888", linewidth=0.8, linestyle="--")
    left.set_xlabel("time (s)")
    left.set_ylabel("service difference (1,000)")
    left.legend()
    [row] = context.rows("scheduling", part="vtc", workload="weighted", variant="weighted_vtc")
    for client, told in enumerate((1, 2, 3.0, context.published("vtc.appendix.weighted"))):
        right.bar(client - 0.2, told, 0.38, facecolor="white", edgecolor="#0072B2", hatch="/////")
        bar = right.bar(client + 0.2, row[f"share_{client}"], 0.38, color="#0072B2")
        right.bar_label(bar, fmt="%.2f", fontsize=6, padding=1)
    right.set_xticks(range(4), [f"weight {w}" for w in (1, 2, 3, 4)])
    right.grid(axis="x", visible=False)
    right.set_ylabel("service over the first client's")
    left.set_title("overload: " + context.modes("scheduling", part="vtc", workload="overload"))
    right.set_title("weighted: published (hatched), " + context.modes("scheduling", part="vtc", workload="weighted"))
    return figure
