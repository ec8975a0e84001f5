"""How far the simulated clock is from a real engine, vLLM 0.19: errors of the latencies of requests that it served, simulated
on the operator profile of its card with nothing fitted to them. Marks are this simulator, crosses that of the timings' authors
(published); the grey bands are 3 % for TTFT, 1 % for TPOT, 1.5 % for end-to-end latency, and 6 % for medians and 99th
percentiles. Needs the timings (--traces); without them, what planning a step ahead changes on a roofline."""

TITLE = "Ground truth: simulated against measured latency"
EXPERIMENTS = ("ground_truth",)
METRICS = (("ttft", "TTFT", 3), ("tpot", "TPOT", 1), ("e2el", "end to end", 1.5))
STATISTICS = ("mean", "median", "p90", "p95", "p99")


def _ahead(context, plt):
    figure, axes = plt.subplots(figsize=(4.5, 2.6))
    rows = context.rows("ground_truth", part="ahead")
    values = {bool(row["asynchronous"]): row for row in rows}
    if len(values) == 2:
        for x, (metric, label, _) in enumerate(METRICS):
            change = 100 * (values[True][f"mean_{metric}_ms"] / values[False][f"mean_{metric}_ms"] - 1)
            axes.bar(x, change, 0.5, color="#0072B2")
            axes.text(x, change, f"{change:+.1f}", ha="center", va="bottom" if change >= 0 else "top", fontsize=7)
    axes.set_xticks(range(len(METRICS)), [label for _, label, _ in METRICS])
    axes.axhline(0, color="#888888", linewidth=0.8)
    axes.set_ylabel("change of the mean by planning ahead (%)")
    axes.set_title("simulated; the timings of the real engine were not given")
    return figure


def draw(context, plt):
    sets = [row for row in context.optional_rows("ground_truth", part="truth", clock="full")
            if row["variant"] == "vllm_v1"]
    if not sets:
        return _ahead(context, plt)
    sets.sort(key=lambda row: (row["hardware"], row["model"]))
    figure, panels = plt.subplots(1, len(sets), figsize=(1.2 + 2.8 * len(sets), 3.0), sharey=True, squeeze=False)
    for axes, row in zip(panels[0], sets):
        place = 0
        for metric, label, bar in METRICS:
            for statistic in STATISTICS:
                allowed = bar if statistic == "mean" else 6 if statistic in ("median", "p99") else None
                if allowed:
                    axes.bar(place, 2 * allowed, 0.9, bottom=-allowed, color="#dddddd")
                error = row[f"error_{statistic}_{metric}_percent"]
                axes.plot(place, error, "o", color="#0072B2", markersize=4)
                axes.text(place, error, f" {error:+.1f}", fontsize=5, rotation=90, ha="center", va="bottom")
                peer = row.get(f"peer_error_{statistic}_{metric}_percent")
                if peer is not None:
                    axes.plot(place, peer, "x", color="#D55E00", markersize=4)
                place += 1
            place += 1
        axes.axhline(0, color="#888888", linewidth=0.8)
        names = [f"{label} {statistic}" for _, label, _ in METRICS for statistic in STATISTICS]
        axes.set_xticks([x + x // 5 for x in range(len(names))], names, rotation=90, fontsize=6)
        axes.set_title(f"{row['model']}, {row['tensor_parallel']} x {row['hardware']}", fontsize=8)
    panels[0][0].set_ylabel("simulated against measured (%)")
    return figure
