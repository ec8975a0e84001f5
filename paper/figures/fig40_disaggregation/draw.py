"""Prompts and generation on devices of their own, A100-80GB, against an engine that does both: share of requests that miss
0.25 s to the first token or 0.1 s a token, against requests a second and device, and against tighter limits at 1.5 (OPT-13B);
and the rate found by bisection at which a tenth of them does (points are seeds, bars their mean), also for OPT-66B with 0.4 s and
0.1 s. The dashed line is that tenth. Simulated time, step times by DistServe's own measurements."""

TITLE = "Disaggregated prefill and decode against one engine"
EXPERIMENTS = ("cluster",)
SYSTEMS = (("vllm", "vLLM, one device", "#0072B2", "-"),
           ("distserve", "DistServe, two for prompts beside one", "#D55E00", "-"),
           ("splitwise", "Splitwise' routing and layer-wise sending", "#009E73", "--"))
LENGTHS = (("sharegpt_distserve", "755 tokens in, 200 out"), ("sharegpt", "161 in, 338 out"))


def draw(context, plt):
    figure, panels = plt.subplots(1, 4, figsize=(10.4, 2.8))
    for axes, (workload, title) in zip(panels, LENGTHS):
        for router, label, colour, style in SYSTEMS:
            xs, ys = context.curve("cluster", "missed_percent", "rate_per_gpu", part="distserve", workload=workload,
                                   model="opt_13b", router=router, slo_scale=1)
            axes.plot(xs, ys, style, color=colour, label=label, marker="o", markersize=2.5)
        axes.set_xlabel("requests/s and device")
        axes.set_title(f"{title}, {context.modes('cluster', part='distserve', workload=workload)}")
    for router, label, colour, style in SYSTEMS:
        xs, ys = context.curve("cluster", "missed_percent", "slo_scale", part="distserve", workload="sharegpt_distserve",
                               model="opt_13b", router=router, rate_per_gpu=1.5)
        panels[2].plot(xs, ys, style, color=colour, marker="o", markersize=2.5)
    panels[2].set_xlabel("limits, relative")
    panels[2].set_title("1.5 requests/s and device, simulated")
    panels[0].set_ylabel("requests that miss a limit (%)")
    for model, right in (("opt_13b", 0), ("opt_66b", 4)):
        for place, (router, _, colour, _) in enumerate(SYSTEMS):
            rates = [row["highest_rate"] for row in context.optional_rows("cluster", part="goodput", model=model, router=router)]
            if rates:
                panels[3].bar(right + place, sum(rates) / len(rates), 0.8, color=colour)
                panels[3].plot([right + place] * len(rates), rates, ".", color="black", markersize=3)
    panels[3].set_xticks((1, 4.5), ("OPT-13B", "OPT-66B"))
    panels[3].set_title(f"goodput, {context.modes('cluster', part='goodput')}")
    panels[3].set_ylabel("requests/s and device")
    for axes in panels[:3]:
        axes.axhline(10, color="#888888", linewidth=0.8, linestyle="--")
        axes.set_ylim(0, 100)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure
