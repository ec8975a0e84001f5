"""The same weights, a llama of 0.1 GB in bfloat16, in seven file formats, mapped. Left: from the making of a process to its first token, and
of that opening the file; cold: nothing of the file in the page cache. Middle: bytes of the file, and of memory that opening it fills with a
copy of the weights. Right: opening files of tensors of 64 bytes each, warm, by how many there are. Two cores of this machine."""

TITLE = "File formats: what finding and copying tensors costs"
EXPERIMENTS = ("loading",)
FORMATS = (("json_text", "JSON text"), ("protobuf", "protobuf"), ("protobuf_chunked", "protobuf, chunks"), ("flatbuffers", "FlatBuffers index"),
           ("safetensors", "safetensors"), ("gguf", "GGUF"), ("image", "image"))
COLOURS = {"json_text": "#7F7F7F", "protobuf": "#D55E00", "protobuf_chunked": "#E69F00", "flatbuffers": "#009E73", "safetensors": "#0072B2",
           "gguf": "#CC79A7"}


def draw(context, plt):
    figure, (starts, sizes, index) = plt.subplots(1, 3, figsize=(7.6, 3.2), width_ratios=(1.5, 1, 1.2))
    for i, (name, _) in enumerate(FORMATS):
        for side, cache in ((0.2, "cold"), (-0.2, "warm")):
            row, = context.rows("loading", part="format", file_format=name, page_cache=cache)
            starts.barh(i + side, row["first_token_ms"], height=0.36, color="#A6CEE3", label="first token" if i + side == 0.2 else None)
            starts.barh(i + side, row["open_ms"], height=0.18, color="#0072B2", label="of it, opening" if i + side == 0.2 else None)
            starts.text(row["first_token_ms"], i + side, f" {row['first_token_ms']:.0f} {cache}", fontsize=6, va="center")
            if cache == "warm":
                sizes.barh(i + 0.2, row["file_bytes"] / 1e6, height=0.36, color="#BBBBBB", label="file" if i == 0 else None)
                sizes.barh(i - 0.2, row["open_memory"] / 1e6, height=0.36, color="#D55E00", label="copied" if i == 0 else None)
    starts.set_yticks(range(len(FORMATS)), [label for _, label in FORMATS])
    sizes.set_yticks(range(len(FORMATS)), [""] * len(FORMATS))
    for axes in (starts, sizes):
        axes.invert_yaxis()
    starts.set_xscale("log")
    starts.set_xlim(right=8 * max(row["first_token_ms"] for row in context.rows("loading", part="format")))
    starts.set_xlabel("ms")
    starts.set_title(context.modes("loading", part="format"))
    starts.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    sizes.set_xlabel("MB")
    sizes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    for name, label in FORMATS:
        if name not in COLOURS:
            continue
        xs, ys = context.curve("loading", "open_us", "tensors", part="index", file_format=name)
        index.plot(xs, ys, marker="o", markersize=2.5, color=COLOURS[name], label=label)
    index.set_xscale("log")
    index.set_yscale("log")
    index.set_xlabel("tensors in a file")
    index.set_ylabel("opening it (µs)")
    index.legend(fontsize=6)
    return figure
