"""Guessing ahead. Left: tokens a step against the probability that a guess holds, simulated by the engine (points) and by
formula (lines), Leviathan et al., equation 1. Middle: speed-up over no speculation against batch size, OPT-13B on an A100-40GB,
simulated. Right: speed-up of prompt lookup with ten drafts on the project's small models, measured on this machine."""

TITLE = "Speculation: what guessing ahead buys"
EXPERIMENTS = ("speculation",)
COLOURS = {3: "#0072B2", 5: "#009E73", 7: "#D55E00"}
LINES = {0.5: ":", 0.7: "--", 0.9: "-"}


def draw(context, plt):
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(7.2, 2.8))
    shares = [i / 50 for i in range(25, 50)]
    for drafts, colour in COLOURS.items():
        left.plot(shares, [(1 - a ** (drafts + 1)) / (1 - a) for a in shares], color=colour, linewidth=0.8)
        rows = context.rows("speculation", part="expected", drafts=drafts)
        left.plot([row["acceptance"] for row in rows], [row["tokens_a_step"] for row in rows], marker="o",
                  linestyle="none", color=colour, label=f"{drafts} drafts")
    left.set_xlabel("probability that a draft holds")
    left.set_ylabel("tokens a step")
    left.set_title("one request: " + context.modes("speculation", part="expected"))
    for drafts in (3, 7):
        for acceptance, line in LINES.items():
            middle.plot(*context.curve("speculation", "speed_up", "batch", part="batch", drafts=drafts,
                                       acceptance=acceptance), linestyle=line, marker=".", color=COLOURS[drafts],
                        label=f"{drafts} drafts, {acceptance:g}")
    middle.set_xscale("log", base=2)
    middle.set_xlabel("batch")
    middle.set_ylabel("speed-up")
    middle.set_ylim(bottom=0)
    middle.set_title("OPT-13B: " + context.modes("speculation", part="batch"))
    for workload, colour in (("copy", "#0072B2"), ("story", "#D55E00")):
        for temperature, line in ((0.0, "-"), (1.0, ":")):
            right.plot(*context.curve("speculation", "speed_up", "batch", part="measured", workload=workload,
                                      temperature=temperature), linestyle=line, marker=".", color=colour,
                       label=f"{workload}, temperature {temperature:g}")
    right.axhline(1, color="black", linewidth=0.5)
    right.axhline(context.published("prompt_lookup.readme.speed_up"), color="#999999", linewidth=0.8,
                  label="published, summaries")
    right.set_xscale("log", base=2)
    right.set_xlabel("batch")
    right.set_ylim(bottom=0)
    right.set_title("small models: " + context.modes("speculation", part="measured"))
    for axes, batches in ((middle, (1, 4, 16, 64)), (right, (1, 4, 16))):
        axes.set_xticks(batches, [str(batch) for batch in batches])
        axes.minorticks_off()
    for axes in (left, middle, right):
        axes.legend(fontsize="xx-small")
    return figure
