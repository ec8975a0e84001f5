"""What storing keys and values in fewer bits does to a model: change of perplexity against fp32 over the bits a value takes
in the allocated pool, with 95 % intervals from resampled texts. Left: the story model as trained. Right: the gap between two
formats on the same tokens; right of zero the first is better, as its paper says."""

TITLE = "KV formats: quality against bits a value"
EXPERIMENTS = ("quality",)
KINDS = (("kivi", "KIVI", "#D55E00"), ("kvquant", "KVQuant", "#882255"), ("gear", "GEAR", "#117733"),
         ("qserve", "QServe", "#332288"), ("k_", "sides apart", "#7F7F7F"), ("pre_rope", "before rotation", "#CC79A7"),
         ("rotated", "rotated", "#009E73"), ("turboquant", "TurboQuant", "#56B4E9"), ("int", "integers", "#0072B2"),
         ("q", "GGUF blocks", "#8C564B"), ("", "floating point", "#E69F00"))


def draw(context, plt):
    figure, (curve, orders) = plt.subplots(1, 2, figsize=(9.0, 4.2))
    shown = set()
    for row in context.rows("quality", keys="as_trained"):
        if "perplexity_change_percent" not in row or row["kv_format"] in ("fp32", "fp16", "bf16"):
            continue
        kind, colour = next((k, c) for start, k, c in KINDS if row["kv_format"].startswith(start))
        mean = row["perplexity_change_percent"]
        low, high = mean - row["perplexity_change_percent_low"], row["perplexity_change_percent_high"] - mean
        curve.errorbar(row["pool_bits_per_value"], mean, yerr=[[low], [high]], marker="o", markersize=3, color=colour,
                       linewidth=1, label=None if kind in shown else kind)
        shown.add(kind)
    curve.set_xscale("log", base=2)
    curve.set_yscale("symlog", linthresh=0.1)
    curve.set_xlabel("bits a value in the pool")
    curve.set_ylabel("change of perplexity (%)")
    curve.set_title("as trained: measured")
    curve.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4, fontsize=6)
    rows = [row for row in context.optional_rows("quality", keys="as_trained") if "perplexity_gap_percent" in row]
    rows.sort(key=lambda row: (row["better"], row["worse"]))
    for place, row in enumerate(rows):
        mean = row["perplexity_gap_percent"]
        low, high = mean - row["perplexity_gap_percent_low"], row["perplexity_gap_percent_high"] - mean
        orders.errorbar(mean, place, xerr=[[low], [high]], marker="o", markersize=3, color="#0072B2", linewidth=1)
    orders.axvline(0, color="#444444", linewidth=0.8)
    orders.set_yticks(range(len(rows)), [f"{row['better']}\nover {row['worse']}" for row in rows], fontsize=5)
    orders.set_xlabel("gap of perplexity (%)")
    orders.set_title("orderings: measured")
    return figure
