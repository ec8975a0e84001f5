"""Weights in 4, 3 and 2 bits (a scale and a zero point for 128 inputs) of a model that was rounded to nearest when it was trained,
rounded by GPTQ, or trained to be rounded in the last fifth of its training. Left: change of perplexity against the same model in
floats, which saw the same rows in as many steps, with 95 % intervals from resampled texts. Right: how much of what rounding to
nearest costs each takes away; dotted: published for 4 bits of Llama-3-8B."""

TITLE = "Quantisation-aware training against rounding afterwards"
EXPERIMENTS = ("quality",)
NEEDS = {"build/texts/held_out.txt": "the Debian package bible-kjv, then cmake/bootstrap.sh paper"}
WAYS = (("rtn", "to nearest", "#0072B2"), ("gptq", "GPTQ", "#E69F00"), ("qat", "trained (QAT)", "#D55E00"))
BITS = (4, 3, 2)


def error(row, metric):
    return [[row[metric] - row[metric + "_low"]], [row[metric + "_high"] - row[metric]]]


def draw(context, plt):
    figure, (cost, share) = plt.subplots(1, 2, figsize=(7.2, 2.8))
    for place, (way, label, colour) in enumerate(WAYS):
        for bits in BITS:
            name = f"{way}_int{bits}_zero_point_g128"
            x = BITS.index(bits) + 0.12 * (place - 1)
            row = context.rows("quality", part="qat", weight_format=name)[0]
            cost.errorbar(x, row["perplexity_change_percent"], yerr=error(row, "perplexity_change_percent"), marker="o",
                          color=colour, label=label if bits == 4 else None)
            if way == "rtn":
                continue
            row = context.rows("quality", part="qat", better=name, worse=f"rtn_int{bits}_zero_point_g128")[0]
            share.errorbar(x, row["removed_percent"], yerr=error(row, "removed_percent"), marker="o",
                           color=colour, label=label if bits == 4 else None)
    share.axhline(context.published("torchao.qat.recovered_at_4_bits"), color="#999999", linewidth=0.8, linestyle=":",
                  label="published")
    share.axhline(0, color="#444444", linewidth=0.8)
    cost.set_yscale("symlog", linthresh=1)
    cost.set_ylabel("change of perplexity (%)")
    share.set_ylabel("of rounding's cost taken away (%)")
    for axes in (cost, share):
        axes.set_xticks(range(len(BITS)), [f"{bits} bits" for bits in BITS])
        axes.legend(fontsize="xx-small")
    cost.set_title(context.modes("quality", part="qat"))
    return figure
