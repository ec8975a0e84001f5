"""What storing the layers' weights in fewer bits does to a model: change of perplexity against fp32 over the bits that a
weight takes in memory, with 95 % intervals from resampled texts. Middle: the gap between two ways on the same tokens; right of
zero the first is better, as its paper says. Right: bytes times bytes with inputs as trained, and with outliers emulated in two
channels of each norm, which leave the function as it is."""

TITLE = "Weight formats: quality against bits a weight"
EXPERIMENTS = ("quality",)
KINDS = (("gptq", "GPTQ", "#D55E00"), ("awq", "AWQ", "#009E73"), ("rtn", "to nearest, groups of 128", "#0072B2"),
         ("int", "to nearest, a scale a row", "#56B4E9"), ("nf4", "NF4", "#CC79A7"), ("fp4", "FP4", "#E69F00"),
         ("nvfp4", "NVFP4", "#8C564B"), ("mxfp4", "MXFP4", "#7F7F7F"), ("q", "GGUF blocks", "#222222"))
PRODUCTS = ("w8a8", "llm_int8", "smooth_quant_w8a8")


def point(axes, x, row, metric, colour, label=None, flat=False):
    mean, low, high = (row[metric + end] for end in ("", "_low", "_high"))
    error = [[mean - low], [high - mean]]
    x, y = (mean, x) if flat else (x, mean)
    axes.errorbar(x, y, xerr=error if flat else None, yerr=None if flat else error, marker="o", markersize=3,
                  color=colour, linewidth=1, label=label)


def draw(context, plt):
    figure, (curve, orders, products) = plt.subplots(1, 3, figsize=(10.0, 3.9), width_ratios=(1.3, 1, 1))
    shown = set()
    for row in context.rows("quality", inputs="as_trained", kv_format="fp32"):
        found = [(k, c) for start, k, c in KINDS if row["weight_format"].startswith(start)]
        if not found:
            continue
        kind, colour = found[0]
        point(curve, row["stored_bits_per_weight"], row, "perplexity_change_percent", colour,
              None if kind in shown else kind)
        shown.add(kind)
    curve.set_xscale("log", base=2)
    curve.set_xticks([3, 4, 5, 6, 8], ["3", "4", "5", "6", "8"])
    curve.minorticks_off()
    curve.set_yscale("symlog", linthresh=0.1)
    curve.set_xlabel("bits a weight in memory")
    curve.set_ylabel("change of perplexity (%)")
    curve.set_title(f"as trained: {context.modes('quality', inputs='as_trained', kv_format='fp32')}")
    curve.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, fontsize=6)
    rows = [row for row in context.rows("quality", inputs="as_trained") if "perplexity_gap_percent" in row]
    rows.sort(key=lambda row: (row["better"], row["worse"]))
    for place, row in enumerate(rows):
        point(orders, place, row, "perplexity_gap_percent", "#0072B2", flat=True)
    orders.axvline(0, color="#444444", linewidth=0.8)
    orders.set_yticks(range(len(rows)), [f"{row['better']}\nover {row['worse']}" for row in rows], fontsize=5)
    orders.set_xlabel("gap of perplexity (%)")
    orders.set_title("orderings: measured")
    for place, name in enumerate(PRODUCTS):
        for inputs, colour, label in (("as_trained", "#0072B2", "as trained"),
                                      ("outliers_emulated", "#D55E00", "outliers emulated")):
            for row in context.optional_rows("quality", inputs=inputs, weight_format=name):
                point(products, place, row, "perplexity_change_percent", colour, label if place == 0 else None)
    products.set_xticks(range(len(PRODUCTS)), ["W8A8", "LLM.int8()", "SmoothQuant\nW8A8"])
    products.set_yscale("symlog", linthresh=0.1)
    products.set_title("8-bit inputs and weights: measured")
    products.legend(fontsize=6)
    return figure
