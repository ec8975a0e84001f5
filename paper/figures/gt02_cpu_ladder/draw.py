"""The CPU executor for real beside its own simulation: mean normalized latency of a small random llama on this machine
(measured, crosses) and of the simulator (simulated, dots), calibrated on and slowed with steps of the same executor that were taken
between those of the run, against the rate of requests as a share of the measured capacity. The bands are the claim: 10 % for latency, 5 % for throughput."""

TITLE = "The simulator against this machine's own engine"
EXPERIMENTS = ("cpu_against_simulation",)


def draw(context, plt):
    rows = sorted(context.rows("cpu_against_simulation", part="ladder"), key=lambda row: row["share_of_capacity"])
    shares = [row["share_of_capacity"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.8))
    left.plot(shares, [row["real_mean_normalized_latency_s"] for row in rows], "x", color="#D55E00", label="measured")
    left.plot(shares, [row["mean_normalized_latency_s"] for row in rows], ".-", color="#0072B2", label="simulated")
    left.set_ylabel("mean normalized latency (s/token)")
    left.set_ylim(bottom=0)
    left.legend()
    for metric, label, bar, colour in (("mean_normalized_latency", "normalized latency", 10, "#0072B2"),
                                       ("request_throughput", "throughput", 5, "#009E73")):
        right.plot(shares, [row[f"error_{metric}_percent"] for row in rows], ".-", color=colour, label=label)
        right.axhspan(-bar, bar, color=colour, alpha=0.12)
    right.axhline(0, color="#888888", linewidth=0.8)
    right.set_ylabel("simulated against measured (%)")
    right.legend()
    for axes in (left, right):
        axes.set_xlabel("request rate (share of capacity)")
    return figure
