"""Every scheduler at one table: the same requests of three tenants (six, three and one in ten; the last more urgent, and of twice
the claim) on the same engine under each. ShareGPT lengths near the engine's limit, conversations fitted to the Azure and
Mooncake traces, and the traces themselves where they are given (--traces). All simulated; only the scheduler differs between rows, but for what
it needs: request-level batches and Orca reserve memory, longest prefix first has a prefix cache. Goodput counts requests with a
first token within 2 s and 0.2 s a token; "max" is the highest rate at which nine in ten are such, by bisection; Jain's index is that of
the tenants' speeds (tokens a second of waiting and serving)."""

TITLE = "Tournament of schedulers"
EXPERIMENTS = ("scheduling",)
COLUMNS = (("mean_ttft_ms", "TTFT (s)", 1e-3), ("p99_ttft_ms", "P99", 1e-3), ("mean_tpot_ms", "TPOT (ms)", 1),
           ("p99_tpot_ms", "P99", 1), ("p99_itl_ms", "P99 ITL", 1), ("mean_normalized_latency_s", "s/token", 1),
           ("request_goodput", "goodput", 1), ("highest_rate", "max", 1), ("mean_qoe", "QoE", 1), ("speed_jain_index", "Jain", 1),
           ("preemptions", "preempted", 1))


def draw(context, plt):
    from lib import figures
    rows = context.rows("scheduling", part="tournament")
    workloads = sorted({row["workload"] for row in rows}, key=lambda w: (w != "sharegpt", w))
    figure, panels = plt.subplots(len(workloads), 1, figsize=(8.6, 3.6 * len(workloads)), squeeze=False)
    for axes, workload in zip(panels[:, 0], workloads):
        here = [row for row in rows if row["workload"] == workload]
        if workload == "sharegpt":
            limits = {row["variant"]: row["highest_rate"]
                      for row in context.optional_rows("scheduling", part="tournament_goodput")}
            here = [{**row, "highest_rate": limits.get(row["variant"])} for row in here]
        text = [[row["variant"]] + [f"{row[key] * scale:.3g}" if row.get(key) is not None else "-" for key, _, scale in COLUMNS]
                for row in here]
        table = axes.table(cellText=text, colLabels=["scheduler"] + [label for _, label, _ in COLUMNS], loc="center",
                           colWidths=[0.19] + [0.074] * len(COLUMNS))
        table.auto_set_font_size(False)
        table.set_fontsize(6)
        axes.axis("off")
        axes.set_title(f"{figures.name(workload)}, {here[0]['request_rate']:g} requests/s: "
                       f"{context.modes('scheduling', part='tournament', workload=workload)}")
    return figure
