import json
import tempfile
import unittest
from pathlib import Path

import support
from support import ROOT, row
from lib import claims, rows


def claim(**changes):
    return {"id": "paper.fig.what", "figure": "fig02_memory_waste", "sentence": "It is so", "published": 10.0,
            "source": "a paper", "mark": "verified", "tolerance": {"points": 1}, "mode": "simulated",
            "here": {"experiment": "batching", "rows": {"variant": "vllm"}, "metric": "value"}, **changes}


class Fixed(rows.RowSet):
    """A set of rows from memory."""

    def __init__(self, by_experiment):
        super().__init__(".")
        self._cache = by_experiment

    def of(self, experiment):
        return self._cache.get(experiment, [])


def judge(changes, *found):
    return claims.evaluate(claim(**changes), Fixed({"batching": list(found)}))


class Evaluate(unittest.TestCase):
    def test_within_and_outside_each_tolerance(self):
        for tolerance, published, inside, outside in (
                ({"points": 1}, 10.0, 10.9, 11.1), ({"percent": 8}, 10.0, 9.21, 9.19), ({"exact": 0}, 7, 7, 7.0001),
                ({"points": 0}, [16, 128], 16, 15), ({"points": 0}, [16, 128], 128, 129),
                ({"percent": 5}, [1.7, 2.7], 1.62, 1.6), ({"below": 0}, 4, 3.99, 4), ({"at_most": 0}, 4, 4, 4.01),
                ({"at_least": 0}, 60, 60, 59.9), ({"factor": 1.5}, 22, 33, 34)):
            change = {"tolerance": tolerance, "published": published}
            self.assertTrue(judge(change, row(value=inside)).holds, change)
            failed = judge(change, row(value=outside))
            self.assertFalse(failed.holds, change)
            self.assertTrue(failed.reason, change)

    def test_missing_rows_are_false_with_the_reason(self):
        result = judge({})
        self.assertFalse(result.holds)
        self.assertIsNone(result.here)
        self.assertEqual(result.reason, "no rows of batching with variant vllm")

    def test_a_row_without_the_metric_or_with_nonsense_is_false(self):
        self.assertIn("has no value", judge({}, row()).reason)
        self.assertIn("not a number", judge({}, row(value="many")).reason)
        self.assertIn("not a number", judge({}, row(value=True)).reason)

    def test_a_mode_other_than_claimed_is_false(self):
        result = judge({}, row(value=10, mode="measured"))
        self.assertFalse(result.holds)
        self.assertEqual(result.mode, "measured")

    def test_reducers(self):
        seeds = [row(value=v, rate=r) for v, r in ((1, 1), (3, 1), (8, 2), (4, 3))]
        here = claim()["here"]
        for reduce, expected in (("mean", 4), ("median", 3.5), ("min", 1), ("max", 8)):
            value, _ = claims.measure({**here, "reduce": reduce}, Fixed({"batching": seeds}))
            self.assertEqual(value, expected, reduce)
        for reduce, expected in (("argmin", 1), ("argmax", 2)):  # means over seeds: 2, 8, 4
            value, _ = claims.measure({**here, "reduce": reduce, "axis": "rate"}, Fixed({"batching": seeds}))
            self.assertEqual(value, expected, reduce)
        with self.assertRaises(claims.Unanswered):
            claims.measure({**here, "reduce": "exactly"}, Fixed({"batching": seeds}))

    def test_crossing_is_linear_between_points_and_says_when_there_is_none(self):
        here = {**claim()["here"], "reduce": "crossing", "axis": "rate", "level": 0.5}
        points = [row(value=v, rate=r) for r, v in ((3, 9.0), (1, 0.1), (2, 0.9))]  # any order
        value, _ = claims.measure(here, Fixed({"batching": points}))
        self.assertAlmostEqual(value, 1.5)
        for level, words in ((0.05, "above 0.05 already"), (10, "stays below 10")):
            with self.assertRaises(claims.Unanswered) as caught:
                claims.measure({**here, "level": level}, Fixed({"batching": points}))
            self.assertIn(words, str(caught.exception))

    def test_ratio_and_complement(self):
        found = Fixed({"batching": [row(value=6), row(value=3, variant="orca_max")]})
        here = claim()["here"]
        self.assertEqual(claims.measure({**here, "over": {"variant": "orca_max"}}, found)[0], 2)
        self.assertEqual(claims.measure({**here, "subtract_from": 100}, found)[0], 94)

    def test_spread_over_seeds_of_numbers_ratios_and_complements(self):
        found = Fixed({"batching": [row(variant=variant, seed=seed, value=value) for variant, seed, value in
                                    [("vllm", 0, 12.0), ("vllm", 1, 30.0), ("orca", 0, 4.0), ("orca", 1, 5.0)]]})
        here = claim()["here"]
        ratio = {**here, "over": {"variant": "orca"}}
        self.assertEqual(claims.spread_over_seeds(here, found), [12, 30])
        self.assertEqual(claims.spread_over_seeds(ratio, found), [3, 6])
        self.assertEqual(claims.spread_over_seeds({**here, "subtract_from": 100}, found), [70, 88])
        self.assertIsNone(claims.spread_over_seeds({**here, "rows": {"variant": "vllm", "seed": 1}}, found))
        found.of("batching").pop()  # a seed without what it is divided by
        self.assertIsNone(claims.spread_over_seeds(ratio, found))

    def test_spread_over_rungs_of_a_ratio_is_that_of_the_widest_brackets(self):
        found = Fixed({"batching": [row(variant="vllm", holds_at=6.0, fails_at=12.0),
                                    row(variant="orca", holds_at=2.0, fails_at=3.0)]})
        here = {**claim()["here"], "between": ["holds_at", "fails_at"]}
        self.assertEqual(claims.spread_over_rungs(here, found), [6, 12])
        self.assertEqual(claims.spread_over_rungs({**here, "over": {"variant": "orca"}}, found), [2, 6])

    def test_nothing_is_divided_by_nothing(self):
        result = judge({"here": {**claim()["here"], "over": {"variant": "orca"}}},
                       row(variant="vllm", value=3.0), row(variant="orca", value=0.0))
        self.assertFalse(result.holds)
        self.assertIn("division by a value of 0", result.reason)

    def test_the_line_reads_as_the_design_says(self):
        held = judge({"unit": "%"}, row(value=10.25))
        self.assertEqual(claims.line(claim(unit="%"), held),
                         "[true] It is so (published 10 %, here 10.25 %, simulated)")
        failed = judge({"unit": "%"}, row(value=20))
        self.assertEqual(claims.line(claim(unit="%"), failed),
                         "[false] It is so (published 10 %, here 20 %, simulated): 20 % is not within 1 of 10 %")

    def test_the_line_shows_the_interval_whose_end_is_judged(self):
        made = {"unit": "%", "here": {**claim()["here"], "metric": "gap_low"}, "tolerance": {"at_least": 0}, "published": 0}
        result = judge(made, row(gap=0.5, gap_low=-0.25, gap_high=1.5))
        self.assertEqual(result.interval, [-0.25, 1.5])
        self.assertEqual(claims.line(claim(**made), result),
                         "[false] It is so (published 0 %, here -0.25 %, interval -0.25 to 1.50, simulated): "
                         "-0.25 % is not at least 0 %")

    def test_checks_of_substitutes_are_counted_apart(self):
        check = judge({"mark": "measured", "unit": "%"}, row(value=10))
        self.assertIn("(real data 10 %, here 10 %", claims.line(claim(mark="measured", unit="%"), check))
        results = [judge({}, row(value=10)), judge({}, row(value=20)), check]
        self.assertEqual(claims.score(results), "1 of 2 claims hold, and 1 of 1 checks")
        self.assertEqual(claims.score(results[:2]), "1 of 2 claims hold")

    def test_the_file_is_a_list_of_these_fields(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "claims.json"
            claims.write_json(path, [judge({}, row(value=10))])
            [written] = json.loads(path.read_text())
        self.assertEqual(list(written), ["id", "figure", "sentence", "source", "published", "here", "tolerance", "mode",
                                         "holds", "reason", "seeds", "rungs", "interval", "note"])


class Load(unittest.TestCase):
    def load(self, text):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "claims.toml"
            path.write_text(text)
            return claims.load(path)

    def test_every_mistake_names_the_claim(self):
        good = (ROOT / "paper" / "claims.toml").read_text().split("[[claim]]")[1]
        for old, new, words in (('id = "pagedattention.', 'id = "pagedattention', "id must read"),
                                ("published", "publisched", "published is missing"),
                                ('mark = "verified"', 'mark = "sure"', "mark is 'sure'"),
                                ("points = 50", "points = 50, percent = 1", "exactly one of"),
                                ('reduce = "exactly"', 'reduce = "mode"', "here.reduce is 'mode'"),
                                ("metric", "metrik", "here.metric is missing"),
                                ("published = 15700", "published = ", "claims.toml")):
            self.assertIn(old, good)
            with self.assertRaises(claims.ClaimError, msg=words) as caught:
                self.load("[[claim]]" + good.replace(old, new, 1))
            self.assertIn(words, str(caught.exception))
        with self.assertRaises(claims.ClaimError) as caught:
            self.load(f"[[claim]]{good}[[claim]]{good}")
        self.assertIn("used twice", str(caught.exception))

    def test_a_ratio_that_holds_without_a_gain_is_refused(self):
        def ratio(published, tolerance, unit="x"):
            return (f'[[claim]]\nid = "a.b.c"\nfigure = "f"\nsentence = "s"\npublished = {published}\nunit = "{unit}"\n'
                    f'source = "p"\nmark = "verified"\ntolerance = {{{tolerance}}}\nmode = "simulated"\n'
                    'here = {experiment = "batching", rows = {}, metric = "value"}\n')
        for published, tolerance in ((1.5, "factor = 1.5"), ("[1.2, 1.5]", "percent = 15"), (1.2, "points = 0.19"),
                                     (2, "percent = 50")):
            with self.assertRaises(claims.ClaimError) as caught:
                self.load(ratio(published, tolerance))
            self.assertIn("a.b.c: within its tolerance", str(caught.exception))
        for text in (ratio(1.5, "percent = 15"), ratio(1.2, "at_least = 0"), ratio(0.9, "percent = 15"),
                     ratio(30, "percent = 50", "%"), ratio(1, "percent = 5")):
            self.assertEqual(len(self.load(text)), 1)

    def test_the_projects_claims_are_well_formed_and_belong_to_figures(self):
        loaded = claims.load(ROOT / "paper" / "claims.toml")
        folders = {path.parent.name for path in (ROOT / "paper" / "figures").glob("*/draw.py")}
        self.assertTrue(loaded)
        self.assertEqual({one["figure"] for one in loaded}, folders)

    def test_rows_that_hold_the_published_numbers_make_every_claim_true(self):
        loaded = claims.load(ROOT / "paper" / "claims.toml")
        found = Fixed(support.answering_rows(loaded))
        for one in loaded:
            if "below" not in one["tolerance"]:  # which the printed number itself does not satisfy
                self.assertEqual(claims.evaluate(one, found).reason, "", one["id"])


if __name__ == "__main__":
    unittest.main()
