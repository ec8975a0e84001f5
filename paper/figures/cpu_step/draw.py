"""A decode step of the CPU executor, measured on this machine: tokens a second by threads and by the size of the batch, and where a
batch has a long prefix of its own or in common; microseconds by the depth of the cache in each KV format, with the time that reading
its bytes takes (dashed); and what the steps of a bf16 cache are made of. A llama of random fp32 weights, 8 layers of 768."""

TITLE = "The CPU step: threads, batch, depth, parts"
EXPERIMENTS = ("cpu_step",)
PARTS = (("products_us", "products", "#0072B2"), ("attention_us", "attention", "#D55E00"), ("head_us", "output matrix", "#009E73"),
         ("sampling_us", "sampling", "#CC79A7"), ("rest_us", "rest", "#999999"))
COLOURS = ("#222222", "#0072B2", "#D55E00", "#E69F00", "#009E73", "#56B4E9")


def draw(context, plt):
    figure, panels = plt.subplots(1, 4, figsize=(12.0, 3.0), width_ratios=(0.7, 1, 1.3, 1.3))
    threads, batch, depth, split = panels
    rows = sorted(context.rows("cpu_step", part="threads"), key=lambda row: row["threads"])
    threads.plot([row["threads"] for row in rows], [row["tokens_per_s"] for row in rows], "o-")
    threads.set_ylim(0, 1.15 * max(row["tokens_per_s"] for row in rows))
    threads.margins(x=0.2)
    threads.set_xticks([row["threads"] for row in rows])
    threads.set_xlabel("threads")
    threads.set_ylabel("tokens/s")
    threads.set_title(f"one sequence: {context.modes('cpu_step', part='threads')}")
    rows = sorted(context.rows("cpu_step", part="batch"), key=lambda row: row["sequences"])
    batch.plot([row["sequences"] for row in rows], [row["tokens_per_s"] for row in rows], "o-")
    for row, marker in zip(sorted(context.rows("cpu_step", part="prefix"), key=lambda row: row["prefix"]), "xs"):
        batch.plot([row["sequences"]], [row["tokens_per_s"]], marker, markersize=4, color="#D55E00",
                   label=f"at {row['depth']:,}, prefix {row['prefix']}")
    batch.legend(fontsize=6)
    batch.set_xscale("log", base=2)
    batch.set_ylim(bottom=0)
    batch.set_ylabel("tokens/s")
    batch.set_xlabel("sequences")
    batch.set_title("batch at 512")
    found = context.rows("cpu_step", part="depth")
    for name, colour in zip(dict.fromkeys(row["kv_format"] for row in found), COLOURS):
        rows = sorted((row for row in found if row["kv_format"] == name), key=lambda row: row["depth"])
        depth.plot([row["depth"] for row in rows], [row["step_us"] for row in rows], "o-", markersize=3, color=colour, label=name)
        depth.plot([row["depth"] for row in rows], [row["bandwidth_bound_us"] for row in rows], "--", linewidth=0.7, color=colour)
    depth.set_ylim(bottom=0)
    depth.set_xlabel("tokens in the cache")
    depth.set_ylabel("us a step")
    depth.set_title("depth by KV format")
    depth.legend(fontsize=6)
    rows = sorted((row for row in found if row["kv_format"] == "bf16"), key=lambda row: row["depth"])
    low = [0.0] * len(rows)
    for field, label, colour in PARTS:
        split.bar(range(len(rows)), [row[field] for row in rows], bottom=low, color=colour, label=label, width=0.6)
        low = [a + row[field] for a, row in zip(low, rows)]
    split.set_xticks(range(len(rows)), [f"{row['depth']:,}" for row in rows])
    split.set_ylabel("us a step")
    split.set_xlabel("tokens in the cache, bf16")
    split.set_title("what a step is made of")
    split.legend(fontsize=6)
    return figure
