"""Every kernel of the CPU step on this machine's roofline, one thread: what it computes a second against flops a byte. Lines
are ceilings measured in the same run: reading memory, fused multiply-adds in fp32, products of bytes and of bf16. Bytes count
weights, keys, values and rows once; nothing is in a cache that would not be there in a step."""

TITLE = "The kernels on this machine's roofline"
EXPERIMENTS = ("kernel_roofline",)
COLOURS = {"bf16": "#0072B2", "q8_0": "#E69F00", "q4_0": "#D55E00", "q4_0_a8": "#CC79A7", "bf16_w16a16": "#56B4E9",
           "sparse_24": "#009E73", "bitmap_50": "#8C564B", "fp32": "#7F7F7F",
           "int8_per_token_head": "#E69F00", "int4_per_token_head": "#D55E00"}
MARKERS = {"matrix_product": "s", "attention": "o", "rms_norm": "^", "residual": "v", "swiglu": "D", "rope": "P",
           "greedy": "X", "top_p": "*"}


def draw(context, plt):
    rows = context.rows("kernel_roofline", part="kernel")
    one = rows[0]
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    intensities = [2 ** (i / 4) for i in range(-16, 45)]
    for ceiling, style in (("multiply_add_gflops", "-"), ("bf16_products_gflops", "-."), ("byte_products_gflops", "--")):
        axes.plot(intensities, [min(one["read_gigabytes_per_s"] * x, one[ceiling]) for x in intensities], style,
                  color="black", linewidth=0.9, label=ceiling.replace("_gflops", "").replace("_", " "))
    seen = set()
    for row in sorted(rows, key=lambda row: (row["kernel"], row["format"], row["rows"])):
        label = row["kernel"].replace("_", " ") + " " + row["format"].replace("_per_token_head", "")
        axes.plot(row["intensity"], row["gflops"], MARKERS[row["kernel"]], color=COLOURS[row["format"]],
                  markersize=4, label=None if label in seen else label)
        seen.add(label)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("flops a byte")
    axes.set_ylabel("GFLOP/s")
    axes.set_title(context.modes("kernel_roofline", part="kernel"))
    axes.legend(ncol=2, fontsize=6)
    return figure
