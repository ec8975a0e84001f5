"""Students of a fifth of the teacher's weights that learned from the text alone, and on the same bytes from the teacher's
distributions as well (temperature 2, half of the loss); a line joins students of one seed. Left: perplexity a byte of a book that
nobody saw, beside the teacher's. Middle: divergence from the teacher, with 95 % intervals from resampled texts. Right: tokens a
step where a student guesses five drafts for the teacher."""

TITLE = "Distillation: the same bytes, with a teacher and without"
EXPERIMENTS = ("quality", "speculation")
NEEDS = {"build/texts/held_out.txt": "the Debian package bible-kjv, then cmake/bootstrap.sh paper"}
OBJECTIVES = (("ce", "text alone"), ("kd", "text and teacher"))
COLOURS = ("#0072B2", "#E69F00", "#D55E00")


def draw(context, plt):
    figure, (loss, apart, drafts) = plt.subplots(1, 3, figsize=(7.2, 2.8))
    places = range(len(OBJECTIVES))

    def of(experiment, student, **where):
        return [context.rows(experiment, objective=name, student=student, **where)[0] for name, _ in OBJECTIVES]

    for student, colour in enumerate(COLOURS, 1):
        rows = of("quality", student, part="distillation")
        loss.plot(places, [row["perplexity"] for row in rows], marker="o", color=colour, label=f"seed {student}")
        means = [row["divergence"] for row in rows]
        apart.errorbar(places, means, yerr=[[row["divergence"] - row["divergence_low"] for row in rows],
                                            [row["divergence_high"] - row["divergence"] for row in rows]],
                       marker="o", color=colour)
        for temperature, line in ((0, "-"), (1, ":")):
            found = of("speculation", student, part="draft", temperature=temperature)
            drafts.plot(places, [row["tokens_a_step"] for row in found], marker="o", linestyle=line, color=colour,
                        label=f"temperature {temperature}" if student == 1 else None)
    loss.axhline(context.rows("quality", part="distillation", objective="kd")[0]["teacher_perplexity"], color="#444444",
                 linewidth=0.8, label="teacher")
    loss.set_ylabel("perplexity a byte, held out")
    apart.set_ylabel("KL from the teacher (nat a byte)")
    drafts.set_ylabel("tokens a step, as draft model")
    for axes in (loss, apart, drafts):
        axes.set_xticks(places, [label for _, label in OBJECTIVES])
        axes.set_xlim(-0.3, len(OBJECTIVES) - 0.7)
    loss.set_title("quality: " + context.modes("quality", part="distillation"))
    drafts.set_title("speculation: " + context.modes("speculation", part="draft"))
    for axes in (loss, drafts):
        axes.legend(fontsize="xx-small")
    return figure
