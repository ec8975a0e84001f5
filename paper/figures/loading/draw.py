"""How long an engine takes from the making of its process to its first token, and how its weights come into memory. Left: a llama
of 0.7 GB in bfloat16 from its checkpoint, packed at the start, and from images packed before, by the file load that was fastest;
cold: nothing of the file in the page cache. Right, above: tensors of one file copied one by one, and views into one read of all;
below: chunks of 1 MiB past the page cache, by how many are under way. Two cores of this machine."""

TITLE = "Loading: from a file to the first token"
EXPERIMENTS = ("loading",)
STARTS = (("checkpoint", "bf16_w16a16"), ("image", "bf16_w16a16"), ("checkpoint", "q8_0"), ("image", "q8_0"),
          ("checkpoint", "q4_0"), ("image", "q4_0"))
PHASES = (("process_ms", "process", "#7F7F7F"), ("open_ms", "open, read", "#0072B2"), ("weights_ms", "pack", "#D55E00"),
          ("prompt_ms", "prompt, and what is not read yet", "#E69F00"))


def draw(context, plt):
    from lib import layout
    figure, grid = plt.subplot_mosaic([["starts", "tensors"], ["starts", "streams"]], figsize=(7.6, 3.8), width_ratios=(1.5, 1))
    starts, tensors, streams = grid["starts"], grid["tensors"], grid["streams"]
    labels = []
    for i, (origin, weight_format) in enumerate(STARTS):
        for side, cache in ((0.2, "cold"), (-0.2, "warm")):
            found = context.rows("loading", part="start", weight_format=weight_format, page_cache=cache, **{"from": origin})
            best = min(found, key=lambda row: row["first_token_ms"])
            left = 0
            for phase, label, colour in PHASES:
                starts.barh(i + side, best[phase], left=left, height=0.36, color=colour,
                            label=label if i == 0 and cache == "cold" else None)
                left += best[phase]
            starts.text(left, i + side, f" {left:.0f} {cache}, {best['file_load']}", fontsize=5.5, va="center")
        labels.append(f"{weight_format.replace('_w16a16', '')}\n{origin}")
    starts.set_yticks(range(len(STARTS)), labels)
    starts.invert_yaxis()
    starts.set_xlim(right=1.45 * max(row["first_token_ms"] for row in context.rows("loading", part="start", file_load="mapped")))
    starts.set_xlabel("to the first token (ms)")
    starts.set_title(context.modes("loading", part="start"))
    starts.legend(loc="lower right")
    for read, colour in (("each", "#D55E00"), ("together", "#0072B2")):
        for cache, style in (("cold", "-"), ("warm", "--")):
            rows = sorted(context.rows("loading", part="tensor_count", read=read, page_cache=cache), key=lambda row: row["tensors"])
            tensors.plot([row["tensors"] for row in rows], [row["ms"] for row in rows], style, marker="o", markersize=3,
                         color=colour, label=f"{read}, {cache}")
    tensors.set_xscale("log")
    tensors.set_yscale("log")
    layout.plain_log(tensors.yaxis)
    tensors.set_xlabel("tensors in a file")
    tensors.set_ylabel("ms")
    tensors.legend(loc="upper center", bbox_to_anchor=(0.5, 1.32), ncols=2)
    for file_load, colour in (("direct", "#009E73"), ("io_uring", "#CC79A7")):
        rows = sorted(context.rows("loading", part="concurrency", file_load=file_load), key=lambda row: row["under_way"])
        streams.plot([row["under_way"] for row in rows], [row["gb_s"] for row in rows], marker="o", markersize=3, color=colour,
                     label=file_load)
    streams.set_xscale("log", base=2)
    streams.set_ylim(0, 1.1 * max(row["gb_s"] for row in context.rows("loading", part="concurrency")))
    streams.set_xlabel("reads under way")
    streams.set_ylabel("GB/s")
    streams.legend()
    return figure
