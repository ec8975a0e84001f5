"""Room for keys and values: bytes for the cache, bytes a token, and how many tokens fit (Table 1 of the paper).
`printed memory` divides the paper's printed cache size by the bytes of a token; `planner` is what Quire's memory planner leaves
for the cache on those devices after weights and activations."""

TITLE = "Table 1: room for keys and values"
EXPERIMENTS = ("kv_memory_waste",)
MODELS = ("opt_13b", "opt_66b", "opt_175b")


def draw(context, plt):
    figure, axes = plt.subplots(figsize=(7.0, 1.5))
    axes.axis("off")
    cells = []
    for model in MODELS:
        row = context.rows("kv_memory_waste", part="slots", model=model)[0]
        cells.append([row["model"].replace("_", "-").upper(), f"{row['kv_bytes'] / 2**30:.0f} GiB",
                      f"{row['token_bytes']:,}", f"{row['blocks']:,}", f"{row['slots']:,}",
                      f"{row['planned_slots']:,}",
                      f"{context.published(f'pagedattention.tab01.{model}_slots'):,}"])
    table = axes.table(cells, loc="center", cellLoc="right", edges="horizontal",
                       colLabels=["model", "KV memory", "bytes a token", "blocks of 16", "slots, printed memory",
                                  "slots, planner", "slots (published)"])
    table.scale(1, 1.3)
    return figure
