"""A second model on another kind of text: bytes of prose that people wrote. What formats of keys and values (left) and of
weights (right) do to its perplexity against fp32 over their bits, with 95 % intervals from resampled texts; middle: the gap
between two formats on the same tokens, right of zero the first is better, as its paper says. Its matrices have rows of 256 or
512 inputs, which K-quants' super-blocks fill."""

TITLE = "Formats on prose: a byte-level model"
EXPERIMENTS = ("quality",)
NEEDS = {"build/texts/held_out.txt": "the Debian package bible-kjv, then cmake/bootstrap.sh paper"}


def points(axes, rows, bits, name):
    from lib import layout
    for row in sorted(rows, key=lambda row: row[name]):
        mean, low, high = (row["perplexity_change_percent" + end] for end in ("", "_low", "_high"))
        axes.errorbar(row[bits], mean, yerr=[[mean - low], [high - mean]], marker="o", markersize=3, linewidth=1,
                      color="#0072B2")
        layout.name_point(axes, row[name], row[bits], mean)
    axes.set_yscale("symlog", linthresh=0.1)
    axes.set_ylabel("change of perplexity (%)")


def draw(context, plt):
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10.5, 4.2))
    rows = context.rows("quality", part="prose")
    changes = [row for row in rows if "perplexity_change_percent" in row]
    points(left, [row for row in changes if row["weight_format"] == "fp32" and row["kv_format"] != "fp32"],
           "pool_bits_per_value", "kv_format")
    left.set_xlabel("bits a value in the pool")
    left.set_title(f"keys and values: {context.modes('quality', part='prose')}")
    points(right, [row for row in changes if row["weight_format"] != "fp32"], "stored_bits_per_weight", "weight_format")
    right.set_xlabel("bits a weight in memory")
    right.set_title("weights")
    orders = sorted((row for row in rows if "perplexity_gap_percent" in row), key=lambda row: (row["better"], row["worse"]))
    for place, row in enumerate(orders):
        mean, low, high = (row["perplexity_gap_percent" + end] for end in ("", "_low", "_high"))
        middle.errorbar(mean, place, xerr=[[mean - low], [high - mean]], marker="o", markersize=3, linewidth=1,
                        color="#D55E00")
    middle.axvline(0, color="#444444", linewidth=0.8)
    middle.set_yticks(range(len(orders)), [f"{row['better']}\nover {row['worse']}" for row in orders], fontsize=5)
    middle.set_xscale("symlog", linthresh=0.1)
    middle.set_xlabel("gap of perplexity (%)")
    middle.set_title("orderings")
    return figure
