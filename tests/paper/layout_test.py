import unittest

import support  # noqa: F401  finds paper/lib
import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

from lib import layout  # noqa: E402


class Faults(unittest.TestCase):
    def setUp(self):
        self.figure, self.axes = plt.subplots(figsize=(4, 3), layout="constrained")
        self.addCleanup(plt.close, self.figure)

    def assert_fault(self, words):
        found = layout.faults(self.figure)
        self.assertTrue(any(words in one for one in found), found)

    def test_a_plain_figure_has_none(self):
        self.axes.plot([0, 1, 2], [0, 1, 2], label="line")
        self.axes.set_xlabel("x")
        self.axes.legend(loc="upper left")
        self.assertEqual(layout.faults(self.figure), [])

    def test_a_legend_over_a_curve_bars_or_error_bars(self):
        self.axes.plot([0, 1, 2], [0, 1, 2], label="line")
        self.axes.legend(loc="center")
        self.assert_fault("over a curve")
        self.axes.clear()
        self.axes.bar([0, 1], [1, 1], label="bar")
        self.axes.legend(loc="lower center")
        self.assert_fault("over bars")
        self.axes.clear()
        self.axes.errorbar([0, 1], [1, 1], yerr=[[0.9, 0], [0.9, 0]], linestyle="none", label="point")
        self.axes.legend(loc="lower left")
        self.assert_fault("over a curve or points")

    def test_text_over_text_off_the_edge_or_too_small(self):
        self.axes.text(0.5, 0.5, "first words")
        self.axes.text(0.55, 0.5, "second words")
        self.assert_fault("'first words' and 'second words' are drawn over each other")
        self.axes.text(1.0, 0.2, "a very long sentence that leaves the picture").set_in_layout(False)
        self.assert_fault("leaves the picture' is cut off")
        self.axes.text(0.1, 0.9, "tiny", fontsize=3)
        self.assert_fault("'tiny' is set in 3 points")


class Names(unittest.TestCase):
    def test_names_of_points_that_lie_together_do_not_cover_each_other(self):
        figure, axes = plt.subplots(figsize=(4, 3), layout="constrained")
        self.addCleanup(plt.close, figure)
        for i in range(6):
            axes.plot([1], [1 + 0.01 * i], "o", markersize=3)
            layout.name_point(axes, f"format_number_{i}", 1, 1 + 0.01 * i)
        axes.set_ylim(0, 2)
        figure.draw_without_rendering()
        self.assertTrue(layout.faults(figure))
        layout.settle_names(figure)
        self.assertEqual(layout.faults(figure), [])


class Numbers(unittest.TestCase):
    def test_three_digits_and_never_an_exponent(self):
        for value, text in ((1390, "1,390"), (52723.4, "52,700"), (41, "41.0"), (0.0484, "0.0484"), (0.000529, "0.000529"),
                            (0, "0"), (9.999, "10.0"), (0.9996, "1.00"), (-2.5, "-2.50")):
            self.assertEqual(layout.number(value), text)

    def test_a_table_says_all_its_cells_within_its_axes(self):
        figure, axes = plt.subplots(figsize=(4, 2), layout="constrained")
        self.addCleanup(plt.close, figure)
        layout.table(axes, ["name", "a\n(s)", "b"], [["x", "1", "2"], ["y", "3", "4"]], [1, 1, 1], header_lines=2)
        axes.set_title("title")
        self.assertEqual({text.get_text() for text in axes.texts}, {"name", "a\n(s)", "b", "x", "1", "2", "y", "3", "4"})
        self.assertEqual(layout.faults(figure), [])


if __name__ == "__main__":
    unittest.main()
