"""What several figures need to be readable: tables, names beside points, plain numbers on short logarithmic axes; and a check that
no text is cut off, covered or drawn over another."""

import math

NAMED_POINT = "_named_point"  # label of names that settle_names may move


def number(value, digits=3):
    """1,390, 41.0 and 0.0484: `digits` significant ones, thousands apart, never an exponent."""
    if value == 0:
        return "0"
    def places(of):
        return digits - 1 - math.floor(math.log10(abs(of)))

    rounded = round(value, places(value))
    return f"{rounded:,.{max(places(rounded), 0)}f}"


def table(axes, header, rows, widths, fontsize=7, header_lines=1):
    """A table that fills its axes: the first column to the left, numbers to the right, a rule below the header."""
    axes.set_xlim(0, sum(widths))
    axes.set_ylim(len(rows) + 0.1, -header_lines - 0.2)
    axes.axis("off")
    for place, cells in enumerate([header, *rows]):
        y = place - 0.5 if place else -header_lines / 2 - 0.1
        x = 0.0
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            first = column == 0
            axes.text(x + (0.05 * width if first else width), y, cell, ha="left" if first else "right", va="center",
                      fontsize=fontsize, weight="bold" if place == 0 else "normal", linespacing=1.1)
            x += width
        if 0 < place < len(rows):
            axes.axhline(place, color="#E8E8E8", linewidth=0.5)
    for y, width in ((-header_lines - 0.15, 1.0), (0, 0.6), (len(rows), 1.0)):
        axes.axhline(y, color="black", linewidth=width)


def plain_log(axis, steps=(1, 2, 5)):
    """0.2, 0.5, 1 in place of 2 x 10^-1 on a logarithmic axis that spans little more than a decade."""
    from matplotlib import ticker
    axis.set_major_locator(ticker.LogLocator(base=10, subs=steps))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def name_point(axes, name, x, y, fontsize=5):
    """Writes a name beside a point; where others stand is seen to when the figure is laid out."""
    text = axes.annotate(name, (x, y), xytext=(4, 2), textcoords="offset points", fontsize=fontsize,
                         arrowprops={"arrowstyle": "-", "linewidth": 0.3, "color": "#888888", "shrinkA": 0, "shrinkB": 1})
    text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.6, "pad": 0.3})  # error bars may pass below
    text.set_label(NAMED_POINT)  # not its id, which a drawing writes down
    text.set_in_layout(False)
    return text


def settle_names(figure):
    """Moves the names of points to the nearest places where they cover neither points nor names; in the order of their heights."""
    from matplotlib.transforms import Bbox
    renderer = figure.canvas.get_renderer()
    scale = figure.dpi / 72
    for axes in figure.axes:
        names = [text for text in axes.texts if text.get_label() == NAMED_POINT]
        if not names:
            continue
        names.sort(key=lambda text: (-text.xy[1], text.xy[0], text.get_text()))
        inside = axes.get_window_extent(renderer)
        at = {text: axes.transData.transform(text.xy) for text in names}
        taken = [Bbox.from_bounds(x - 2.5 * scale, y - 2.5 * scale, 5 * scale, 5 * scale) for x, y in _marks(axes)]
        if axes.get_legend() is not None:
            taken.append(axes.get_legend().get_window_extent(renderer))
        for text in names:
            x, y = at[text]
            size = _text_box(text, renderer)
            width, height = size.width / scale, size.height / scale
            places = [(dx, dy) for reach in range(0, 80, 4) for dy in ((reach,) if reach == 0 else (reach, -reach))
                      for dx in (4, -4 - width, 12, -12 - width, 24, -24 - width)]
            def away(place, point):
                """Points (of type) from where a name would stand to a named point."""
                left, middle = x + place[0] * scale, y + place[1] * scale
                return math.hypot(max(left - point[0], 0, point[0] - left - size.width),
                                  max(abs(middle - point[1]) - size.height / 2, 0)) / scale

            def cost(place):
                own = away(place, at[text])
                nearer = any(away(place, at[other]) < own for other in names if other is not text)
                return own + (15 if nearer else 0) + (2 if place[0] < 0 else 0)

            places.sort(key=cost)
            for dx, dy in places:
                wanted = Bbox.from_bounds(x + dx * scale, y + (dy - height / 2) * scale, width * scale, height * scale)
                fits = wanted.x0 >= inside.x0 and wanted.x1 <= inside.x1 and wanted.y0 >= inside.y0 and wanted.y1 <= inside.y1
                if fits and not any(wanted.overlaps(other) for other in taken):
                    break
            else:
                dx, dy = 4, 0
                wanted = Bbox.from_bounds(x + dx * scale, y + (dy - height / 2) * scale, width * scale, height * scale)
            text.set_va("center")
            text.set_position((round(dx, 3), round(dy, 3)))
            near = abs(dy) <= 4 and (dx == 4 or dx == -4 - width)
            text.arrow_patch.set_visible(not near)
            taken.append(wanted)


