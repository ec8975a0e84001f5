"""Ratios that are kept: what fell is found and nothing else, a second measurement may only help, bad files are refused."""

import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benchmarks"))
import ratios  # noqa: E402


def rows(**values):
    return [{"id": name, "ratio": ratio} for name, ratio in values.items()] + [{"id": "no_limit", "value": 1.0}]


class Ratios(unittest.TestCase):
    def test_a_ratio_fell_when_it_lost_more_than_its_share(self):
        kept = {"same": 0.5, "a_little": 0.5, "much": 0.5, "more": 0.5, "gone": 0.5}
        found = ratios.fallen(rows(same=0.5, a_little=0.426, much=0.424, more=0.1, new=0.01), kept)
        self.assertEqual(found, [("more", 0.1, 0.5), ("much", 0.424, 0.5)])

    def test_measured_again_the_better_one_counts(self):
        better = ratios.better_of(rows(a=0.2, b=0.4), rows(a=0.3, b=0.1))
        self.assertEqual(ratios.of(better), {"a": 0.3, "b": 0.4})
        self.assertEqual(len(better), 3)

    def test_what_finished_nothing_has_no_ratio(self):
        self.assertEqual(ratios.of(rows(a=0.2, b=0.0)), {"a": 0.2})

    def test_keeping_leaves_other_processors_and_benchmarks_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "ratios.json"
            self.assertEqual(ratios.read(path), {})
            ratios.keep("one", rows(a=0.12345, b=0.5), path)
            ratios.keep("two", rows(a=0.9), path)
            ratios.keep("one", rows(b=0.6), path)
            self.assertEqual(ratios.read(path), {"one": {"a": 0.123, "b": 0.6}, "two": {"a": 0.9}})
            self.assertEqual([p.name for p in pathlib.Path(folder).iterdir()], ["ratios.json"])

    def test_processors_are_told_apart_by_family_and_model(self):
        core = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel name\t: other\n"
        self.assertEqual(ratios.processor(core), "AMD EPYC, family 25 model 17")
        self.assertEqual(ratios.processor("model name\t: Some Board\n"), "Some Board")
        self.assertIsNone(ratios.processor("Features\t: fp asimd\n"))
        kept = {"AMD EPYC, family 26": {"a": 0.5}, "AMD EPYC, family 25 model 17": {"a": 0.4}}
        self.assertEqual(ratios.mine(kept, "AMD EPYC, family 25 model 17"), {"a": 0.4})
        self.assertEqual(ratios.mine(kept, "AMD EPYC, family 26 model 2"), {"a": 0.5})
        self.assertEqual(ratios.mine(kept, "AMD EPYC, family 25 model 1"), {})

    def test_a_damaged_file_is_refused_with_its_place(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "ratios.json"
            for text, said in (("{", "Expecting"), ("[]", "no object"), ('{"cpu": 3}', "'cpu': is no object"),
                               ('{"cpu": {"a": -1}}', "'a': -1"), ('{"cpu": {"a": "fast"}}', "'a': 'fast'"),
                               ('{"cpu": {"a": NaN}}', "'a': nan")):
                path.write_text(text)
                with self.assertRaises(ValueError) as refused:
                    ratios.read(path)
                self.assertIn(str(path), str(refused.exception))
                self.assertIn(said, str(refused.exception))

    def test_the_committed_file_reads(self):
        kept = ratios.read()
        self.assertTrue(kept)
        self.assertEqual(json.loads(ratios.KEPT.read_text()), kept)


if __name__ == "__main__":
    unittest.main()
