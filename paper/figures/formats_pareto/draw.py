"""Quality, memory and speed of the formats in one picture: change of perplexity of the story model (measured) over bits in
memory; the area of a point grows with the tokens a second that Llama-3-8B gets with it on an A100-80GB in a full batch
(simulated). Named are the formats that no other one beats in both bits and quality."""

TITLE = "What is worth having: quality, memory and speed of the formats"
EXPERIMENTS = ("quality",)


def front(points):
    """Points that no other one beats in both coordinates, by ascending bits."""
    best, kept = float("inf"), []
    for point in sorted(points):
        if point[1] < best:
            best = point[1]
            kept.append(point)
    return kept


def panel(context, axes, quality, bits, metric, speeds, title):
    from lib import layout
    fastest = max(speeds.values())
    points = []
    for row in quality:
        name = row.get(metric)
        if "perplexity_change_percent" not in row or name not in speeds:
            continue
        loss = max(row["perplexity_change_percent"], 1e-3)
        points.append((row[bits], loss, name))
        axes.scatter(row[bits], loss, s=4 + 110 * (speeds[name] / fastest) ** 2, alpha=0.55, color="#0072B2", linewidths=0)
    best = front(points)
    axes.plot([p[0] for p in best], [p[1] for p in best], color="#D55E00", linewidth=0.8)
    for x, y, name in best:
        layout.name_point(axes, name, x, y, fontsize=5.5)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_ylabel("change of perplexity (%), at least 0.001")
    axes.set_title(title)


def draw(context, plt):
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.8))
    device = context.rows("quality", part="memory", hardware="a100_80gb")
    kv = {row["kv_format"]: row["tokens_per_s"] for row in device if row["weight_format"] == "bf16"}
    weights = {row["weight_format"]: row["tokens_per_s"] for row in device if row["kv_format"] == "fp16"}
    for row in context.rows("quality", inputs="as_trained", kv_format="fp32"):  # calibrated ones are as fast as rounded
        name = row["weight_format"]
        for prefix in ("rtn_", "gptq_act_order_", "gptq_", "awq_"):
            if name.startswith(prefix) and name.removeprefix(prefix) in weights:
                weights[name] = weights[name.removeprefix(prefix)]
    panel(context, left, context.rows("quality", keys="as_trained"), "pool_bits_per_value", "kv_format", kv, "keys and values")
    left.set_xlabel("bits a value in the pool")
    panel(context, right, context.rows("quality", inputs="as_trained", kv_format="fp32"), "stored_bits_per_weight",
          "weight_format", weights, "weights")
    right.set_xlabel("bits a weight in memory")
    return figure
