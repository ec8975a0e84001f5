"""How quire_driver() and experiments/study are called: what is wrong is said at once, and studies keep out of each other's way."""

import fcntl
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def configured(call):
    """What CMake says of a project that makes that call, before it looks for anything."""
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.24)\nproject(lab LANGUAGES NONE)\n"
            f'include("{ROOT}/cmake/quire_driver.cmake")\n{call}\n')
        run = subprocess.run(["cmake", "-S", folder, "-B", f"{folder}/build"], capture_output=True, text=True)
        return run.returncode, " ".join(run.stderr.split())


class Drivers(unittest.TestCase):
    def test_a_list_in_part_is_refused(self):
        whole = "HEADER a.hpp LIST lab::A COUNT 2"
        for words, says in (
                ("HEADER a.hpp LIST lab::A", "quire_driver(mine): COUNT is missing"),
                ("LIST lab::A COUNT 2", "quire_driver(mine): HEADER is missing"),
                ("HEADER a.hpp LIST lab::A COUNT two", "COUNT two is no number"),
                (f"{whole} CPU_HEADER a.hpp", "quire_driver(mine): CPU_LIST is missing"),
                (f"{whole} CPU_LIST lab::A CPU_COUNT 1", "quire_driver(mine): CPU_HEADER is missing"),
                (f"{whole} CUDA_EXECUTOR lab::E", "quire_driver(mine): CUDA_HEADER is missing"),
                (f"{whole} CUDA_HEADER a.hpp CUDA_LIST lab::A CUDA_COUNT x", "CUDA_COUNT x is no number")):
            with self.subTest(words):
                code, said = configured(f"quire_driver(mine {words})")
                self.assertNotEqual(code, 0)
                self.assertIn(says, said)


class Study(unittest.TestCase):
    def test_a_second_study_waits_for_the_first(self):
        folder = ROOT / "build" / "study"
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lock", "w") as lock, tempfile.TemporaryFile("w+") as said:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.skipTest("a study is under way")
            study = subprocess.Popen(
                [ROOT / "experiments" / "study", "eviction", ROOT / "tests/experiments/user_eviction.hpp",
                 "lab::DeepestFirst"], stderr=said, stdout=subprocess.DEVNULL, start_new_session=True)
            try:
                with self.assertRaises(subprocess.TimeoutExpired):
                    study.wait(timeout=3)
            finally:
                os.killpg(study.pid, signal.SIGKILL)
                study.wait()
            said.seek(0)
            self.assertEqual(said.read(), "study: another study compiles or runs in build/study; waits for it\n")


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    unittest.main()
