"""Room for keys and values: bytes for the cache, bytes a token, and how many tokens fit (Table 1 of the paper).
`printed memory` divides the paper's printed cache size by the bytes of a token; `planner` is what Quire's memory planner leaves
for the cache on those devices after weights and activations."""

TITLE = "Table 1: room for keys and values"
EXPERIMENTS = ("kv_memory_waste",)
MODELS = ("opt_13b", "opt_66b", "opt_175b")


def draw(context, plt):
    from lib import layout
    figure, axes = plt.subplots(figsize=(7.0, 1.25))
    cells = []
    for model in MODELS:
        row = context.rows("kv_memory_waste", part="slots", model=model)[0]
        cells.append([row["model"].replace("_", "-").upper(), f"{row['kv_bytes'] / 2**30:.0f} GiB",
                      f"{row['token_bytes']:,}", f"{row['blocks']:,}", f"{row['slots']:,}",
                      f"{row['planned_slots']:,}",
                      f"{context.published(f'pagedattention.tab01.{model}_slots'):,}"])
    layout.table(axes, ["model", "KV memory", "bytes\na token", "blocks\nof 16", "slots,\nprinted memory", "slots,\nplanner",
                        "slots,\npublished"], cells, [1, 1.05, 0.9, 0.8, 1.45, 0.9, 1], fontsize=8.5, header_lines=2)
    return figure