def _marks(axes):
    """Where single points stand, in pixels."""
    found = []
    for line in axes.lines:
        if line.get_visible() and line.get_marker() not in ("None", None, "", " ") and line.get_transform() == axes.transData:
            found += list(axes.transData.transform(line.get_xydata()))
    for collection in axes.collections:
        if type(collection).__name__ == "PathCollection":
            found += list(axes.transData.transform(collection.get_offsets()))
    return found


def _text_box(text, renderer):
    """The box of the letters alone: an annotation's own spans its arrow too."""
    from matplotlib.text import Text
    return Text.get_window_extent(text, renderer)


def _visible_texts(figure, renderer):
    """(text, its box) of all that is drawn."""
    from matplotlib.text import Text

    def ticks(axes):
        for axis in (axes.xaxis, axes.yaxis):
            drawn = {id(label) for tick in axis._update_ticks() for label in (tick.label1, tick.label2)}
            for tick in [*axis.majorTicks, *axis.minorTicks]:
                for label in (tick.label1, tick.label2):
                    yield label, id(label) in drawn

    skip = set()
    for axes in figure.axes:
        hidden = not axes.get_visible() or not axes.axison
        for label, drawn in ticks(axes):
            if hidden or not drawn:
                skip.add(label)
        if not axes.get_visible():
            skip.update(axes.findobj(Text))
        elif hidden:
            skip.update((axes.xaxis.label, axes.yaxis.label))
    for text in figure.findobj(Text):
        if text in skip or not text.get_visible() or not text.get_text().strip():
            continue
        box = _text_box(text, renderer)
        if box.width > 0 and box.height > 0:
            yield text, box


def _drawn_in(axes, renderer):
    """Display points along lines, and boxes of bars, of what an axes shows."""
    import numpy
    points, boxes = [], []
    for line in axes.lines:
        if not line.get_visible() or line.get_transform() != axes.transData and len(line.get_xdata()) == 2:
            continue  # lines across the whole panel
        path = line.get_transform().transform_path(line.get_path()).interpolated(1).vertices
        path = path[numpy.isfinite(path).all(axis=1)]
        if line.get_linestyle() in ("None", " ", "") or len(path) < 2:
            points += list(path)
            continue
        for (x0, y0), (x1, y1) in zip(path, path[1:]):
            steps = min(int(max(abs(x1 - x0), abs(y1 - y0)) // 2) + 1, 2000)
            points += [(x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps) for i in range(steps + 1)]
    for patch in axes.patches:
        if type(patch).__name__ == "Rectangle" and patch.get_transform().contains_branch(axes.transData) and patch.get_height() \
                and patch.get_width() and patch.get_data_transform() == axes.transData:
            boxes.append(patch.get_window_extent(renderer))
    for collection in axes.collections:
        offsets = collection.get_offsets()
        if len(collection.get_paths()) and len(offsets) and len(offsets) != 1:
            points += list(axes.transData.transform(offsets))
        elif type(collection).__name__ == "LineCollection":  # error bars
            for segment in collection.get_segments():
                (x0, y0), (x1, y1) = collection.get_transform().transform(segment)[[0, -1]]
                points += [(x0 + (x1 - x0) * i / 50, y0 + (y1 - y0) * i / 50) for i in range(51)]
    return points, boxes


def faults(figure):
    """What a reader would stumble over in a figure that was laid out: one sentence each."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    canvas = figure.bbox
    texts = list(_visible_texts(figure, renderer))
    found = []
    for text, box in texts:
        words = " ".join(text.get_text().split())
        if box.x0 < canvas.x0 - 1 or box.y0 < canvas.y0 - 1 or box.x1 > canvas.x1 + 1 or box.y1 > canvas.y1 + 1:
            found.append(f"{words!r} is cut off at the edge")
        if text.get_fontsize() < 4.5:
            found.append(f"{words!r} is set in {text.get_fontsize():g} points")
    straight = [(text, box.padded(-1)) for text, box in texts if text.get_rotation() in (0, 90)]
    for i, (one, box) in enumerate(straight):
        for other, second in straight[i + 1:]:
            if box.x0 < second.x1 and second.x0 < box.x1 and box.y0 < second.y1 and second.y0 < box.y1:
                found.append(f"{' '.join(one.get_text().split())!r} and {' '.join(other.get_text().split())!r} are drawn over each other")
    for axes in figure.axes:
        legend = axes.get_legend()
        if legend is None or not axes.get_visible():
            continue
        box = legend.get_window_extent(renderer).padded(-2)
        points, boxes = _drawn_in(axes, renderer)
        inside = axes.get_window_extent(renderer)
        if any(box.contains(x, y) and inside.contains(x, y) for x, y in points):
            found.append(f"a legend lies over a curve or points in {axes.get_title()!r}")
        if any(box.x0 < bar.x1 and bar.x0 < box.x1 and box.y0 < bar.y1 and bar.y0 < box.y1 for bar in boxes):
            found.append(f"a legend lies over bars in {axes.get_title()!r}")
    return found
