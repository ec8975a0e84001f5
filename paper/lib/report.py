"""Writes build/paper/report.html: one file with its figures and style inside, readable without a network."""

import html
import json
import os
import re

from . import claims as claim_tools

STYLE = """
:root { color-scheme: light; --ink: #1b1b1b; --soft: #666; --line: #ddd; --yes: #1a7f37; --no: #b42318; }
body { font: 16px/1.5 Georgia, serif; color: var(--ink); background: #fff; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, th, .badge, nav { font-family: system-ui, sans-serif; }
h2 { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; }
figcaption, .soft { color: var(--soft); font-size: .9rem; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .5rem; border-bottom: 1px solid var(--line); }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.badge { font-size: .75rem; font-weight: 600; } .true { color: var(--yes); } .false { color: var(--no); }
code { font-size: .85em; background: #f5f5f5; padding: .1em .3em; }
"""


def _escape(text):
    return html.escape(str(text))


def _inline(svg, prefix):
    """The <svg> element of a file, its ids made unique within the page."""
    body = svg[svg.index("<svg"):]
    ids = set(re.findall(r'\bid="([^"]+)"', body))

    def rename(match):
        return match.group(1) + prefix + match.group(2) if match.group(2) in ids else match.group(0)

    body = re.sub(r'(\bid=")([^"]+)(?=")', rename, body)
    body = re.sub(r'(href="#)([^"]+)(?=")', rename, body)
    return re.sub(r"(url\(#)([^)]+)(?=\))", rename, body)


def _claims_table(claims, results):
    lines = ["<table><tr><th></th><th>claim</th><th>published</th><th>here</th><th>tolerance</th><th>mode</th></tr>"]
    for claim in claims:
        result = results[claim["id"]]
        word = "true" if result.holds else "false"
        unit = claim.get("unit", "")
        details = f'{_escape(result.sentence)}<br><span class="soft"><code>{_escape(result.id)}</code> {_escape(result.source)}'
        if result.reason:
            details += f"<br>{_escape(result.reason)}"
        if claim.get("note"):
            details += f"<br>Note: {_escape(claim['note'])}"
        lines.append(
            f'<tr><td class="badge {word}">{word}</td><td>{details}</span></td>'
            f'<td class="n">{_escape(claim_tools.number(result.published, unit))}</td>'
            f'<td class="n">{_escape(claim_tools.number(result.here, unit))}</td>'
            f"<td>{_escape(result.tolerance)}</td><td>{_escape(result.mode)}</td></tr>")
    return "\n".join(lines + ["</table>"])


def machines(rows):
    """The machines that rows name: "AMD EPYC, 2 cores"; empty where none is named."""
    found = set()
    for row in rows:
        made = row["provenance"]
        parts = [made.get("cpu_model"), f"{made['num_cpus']} cores" if made.get("num_cpus") else None, made.get("gpu")]
        found.add(", ".join(part for part in parts if part))
    return "; ".join(sorted(found - {""}))


def _intro(figures, rows, experiments, scale, of, before):
    """What was drawn from which rows, and what the words mean: paragraphs."""
    measured = machines([row for name in experiments for row in rows.of(name) if row["mode"] == "measured"])
    if scale == "frozen":
        source = "the committed result rows in paper/results; this command ran nothing"
        where = (f"on the machine that those rows name ({measured}), which captions call this machine"
                 if measured else "on the machine that made those rows")
    else:
        source = f"result rows of this run ({scale} scale)"
        where = f"on this machine ({measured})" if measured else "on this machine"
    told = []
    if of is not None and len(figures) < of:
        told.append(f"This command was asked for {len(figures)} of {of} figures; report.html and claims.json are of these alone.")
    if before:
        told.append("In figures/ there are others, drawn by earlier commands, perhaps from other rows: " + ", ".join(before) + ".")
    return source, where, f"<p>{_escape(' '.join(told))}</p>" if told else ""


def _provenance(rows, experiments):
    """One line an experiment: how many rows, and what made them."""
    lines = []
    for experiment in experiments:
        found = rows.of(experiment)
        if not found:
            lines.append(f"<li><code>{_escape(experiment)}</code>: no rows</li>")
            continue
        made = sorted({json.dumps({key: row["provenance"][key] for key in ("git_sha", "compiler", "build_type")},
                                  sort_keys=True) for row in found})
        words = "; ".join(" ".join(str(value) for value in json.loads(one).values()) for one in made)
        machine = machines(found)
        words += f" on {machine}" if machine else ""
        modes = ", ".join(sorted({row["mode"] for row in found}))
        seeds = ", ".join(str(seed) for seed in sorted({row["seed"] for row in found}))
        lines.append(f"<li><code>{_escape(experiment)}</code>: {len(found)} rows, {_escape(modes)}, seeds "
                     f"{_escape(seeds)}, made by {_escape(words)}</li>")
    return "<ul>" + "".join(lines) + "</ul>"


def write(path, figures, drawn, not_drawn, claims, results, rows, scale, of=None, before=()):
    """figures: the Figure objects shown; drawn: id -> paths by format; not_drawn: id -> reason; of: how many figures there are;
    before: ids of figures that lie in the folder and are not of this command."""
    by_id = {result.id: result for result in results}
    experiments = sorted({e for figure in figures for e in figure.experiments})
    source, where, told = _intro(figures, rows, experiments, scale, of, before)
    page = [
        "<!doctype html>", '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<title>Quire: figures and claims</title>", f"<style>{STYLE}</style></head><body>",
        "<h1>Figures and claims</h1>",
        told,
        f"<p>{_escape(claim_tools.score(results))}. Every number named <em>here</em> was computed from "
        f"{_escape(source)}; <em>published</em> numbers are quoted from their sources, but for checks marked <em>[measured]</em>, which "
        "hold a generator against the real data that it stands in for, and <em>[computed]</em>, which hold the engine against a computation. "
        "<em>Simulated</em> means virtual time from a cost model, with the scheduler and the memory manager running "
        f"for real; <em>measured</em> means that the engine itself ran, and its times are wall-clock times {_escape(where)}.</p>",
        "<nav><ul>",
    ]
    for figure in figures:
        page.append(f'<li><a href="#{_escape(figure.id)}">{_escape(figure.title)}</a></li>')
    page.append("</ul></nav>")
    for figure in figures:
        page.append(f'<h2 id="{_escape(figure.id)}">{_escape(figure.title)}</h2>')
        if figure.id in drawn:
            svg = drawn[figure.id]["svg"].read_text(encoding="utf-8")
            page.append(f'<figure role="img" aria-label="{_escape(figure.title)}">{_inline(svg, figure.id + "-")}'
                        f"<figcaption>{_escape(figure.caption)}</figcaption></figure>")
        else:
            page.append(f"<p>Not drawn: {_escape(not_drawn.get(figure.id, 'no reason recorded'))}.</p>")
        mine = [claim for claim in claims if claim["figure"] == figure.id]
        if mine:
            page.append(_claims_table(mine, by_id))
        page.append(f"<p class=\"soft\">Again: <code>./paper/reproduce --fig {_escape(figure.id)}</code></p>")
    page += ["<h2>Where the rows come from</h2>", _provenance(rows, experiments), "</body></html>"]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text("\n".join(page) + "\n", encoding="utf-8")
    os.replace(partial, path)
