"""Routers over the same engines: mean time to the first token of 16 LLaMA-7B on A10 under requests of power-law lengths (mean 512
in and out) with and without migration, and that of the urgent tenth of requests with and without headroom for them, against how much arrivals vary; the pause of a request that is moved, against its length; and mean time to the first
token of 8 Llama-3-8B with prefix caches under 400 beginnings of 2,000 tokens. Simulated time; the engines are the real ones."""

TITLE = "Routing, migration and prefixes over several engines"
EXPERIMENTS = ("cluster",)
COLOURS = {"random": "#7F7F7F", "round_robin": "#56B4E9", "least_outstanding": "#CC79A7", "join_shortest_queue": "#E69F00",
           "infaas": "#0072B2", "llumnix": "#D55E00", "prefix_aware": "#009E73", "live": "#D55E00", "blocking": "#0072B2",
           "recompute": "#7F7F7F", "llumnix_one_class": "#0072B2"}
PANELS = (("llumnix", {"lengths": "512-512"}, "mean_ttft_ms", "request_rate", "requests/s", "mean time to first token (ms)",
           ("round_robin", "infaas", "llumnix")),
          ("classes", {}, "urgent_prefill_mean_ms", "cv", "variation of gaps between arrivals",
           "urgent: mean time to first token (ms)", ("llumnix_one_class", "llumnix")),
          ("downtime", {}, "mean_downtime_ms", "length", "tokens of the request", "between two tokens (ms)",
           ("recompute", "blocking", "live")),
          ("prefix", {}, "mean_ttft_ms", "request_rate", "requests/s", "mean time to first token (ms)",
           ("random", "round_robin", "least_outstanding", "join_shortest_queue", "prefix_aware")))


def draw(context, plt):
    from lib import layout
    figure, panels = plt.subplots(1, 4, figsize=(11.0, 3.0))
    for axes, (part, where, metric, axis, xlabel, ylabel, routers) in zip(panels, PANELS):
        for router in routers:
            xs, ys = context.curve("cluster", metric, axis, part=part, router=router, **where)
            axes.plot(xs, ys, color=COLOURS[router], label=router.replace("_", " "), marker="o", markersize=2.5)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.set_title(f"{part}, {context.modes('cluster', part=part)}")
        axes.legend(fontsize=6)
    panels[0].set_yscale("log")
    panels[1].set_yscale("log")
    layout.plain_log(panels[1].yaxis, (1, 1.5, 2, 3, 5))
    panels[2].set_yscale("log")
    panels[2].set_xscale("log", base=2)
    panels[3].set_ylim(bottom=0)
    return figure
