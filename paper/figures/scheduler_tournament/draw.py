"""Schedulers at one table: the same requests of three tenants (six, three and one in ten) on the same engine under each.
ShareGPT lengths near the engine's limit, and the Azure and Mooncake conversation traces where they are given (--traces). All
simulated; only the scheduler differs between rows. Goodput counts requests with a first token within 2 s and 0.2 s a token; Jain's index is that of the tenants' speeds (tokens
a second of waiting and serving)."""

TITLE = "Tournament of schedulers"
EXPERIMENTS = ("scheduling",)
COLUMNS = (("mean_ttft_ms", "mean TTFT (s)", 1e-3), ("p99_ttft_ms", "P99 TTFT (s)", 1e-3), ("mean_tpot_ms", "TPOT (ms)", 1),
           ("p99_itl_ms", "P99 ITL (ms)", 1), ("request_goodput", "goodput (req/s)", 1), ("mean_qoe", "QoE", 1),
           ("speed_jain_index", "Jain", 1), ("preemptions", "preempted", 1))


def draw(context, plt):
    from lib import figures
    rows = context.rows("scheduling", part="tournament")
    workloads = sorted({row["workload"] for row in rows}, key=lambda w: (w != "sharegpt", w))
    figure, panels = plt.subplots(len(workloads), 1, figsize=(7.0, 0.5 + 1.9 * len(workloads)), squeeze=False)
    for axes, workload in zip(panels[:, 0], workloads):
        here = [row for row in rows if row["workload"] == workload]
        text = [[row["variant"]] + [f"{row[key] * scale:.3g}" if row[key] is not None else "-" for key, _, scale in COLUMNS]
                for row in here]
        table = axes.table(cellText=text, colLabels=["scheduler"] + [label for _, label, _ in COLUMNS], loc="center",
                           colWidths=[0.2] + [0.1] * len(COLUMNS))
        table.auto_set_font_size(False)
        table.set_fontsize(6.5)
        axes.axis("off")
        axes.set_title(f"{figures.name(workload)}, {here[0]['request_rate']:g} requests/s: "
                       f"{context.modes('scheduling', part='tournament', workload=workload)}")
    return figure
