import unittest

from support import ROOT
from lib import claims, rows

RESULTS = ROOT / "paper" / "results"


class FrozenRows(unittest.TestCase):
    def test_they_keep_the_schema_and_stay_small(self):
        files = sorted(RESULTS.glob("*.jsonl"))
        self.assertEqual([path.stem for path in files],
                         sorted(path.parent.name for path in (ROOT / "experiments").glob("*/axes.hpp")))
        for path in files:
            found = rows.read(path)
            self.assertTrue(found, path.name)
            self.assertEqual({row["experiment"] for row in found}, {path.stem})
            self.assertLess(path.stat().st_size, 2 << 20, path.name)

    def test_they_come_from_one_commit_of_a_clean_tree(self):
        for path in RESULTS.glob("*.jsonl"):
            found = rows.read(path)
            self.assertEqual(len({row["provenance"]["git_sha"] for row in found}), 1, path.name)
            self.assertFalse(any(row["provenance"].get("git_dirty") for row in found), path.name)

    def test_they_name_no_machine_path(self):
        for path in RESULTS.glob("*.jsonl"):
            for row in rows.read(path):
                self.assertNotRegex(row["provenance"]["cmdline"], r"(^|[ =])/", path.name)
                self.assertNotIn("host", row["provenance"])

    def test_every_claim_finds_its_rows(self):
        found = rows.RowSet(RESULTS)
        for claim in claims.load(ROOT / "paper" / "claims.toml"):
            result = claims.evaluate(claim, found)
            self.assertNotIn("no rows", result.reason, claim["id"])
            self.assertNotIn("has no", result.reason, claim["id"])

    def test_a_claim_that_does_not_hold_says_what_is_known_of_why(self):
        found = rows.RowSet(RESULTS)
        for claim in claims.load(ROOT / "paper" / "claims.toml"):
            result = claims.evaluate(claim, found)
            if result.holds:
                continue
            self.assertTrue(result.note.strip(), f"{claim['id']} is false and has no note")
            self.assertIn(result.note, claims.line(claim, result))


if __name__ == "__main__":
    unittest.main()
