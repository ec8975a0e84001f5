"""Every scheduler at one table: the same requests of three tenants (six, three and one in ten; the last more urgent, and of twice
the claim) on the same engine under each. ShareGPT lengths near the engine's limit, conversations fitted to the Azure and
Mooncake traces, and the traces themselves where they are given (--traces). All simulated; only the scheduler differs between rows, but for what
it needs: request-level batches and Orca reserve memory, longest prefix first has a prefix cache. Goodput counts requests with a
first token within 2 s and 0.2 s a token; "max" is the highest rate at which nine in ten are such, by bisection, on ShareGPT alone; Jain's index is that of
the tenants' speeds (tokens a second of waiting and serving). In each table the scheduler with the lowest mean normalized latency
(s/token) stands first."""

TITLE = "Tournament of schedulers"
EXPERIMENTS = ("scheduling",)
COLUMNS = (("mean_ttft_ms", "TTFT\nmean (s)", 1e-3), ("p99_ttft_ms", "TTFT\nP99 (s)", 1e-3), ("mean_tpot_ms", "TPOT\nmean (ms)", 1),
           ("p99_tpot_ms", "TPOT\nP99 (ms)", 1), ("p99_itl_ms", "ITL\nP99 (ms)", 1),
           ("mean_normalized_latency_s", "latency\n(s/token)", 1), ("request_goodput", "goodput\n(requests/s)", 1),
           ("highest_rate", "max\n(requests/s)", 1), ("mean_qoe", "QoE\n(0 to 1)", 1), ("speed_jain_index", "Jain\n(0 to 1)", 1),
           ("preemptions", "preempted\n(times)", 1))


def _cell(row, key, scale):
    from lib import layout
    if row.get(key) is None:
        return "-"
    return f"{row[key]:,}" if isinstance(row[key], int) else layout.number(row[key] * scale)


def draw(context, plt):
    from lib import figures, layout
    rows = context.rows("scheduling", part="tournament")
    workloads = sorted({row["workload"] for row in rows}, key=lambda w: (w != "sharegpt", w))
    limits = {row["variant"]: row["highest_rate"] for row in context.optional_rows("scheduling", part="tournament_goodput")}
    tables = []
    for workload in workloads:
        here = [row for row in rows if row["workload"] == workload]
        if workload == "sharegpt":
            here = [{**row, "highest_rate": limits.get(row["variant"])} for row in here]
        tables.append(sorted(here, key=lambda row: (row["mean_normalized_latency_s"], row["variant"])))
    figure, panels = plt.subplots(len(tables), 1, figsize=(8.6, 0.4 + sum(0.6 + 0.165 * len(here) for here in tables)),
                                  squeeze=False, height_ratios=[3 + len(here) for here in tables])
    for axes, workload, here in zip(panels[:, 0], workloads, tables):
        columns = [column for column in COLUMNS if any(row.get(column[0]) is not None for row in here)]
        layout.table(axes, ["scheduler", *(label for _, label, _ in columns)],
                     [[row["variant"], *(_cell(row, key, scale) for key, _, scale in columns)] for row in here],
                     [1.9] + [1.3 if "requests" in label else 1.0 for _, label, _ in columns], fontsize=6.5, header_lines=2)
        axes.set_title(f"{figures.name(workload)}, {here[0]['request_rate']:g} requests/s: "
                       f"{context.modes('scheduling', part='tournament', workload=workload)}; lowest latency first")
    return figure
