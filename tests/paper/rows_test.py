import json
import tempfile
import unittest
from pathlib import Path

from support import row
from lib import rows


class Rows(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "batching.jsonl"

    def tearDown(self):
        self.folder.cleanup()

    def write(self, *lines, end="\n"):
        self.path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines) + end)

    def test_a_cell_that_ran_twice_counts_once_with_its_last_result(self):
        first = row(value=1)
        self.write(first, row(value=5), {**first, "value": 2})
        self.assertEqual([one["value"] for one in rows.read(self.path)], [2, 5])

    def test_rows_of_an_older_program_or_another_scale_are_left_out(self):
        self.write(row(value=1, program="old", scale="default"), row(value=2, program="new", scale="smoke"),
                   row(value=3, program="new", scale="default"), row(value=4, program="new", scale="default"))
        self.assertEqual([one["value"] for one in rows.read(self.path)], [3, 4])

    def test_an_interrupted_last_line_is_left_out(self):
        self.write(row(value=1), json.dumps(row(value=2))[:40], end="")
        self.assertEqual([one["value"] for one in rows.read(self.path)], [1])

    def test_damage_names_the_file_the_line_and_the_field(self):
        for damaged, words in (("{", "line 2: not JSON"), ("[]", "line 2: not an object"),
                               ({**row(), "schema": "quire.result/0"}, "line 2: schema"),
                               ({**row(), "seed": "0"}, "line 2: field 'seed'"),
                               ({**row(), "seed": True}, "line 2: field 'seed'"),
                               ({**row(), "mode": "guessed"}, "line 2: mode"),
                               ({**row(), "mode": "measured"}, "provenance says otherwise"),
                               ({**row(), "provenance": {}}, "provenance lacks git_sha"),
                               ('{"value": NaN}', "line 2: not JSON")):
            self.write(row(), damaged)
            with self.assertRaises(rows.RowError, msg=words) as caught:
                rows.read(self.path)
            self.assertIn(words, str(caught.exception))
            self.assertIn(str(self.path), str(caught.exception))

    def test_bytes_that_are_not_text_are_refused(self):
        self.path.write_bytes(b'{"schema": "\xff\xfe"}\n')
        with self.assertRaises(rows.RowError):
            rows.read(self.path)

    def test_select_matches_numbers_texts_and_alternatives(self):
        self.write(row(width=2, rate=0.1), row(width=4, rate=0.1), row(width=4, rate=0.2, variant="orca_max"))
        found = rows.RowSet(self.folder.name)
        self.assertEqual(len(found.select("batching", width=[2, 4])), 3)
        self.assertEqual(len(found.select("batching", width=4.0, rate=0.1)), 1)
        self.assertEqual(len(found.select("batching", variant="orca_max")), 1)
        self.assertEqual(found.select("batching", depth=1), [])
        self.assertEqual(found.select("nothing"), [])


if __name__ == "__main__":
    unittest.main()
