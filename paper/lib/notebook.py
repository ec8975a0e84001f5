"""What the notebooks share: where rows are, and a figure or the claims of one figure."""

import os

from . import claims as claim_tools
from . import figures as figure_tools
from . import rows as row_tools


def rows_folder(root, experiment):
    """QUIRE_ROWS where it is set, else build/paper/rows where it has the experiment, else the committed rows."""
    if "QUIRE_ROWS" in os.environ:
        return root / os.environ["QUIRE_ROWS"]
    made = root / "build" / "paper" / "rows"
    return made if (made / f"{experiment}.jsonl").is_file() else root / "paper" / "results"


def rows(folder, experiment):
    return row_tools.read(folder / f"{experiment}.jsonl")


def _judged(root, folder):
    claims = claim_tools.load(root / "paper" / "claims.toml")
    found = row_tools.RowSet(folder)
    return claims, found, [claim_tools.evaluate(claim, found) for claim in claims]


def claim_lines(root, folder, figure):
    claims, _, results = _judged(root, folder)
    return [claim_tools.line(claim, result) for claim, result in zip(claims, results) if claim["figure"] == figure]


def figure(root, folder, name):
    """The figure as an image to display; drawn into build/notebooks."""
    from IPython.display import Image
    claims, found, results = _judged(root, folder)
    context = figure_tools.Context(found, claims, results)
    drawn = figure_tools.Figure(figure_tools.FIGURES / name).draw(context, root / "build" / "notebooks")
    return Image(filename=str(drawn["png"]))
