"""Machines of two kinds for prompts and tokens (Splitwise): the highest rate of Azure's conversation lengths at which a fleet of
machines of eight devices keeps nine limits on slowdowns, Llama-2-70B, by bisection. Fleets are a fifth of the paper's; those of one panel
draw the same power or cost the same. All simulated; step times are the tables that the paper's authors measured."""

TITLE = "Splitwise: prompt machines and token machines at equal power and cost"
EXPERIMENTS = ("cluster",)
NAMES = {"baseline_a100": "A100 together", "baseline_h100": "H100 together", "splitwise_aa": "A100, A100",
         "splitwise_hh": "H100, H100", "splitwise_ha": "H100, A100"}
COLOURS = {"baseline_a100": "#56B4E9", "baseline_h100": "#0072B2", "splitwise_aa": "#E69F00", "splitwise_hh": "#D55E00",
           "splitwise_ha": "#009E73"}


def draw(context, plt):
    figure, panels = plt.subplots(1, 2, figsize=(7.5, 3.2), sharey=True, width_ratios=(11, 5))
    for axes, equal in zip(panels, ("power", "cost")):
        rows = context.rows("cluster", part="splitwise", equal=equal)
        if equal == "cost":
            rows = rows + context.rows("cluster", part="splitwise", equal="power", fleet="baseline_h100")
        rows.sort(key=lambda row: (list(NAMES).index(row["fleet"]), row["prompt_machines"]))
        for place, row in enumerate(rows):
            bar = axes.bar(place, row["highest_rate"], 0.8, color=COLOURS[row["fleet"]])
            axes.bar_label(bar, fmt="%.1f", fontsize=6, padding=1)
        axes.set_xticks(range(len(rows)),
                        [NAMES[row["fleet"]] + (f"\n{row['prompt_machines']} of {row['machines']}" if row["prompt_machines"]
                                                else f"\n{row['machines']}") for row in rows], fontsize=5.5, rotation=45)
        axes.grid(axis="x", visible=False)
        axes.set_title(f"equal {equal}: {context.modes('cluster', part='splitwise')}")
    panels[0].set_ylabel("requests/s within the limits")
    return figure
