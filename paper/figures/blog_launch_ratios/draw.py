"""How many times the throughput of the baselines vLLM has, LLaMA-13B on one A100-40GB with ShareGPT lengths, all requests there
at once: one completion a request and three. Bands are what vLLM's launch post prints. It says nothing of the baselines' batches,
so that static batches are shown for several sizes: the assumption that moves the ratio most. TGI is continuous batching that
reserves prompt and max_tokens in one piece, and max_tokens is the true length, so that it runs as Orca (Oracle)."""

TITLE = "Launch post: throughput over Transformers and TGI"
EXPERIMENTS = ("batching",)


def draw(context, plt):
    figure, panels = plt.subplots(1, 2, figsize=(6.5, 2.8))
    for axes, n in zip(panels, (1, 3)):
        vllm = context.mean("batching", "output_throughput", part="blog", n=n, variant="vllm")
        baselines = [("TGI", context.mean("batching", "output_throughput", part="blog", n=n, variant="tgi"), "tgi")]
        for variant, label in (("tgi_pow2", "TGI, max_tokens\nnext power of 2"), ("tgi_max_length", "TGI, max_tokens\n2,048")):
            baselines.append((label, context.mean("batching", "output_throughput", part="blog", n=n, variant=variant), "tgi"))
        for row in sorted(context.rows("batching", part="blog", n=n, variant="hf_transformers"),
                          key=lambda row: row["max_batch"]):
            baselines.append((f"static,\nbatch {row['max_batch']}", row["output_throughput"], "hf"))
        for x, (label, throughput, kind) in enumerate(baselines):
            low, high = context.published(f"vllm_blog.n{n}.over_{kind}")
            axes.bar(x, high - low, 0.9, bottom=low, color="#dddddd")
            bar = axes.bar(x, vllm / throughput, 0.5, color="#0072B2" if kind == "tgi" else "#7F7F7F")
            axes.bar_label(bar, fmt="%.1f", fontsize=6, padding=1)
        axes.set_xticks(range(len(baselines)), [label for label, _, _ in baselines], fontsize=5, rotation=45)
        axes.grid(axis="x", visible=False)
        axes.set_title(f"{n} completion{'s' if n > 1 else ''} a request:\npublished (grey), "
                       f"{context.modes('batching', part='blog', n=n)} (bars)")
    panels[0].set_ylabel("vLLM's throughput over the baseline's (x)")
    return figure
