"""What prefix reuse gains, Llama-3-8B on one A100-80GB, prompts of 2,048 tokens: mean time to the first token at 4
requests a second and throughput with all requests waiting, against the share of a prompt that others begin with; and
throughput against the number of different beginnings where the pool keeps few of them, in order of arrival and with the
longest cached prefix first. Simulated time; index, pool and scheduler are the real ones."""

TITLE = "Prefix reuse against the share that is shared"
EXPERIMENTS = ("prefix_cache",)
SYSTEMS = (("vllm", "off", "#7F7F7F", "-"), ("vllm_prefix_cache", "hash chain", "#0072B2", "-"),
           ("vllm_prefix_cache+prefix_index=radix_tree", "radix tree", "#009E73", "--"),
           ("vllm_prefix_cache+prefix_index=token_radix_tree", "token radix tree", "#E69F00", ":"),
           ("vllm_prefix_cache+scheduler=longest_prefix", "hash chain, longest prefix first", "#D55E00", "-."))
PANELS = (("latency", "mean_ttft_ms", "share", "mean time to first token (ms)", "share of the prompt"),
          ("throughput", "request_throughput", "share", "requests/s", "share of the prompt"),
          ("order", "request_throughput", "prefixes", "requests/s", "different beginnings"))


def draw(context, plt):
    figure, panels = plt.subplots(1, 3, figsize=(7.5, 2.8))
    for axes, (part, metric, axis, ylabel, xlabel) in zip(panels, PANELS):
        for variant, label, colour, style in SYSTEMS:
            xs, ys = context.curve("prefix_cache", metric, axis, part=part, variant=variant)
            axes.plot(xs, ys, style, color=colour, label=label, marker="o", markersize=2.5)
        axes.set_ylabel(ylabel)
        axes.set_xlabel(xlabel)
        axes.set_ylim(bottom=0)
        axes.set_title(f"{part}, {context.modes('prefix_cache', part=part)}")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure
