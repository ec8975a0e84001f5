"""Runs a real experiment program (QUIRE_EXPERIMENT) the way people and ./paper/reproduce do."""

import json
import os
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import support  # noqa: F401  finds paper/lib
from lib import rows

PROGRAM = os.environ.get("QUIRE_EXPERIMENT", "")


def run(*arguments):
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL)


def results(path):
    """What a row says, without when and how it was made."""
    return {row["run_id"]: {k: v for k, v in row.items() if k not in ("provenance", "program")} for row in rows.read(path)}


@unittest.skipUnless(PROGRAM, "QUIRE_EXPERIMENT names no program")
class Driver(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = Path(folder.name) / "rows.jsonl"

    def smoke(self, *arguments, chosen="utilisation"):
        return run("--out", self.out, "--scale", "smoke", "--filter", chosen, *arguments)

    def test_usage_errors_name_the_nearest(self):
        for arguments, words in ((["--resum"], "--resume"), (["--scale", "smok", "--out", "x"], "smoke"),
                                 (["--out"], "a value is missing"), ([], "--out"), (["--jobs=0", "--out=x"], "1 to 4096"),
                                 (["--traces", "/no/such/folder", "--out", "x"], "is not a folder")):
            done = run(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn(words, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)

    def test_nothing_matched_is_3_and_writes_nothing(self):
        self.assertEqual(self.smoke(chosen="no such run").returncode, 3)
        self.assertFalse(self.out.exists())

    def test_list_and_help_write_nothing(self):
        for flag in ("--list", "--help"):
            done = run(flag)
            self.assertEqual(done.returncode, 0)
            self.assertGreater(len(done.stdout.splitlines()), 5)

    def test_rows_keep_the_schema_and_are_the_same_every_time(self):
        self.assertEqual(self.smoke("--jobs", 2).returncode, 0)
        first = results(self.out)
        self.assertEqual(len(first), 18)  # nine block sizes of two workloads
        self.out.unlink()
        self.assertEqual(self.smoke().returncode, 0)
        self.assertEqual(results(self.out), first)

    def test_resume_runs_only_what_is_missing(self):
        self.smoke()
        whole = results(self.out)
        lines = self.out.read_text().splitlines(keepends=True)
        self.out.write_text("".join(lines[:7]) + lines[7][:50])  # a run that died while writing
        done = self.smoke("--resume")
        self.assertEqual(done.returncode, 0)
        self.assertIn("11 rows written, 7 kept", done.stdout)
        self.assertEqual(results(self.out), whole)
        self.assertIn("0 rows written, 18 kept", self.smoke("--resume").stdout)

    def test_rows_of_another_program_are_not_taken_for_its_own(self):
        self.smoke()
        other = [json.dumps({**json.loads(line), "program": "0" * 16}) for line in self.out.read_text().splitlines()]
        self.out.write_text("\n".join(other) + "\n")
        self.assertIn("18 rows written, 0 kept", self.smoke("--resume").stdout)

    def test_a_damaged_file_is_refused_with_its_row(self):
        self.out.write_text('{"run_id": 5}\n')
        done = self.smoke("--resume")
        self.assertEqual(done.returncode, 1)
        self.assertIn("row 1", done.stderr)

    def test_an_interrupt_keeps_finished_rows_and_resume_completes_them(self):
        process = subprocess.Popen([PROGRAM, "--out", self.out, "--scale", "smoke"], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not (self.out.exists() and self.out.read_text().count("\n") > 2) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        self.assertIn(process.wait(60), (130, 0))  # 0: it was faster than the signal
        kept = results(self.out)
        self.assertGreater(len(kept), 2)
        self.assertEqual(run("--out", self.out, "--scale", "smoke", "--resume").returncode, 0)
        self.assertLessEqual(kept.items(), results(self.out).items())
        self.assertEqual(len(results(self.out)), len(run("--list", "--scale", "smoke").stdout.splitlines()))


if __name__ == "__main__":
    unittest.main()
