"""Several models behind one memory, 64 of 1 to 70 billion weights, 20,000 requests whose model follows Zipf's law, five seeds, against
the memory as a share of what all models take. Left: requests whose model is in memory, popularity staying; middle: the mean wait for a
start, 0.5 s and the bytes at 5 GB/s; right: the same where popularity moves on by one model 64 times. The pool is the one that serves files;
waits are simulated. Belady's choice knows the next use, but not that models differ in size."""

TITLE = "A pool of models: which to keep"
EXPERIMENTS = ("model_pool",)
POLICIES = (("lru", "LRU", "#0072B2", "-"), ("lfu", "LFU", "#E69F00", "-"), ("gdsf", "GDSF", "#D55E00", "-"),
            ("sieve", "SIEVE", "#009E73", "-"), ("w_tiny_lfu", "W-TinyLFU", "#CC79A7", "-"), ("belady", "Belady", "#444444", ":"))
PANELS = (("steady", "hit_percent", "hits (% of requests)", "popularity stays"),
          ("steady", "mean_start_s", "mean wait for a start (s)", "popularity stays"),
          ("shifting", "mean_start_s", "mean wait for a start (s)", "popularity moves on"))


def draw(context, plt):
    figure, panels = plt.subplots(1, 3, figsize=(7.5, 2.9))
    for axes, (asked, metric, ylabel, title) in zip(panels, PANELS):
        for eviction, label, colour, style in POLICIES:
            xs, ys = context.curve("model_pool", metric, "memory_share", part="policy", asked=asked, eviction=eviction)
            axes.plot(xs, ys, style, color=colour, label=label, marker="o", markersize=2.5)
        xs, ys = context.curve("model_pool", metric, "memory_share", part="preload", asked=asked, preload="pinned")
        axes.plot(xs, ys, "--", color="#0072B2", label="LRU, half pinned", marker="o", markersize=2.5)
        axes.set_ylabel(ylabel)
        axes.set_xlabel("memory (share of all models)")
        axes.set_ylim(bottom=0)
        axes.set_title(f"{title}, {context.modes('model_pool', part='policy')}")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=7)
    return figure
