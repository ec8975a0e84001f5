"""How many sequences a format lets into the same memory, and how many tokens a second they then get together. Left: the engine
itself on one thread with the story model, 4 MiB for keys and values (what a format keeps outside the pool comes out of it),
24 texts. Middle and right: Llama-3-8B with 1,024 tokens of prompt and 1,024 of output on one GPU: the planner divides its memory
after bf16 weights, and the roofline times a decode step of the full batch at the mean context, by bytes alone: work of unpacking
is not in it. Filled: KV formats; hollow: weight formats with fp16 keys and values."""

TITLE = "The same memory in every format: sequences and tokens a second"
EXPERIMENTS = ("quality",)
DEVICES = (("a100_80gb", "A100-80GB"), ("h200", "H200"))


def draw(context, plt):
    from lib import layout
    figure, (here, *planned) = plt.subplots(1, 3, figsize=(10.0, 3.4))
    rows = sorted(context.rows("quality", part="memory", hardware="cpu"), key=lambda row: row["sequences"])
    places = range(len(rows))
    here.barh(places, [row["tokens_per_s"] for row in rows], color="#0072B2")
    for place, row in zip(places, rows):
        here.text(row["tokens_per_s"], place, f" {row['sequences']}", va="center", fontsize=6)
    here.set_yticks(places, [row["kv_format"] for row in rows], fontsize=6)
    here.set_xlabel("tokens/s; beside the bar: sequences at a time")
    here.set_title("one thread, 4 MiB: measured")
    for axes, (device, name) in zip(planned, DEVICES):
        for row in context.rows("quality", part="memory", hardware=device):
            weights = row["weight_format"] != "bf16"
            axes.plot(row["sequences"], row["tokens_per_s"], marker="s" if weights else "o", markersize=3.5,
                      color="#D55E00" if weights else "#0072B2", markerfacecolor="none" if weights else "#0072B2",
                      linestyle="none")
            if row["kv_format"] in ("fp16", "int8_per_token_head", "int4_per_token_head", "kivi2_g32_r128") and not weights:
                layout.name_point(axes, row["kv_format"], row["sequences"], row["tokens_per_s"], fontsize=5.5)
        axes.set_xscale("log", base=2)
        axes.set_xlabel("sequences of 2,048 tokens at a time")
        axes.set_ylabel("tokens/s")
        axes.set_title(f"{name}: {context.modes('quality', part='memory', hardware=device)}")
    return figure
