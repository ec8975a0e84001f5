"""Layers as the product of two matrices of a low rank. Left: change of perplexity against fp32 over the share of the layers'
numbers that is gone, both factors counted, with 95 % intervals from resampled texts. Middle: the same change over the bits that a
weight takes: factors in bf16 and in 8 bits without what fills their last panels in memory, pruning and rounding as they lie in
memory. Right: how many times as fast the two products are as the one, by turns, one thread, layers of a 1.1B model in bf16 that lie
in memory; solid: one token, dotted: 64. The grey line is the numbers that are left, one over the other; the crosses are what SVD-LLM's
authors print for a whole model on an A100."""

TITLE = "Low rank: quality against what is gone, against bytes, and time"
EXPERIMENTS = ("quality", "kernel_roofline")
METHODS = (("svd", "SVD", "#0072B2"), ("asvd", "ASVD", "#E69F00"), ("svd_llm", "SVD-LLM", "#D55E00"))
ROUNDED = ("q8_0", "q4_0", "gptq_int4_zero_point_g128", "gptq_int3_zero_point_g128", "rtn_int3_zero_point_g128")
LAYERS = (("attention_output", "2,048 x 2,048", "#0072B2"), ("gate", "5,632 x 2,048", "#E69F00"), ("down", "2,048 x 5,632", "#009E73"))


def share_of(name):
    return int(name.removesuffix("_percent").rsplit("_", 1)[-1])


def point(axes, x, row, marker, colour, label=None):
    mean, low, high = (row["perplexity_change_percent" + end] for end in ("", "_low", "_high"))
    axes.errorbar(x, mean, yerr=[[mean - low], [high - mean]], marker=marker, markersize=3, linewidth=1, color=colour,
                  label=label)


def draw(context, plt):
    figure, (shares, bits, speed) = plt.subplots(1, 3, figsize=(10.0, 3.6), width_ratios=(1, 1.2, 1))
    factored = [row for row in context.rows("quality", part="low_rank") if "factor_bits_per_weight" in row]
    for method, label, colour in METHODS:
        rows = [row for row in factored if row["weight_format"].startswith(method + "_")
                and row["weight_format"].removeprefix(method + "_")[0].isdigit() and row["weight_format"].endswith("_percent")]
        rows.sort(key=lambda row: share_of(row["weight_format"]))
        shares.plot([share_of(row["weight_format"]) for row in rows], [row["perplexity_change_percent"] for row in rows],
                    color=colour, linewidth=0.8)
        for place, row in enumerate(rows):
            point(shares, share_of(row["weight_format"]), row, "o", colour, label if place == 0 else None)
            if method == "svd_llm":
                point(bits, row["factor_bits_per_weight"], row, "o", colour, "SVD-LLM, bf16" if place == 0 else None)
    for place, row in enumerate(row for row in factored if row["weight_format"].endswith("_q8_0")):
        point(bits, row["factor_bits_per_weight"], row, "^", "#CC79A7", "SVD-LLM, 8 bits" if place == 0 else None)
    pruned = [row for row in context.optional_rows("quality", part="pruning") if row.get("weight_format", "").startswith("wanda_")
              or row.get("weight_format") == "sparse_gpt_2_of_4"]
    for place, row in enumerate(pruned):
        point(bits, row["stored_bits_per_weight"], row, "s", "#009E73", "pruned" if place == 0 else None)
    for place, name in enumerate(ROUNDED):
        for row in context.optional_rows("quality", inputs="as_trained", weight_format=name):
            point(bits, row["stored_bits_per_weight"], row, "D", "#7F7F7F", "rounded" if place == 0 else None)
    for axes in (shares, bits):
        axes.set_yscale("symlog", linthresh=1)
        axes.legend(fontsize=6)
    shares.set_xlabel("numbers of the layers that are gone (%)")
    shares.set_ylabel("change of perplexity (%)")
    shares.set_title(context.modes("quality", part="low_rank"))
    bits.set_xlabel("bits a weight")
    bits.set_title("at equal bytes")
    timed = [row for row in context.optional_rows("kernel_roofline", part="low_rank") if "speedup" in row]
    for layer, label, colour in LAYERS:
        for tokens, style in ((1, "-"), (64, ":")):
            curve = sorted((share_of(row["removed"]), row["speedup"]) for row in timed
                           if row["layer"] == layer and row["rows"] == tokens)
            if curve:
                speed.plot(*zip(*curve), style, marker="o", markersize=2.5, color=colour, linewidth=1,
                           label=label if tokens == 1 else None)
    gone = list(range(0, 81, 5))
    speed.plot(gone, [100 / (100 - x) for x in gone], color="#BBBBBB", linewidth=0.8)
    speed.plot([20, 40], [context.published(f"svd.speed.at_{gone}") for gone in (20, 40)], "x", color="black", markersize=5,
               label="published, A100")
    speed.axhline(1, color="#444444", linewidth=0.8)
    speed.set_xlabel("numbers of the layer that are gone (%)")
    speed.set_ylabel("times as fast")
    speed.set_title(context.modes("kernel_roofline", part="low_rank") if timed else "not measured yet")
    speed.legend(fontsize=6)
    return figure
