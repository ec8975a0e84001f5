"""What each fusion of the CPU step saves of a step's time (bars; negative: it loses) and of the bytes of activations that
it moves (crosses), measured by switching it off. A llama of random weights, 4 layers of 768, fp32, one thread; steps with and
without take turns on this machine."""

TITLE = "Fusion: what doing things together saves"
EXPERIMENTS = ("fusion",)
STEPS = (("decode_1", "one sequence decodes", "#0072B2"), ("decode_16", "sixteen decode", "#E69F00"),
         ("prefill_256", "a prompt of 256", "#009E73"), ("sample_steep", "top-p, steep", "#D55E00"),
         ("sample_flat", "top-p, flat", "#CC79A7"))
NAMES = ("residual_norm", "rotary_cache_write", "gated_activation", "sampled_logits", "partial_sort", "all")


def draw(context, plt):
    figure, axes = plt.subplots(figsize=(6.4, 3.0))
    for offset, (step, label, colour) in enumerate(STEPS):
        rows = {row["apart"]: row for row in context.rows("fusion", part="step", workload=step, threads=1)}
        at = [i + 0.15 * (offset - 2) for i, name in enumerate(NAMES) if name in rows]
        found = [rows[name] for name in NAMES if name in rows]
        axes.bar(at, [row["saved_percent"] for row in found], width=0.14, color=colour, label=label)
        axes.plot(at, [100 * (1 - row["fused_activation_bytes"] / row["apart_activation_bytes"]) for row in found],
                  "x", color="black", markersize=3)
    axes.plot([], [], "x", color="black", markersize=3, label="of activation bytes")
    axes.axhline(0, color="#888888", linewidth=0.8)
    axes.set_xticks(range(len(NAMES)), [name.replace("_", "\n", 1) for name in NAMES])
    axes.set_ylabel("saved (%)")
    axes.set_title(context.modes("fusion", part="step"))
    axes.legend(ncol=2)
    return figure
