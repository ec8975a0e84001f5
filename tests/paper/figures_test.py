import contextlib
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from support import ROOT
from lib import claims, figures, layout, report, rows, tex


class Drawing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.claims = claims.load(ROOT / "paper" / "claims.toml")
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.temporary.name)
        cls.rows = rows.RowSet(ROOT / "paper" / "results")
        cls.results = [claims.evaluate(claim, cls.rows) for claim in cls.claims]
        cls.context = figures.Context(cls.rows, cls.claims, cls.results)
        cls.figures = figures.discover()
        laid_out = figures.Figure.laid_out

        @contextlib.contextmanager
        def inspected(one, context):  # while it is there to be drawn: to lay all out again would take half as long
            with laid_out(one, context) as figure:
                (cls.folder / f"{one.id}.faults").write_text(repr(layout.faults(figure)))
                yield figure

        with mock.patch.object(figures.Figure, "laid_out", inspected):
            cls.drawn = {key: paths for key, paths, _ in figures.draw_all(cls.figures, cls.context, cls.folder / "first", 2)}

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def test_equal_rows_give_equal_bytes(self):
        for one in self.figures[::5]:  # dates and ids that differ would differ in all
            again = one.draw(self.context, self.folder / "second")
            for kind, path in again.items():
                self.assertEqual(path.read_bytes(), self.drawn[one.id][kind].read_bytes(), f"{one.id}.{kind}")

    def test_every_figure_has_a_caption_a_title_and_an_experiment(self):
        for one in self.figures:
            self.assertGreater(len(one.caption), 40, one.id)
            self.assertTrue(one.title and one.experiments, one.id)
            for experiment in one.experiments:
                self.assertTrue((ROOT / "experiments" / experiment / "CMakeLists.txt").is_file(), experiment)

    def test_missing_rows_are_told_not_drawn(self):
        with tempfile.TemporaryDirectory() as empty:
            context = figures.Context(rows.RowSet(empty), self.claims, [])
            for _, paths, reason in figures.draw_all(self.figures, context, self.folder / "never", 2):
                self.assertIsNone(paths)
                self.assertIn("no rows of", reason)
        self.assertEqual(list((self.folder / "never").glob("*")), [])

    def test_nothing_is_cut_off_covered_or_drawn_over_another(self):
        for one in self.figures:
            self.assertEqual((self.folder / f"{one.id}.faults").read_text(), "[]", one.id)

    def test_a_report_of_committed_rows_names_their_machine(self):
        path = self.folder / "frozen.html"
        [measured] = [one for one in self.figures if one.id == "kernel_roofline"]
        report.write(path, [measured], self.drawn, {}, [], [], self.rows, "frozen")
        machine = report.machines(self.rows.of("kernel_roofline"))
        self.assertIn("cores", machine)
        self.assertIn(f"the machine that those rows name ({machine})", path.read_text())

    def test_the_report_stands_alone(self):
        path = self.folder / "report.html"
        report.write(path, self.figures, self.drawn, {}, self.claims, self.results, self.rows, "default")
        text = path.read_text()
        self.assertEqual(text.count("<svg"), len(self.figures))
        for outside in ("<img", "<script", "<link", "src=", "@import"):
            self.assertNotIn(outside, text)
        ids = [part.split('"')[0] for part in text.split(' id="')[1:]]
        self.assertEqual(len(ids), len(set(ids)))
        for claim in self.claims:
            self.assertIn(f"<code>{claim['id']}</code>", text)

    def test_a_figure_that_was_not_drawn_is_named_with_its_reason(self):
        path = self.folder / "holes.html"
        report.write(path, self.figures[:1], {}, {self.figures[0].id: "no rows of x & y"}, [], [], self.rows, "smoke")
        self.assertIn("Not drawn: no rows of x &amp; y", path.read_text())

    def test_the_paper_finds_every_number_it_names(self):
        folder = self.folder / "tex"
        tex.generate(folder, self.figures, self.drawn, {}, self.claims, self.results)
        numbers = (folder / "numbers.tex").read_text()
        used = (ROOT / "paper" / "quire.tex").read_text() + (folder / "figures.tex").read_text()
        import re
        names = [f"{name}.{kind}" for kind, name in re.findall(r"\\(here|published|mode|holds)\{([a-z][^}]+)\}", used)]
        self.assertGreater(len(names), len(self.claims))
        for name in names:
            self.assertIn(f"quire@{name}\\endcsname", numbers)
        for figure in self.figures:
            self.assertIn(f"../figures/{figure.id}.pdf", used)

    def test_names_that_readers_use_for_a_figure(self):
        for word in ("fig02", "2", "02", "fig02_memory_waste", "memory_waste", "pagedattention.fig02", "FIG02", "fig02a"):
            self.assertTrue(figures.is_named("fig02_memory_waste", word), word)
        for word in ("fig2x3", "12", "fig020", "", "waste"):
            self.assertFalse(figures.is_named("fig02_memory_waste", word), word)

    def test_tex_special_characters_are_escaped(self):
        self.assertEqual(tex.escape("96.3 % of a_b & {c}"), r"96.3 \% of a\_b \& \{c\}")


if __name__ == "__main__":
    unittest.main()
