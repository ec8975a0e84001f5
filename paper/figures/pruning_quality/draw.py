"""What leaving weights out of the layers does to a model: change of perplexity against fp32 over the share that is dropped, with
95 % intervals from resampled texts; circles: any weights, stored as the others are; squares: two of each four neighbouring
inputs, stored without the zeros. Middle: the gap between two ways on the same tokens; right of zero the first is better, as its
paper says. Right: the same change over the bits that a weight takes in memory, beside what rounding does with as many."""

TITLE = "Pruning: quality against what is left out, and against bytes"
EXPERIMENTS = ("quality",)
METHODS = (("magnitude", "magnitude", "#0072B2"), ("wanda", "Wanda", "#E69F00"), ("sparse_gpt", "SparseGPT", "#D55E00"))
ROUNDED = ("q8_0", "q4_0", "gptq_int4_zero_point_g128", "gptq_int3_zero_point_g128", "rtn_int3_zero_point_g128")


def point(axes, x, row, marker, colour, label=None):
    mean, low, high = (row["perplexity_change_percent" + end] for end in ("", "_low", "_high"))
    axes.errorbar(x, mean, yerr=[[mean - low], [high - mean]], marker=marker, markersize=3, linewidth=1, color=colour,
                  label=label)


def draw(context, plt):
    from lib import layout
    figure, (shares, orders, bits) = plt.subplots(1, 3, figsize=(10.0, 3.6), width_ratios=(1.2, 1, 1))
    for method, label, colour in METHODS:
        rows = [row for row in context.rows("quality", part="pruning") if row.get("weight_format", "").startswith(method)]
        curve = sorted((int(row["weight_format"].split("_")[-2]), row["perplexity_change_percent"])
                       for row in rows if row["weight_format"].endswith("_percent"))
        shares.plot(*zip(*curve), color=colour, linewidth=0.8)
        for place, row in enumerate(rows):
            pairs = row["weight_format"].endswith("_2_of_4")
            share = 50 if pairs else int(row["weight_format"].split("_")[-2])
            point(shares, share + (1 if pairs else 0), row, "s" if pairs else "o", colour, label if place == 0 else None)
            if pairs:
                point(bits, row["stored_bits_per_weight"], row, "s", colour)
    shares.set_yscale("symlog", linthresh=1)
    shares.set_xlabel("weights left out (%)")
    shares.set_ylabel("change of perplexity (%)")
    shares.set_title(context.modes("quality", part="pruning"))
    shares.legend(fontsize=6)
    rows = [row for row in context.rows("quality", part="pruning") if "perplexity_gap_percent" in row]
    rows.sort(key=lambda row: (row["better"], row["worse"]))
    for place, row in enumerate(rows):
        mean, low, high = (row["perplexity_gap_percent" + end] for end in ("", "_low", "_high"))
        orders.errorbar(mean, place, xerr=[[mean - low], [high - mean]], marker="o", markersize=3, linewidth=1,
                        color="#0072B2")
    orders.axvline(0, color="#444444", linewidth=0.8)
    orders.set_yticks(range(len(rows)), [f"{row['better']}\nover {row['worse']}" for row in rows], fontsize=5)
    orders.set_xlabel("gap of perplexity (%)")
    orders.set_title("orderings")
    for name in ROUNDED:
        for row in context.optional_rows("quality", inputs="as_trained", weight_format=name):
            point(bits, row["stored_bits_per_weight"], row, "o", "#7F7F7F")
            layout.name_point(bits, name, row["stored_bits_per_weight"], row["perplexity_change_percent"], fontsize=5.5)
    bits.set_yscale("symlog", linthresh=0.1)
    bits.set_xlabel("bits a weight in memory")
    bits.set_title("two of four, and rounding (grey)")
    return figure
