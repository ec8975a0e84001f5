"""The caps: a clean build's grows with what the probe takes, no more than it may, and not without need; what counts
as one attention kernel."""

import contextlib
import io
import pathlib
import sys
import tempfile
import tomllib
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import summary  # noqa: E402

CAPS = tomllib.loads((summary.ROOT / "tests/caps.toml").read_text())


class Cap(unittest.TestCase):
    def passes(self, caps, slow=None, cache="CMAKE_CXX_COMPILER:FILEPATH=c++\n", clean=True):
        """Whether a build of so many times the cap passes, on a machine that is so many times as slow as usual;
        None: the probe may not run. The number of failures is 0 or 1, for there is no program to count in."""
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            build = pathlib.Path(folder) / "cpu"
            build.mkdir()
            (build / "CMakeCache.txt").write_text(cache)
            seconds = caps * CAPS["clean_build_cpu_seconds"]
            (build / "clean_build_seconds").write_text(f"1000.0 {seconds - 60:.3f} 60.000\n")
            probe = (mock.Mock(side_effect=AssertionError("the probe ran")) if slow is None else
                     mock.Mock(return_value=slow * CAPS["probe_cpu_seconds"]))
            tally = summary.Tally()
            with mock.patch.object(summary, "BUILD", build, create=True), \
                    mock.patch.object(summary, "probe_seconds", probe):
                summary.report_cost(tally, clean)
            self.assertLessEqual(tally.failed, 1)
            return tally.failed == 0

    def test_a_build_within_the_cap_needs_no_probe(self):
        self.assertTrue(self.passes(0.99))

    def test_a_build_above_it_fails_unless_the_machine_is_as_much_slower(self):
        self.assertFalse(self.passes(1.01, slow=1.0))
        self.assertFalse(self.passes(1.01, slow=0.5))
        self.assertTrue(self.passes(1.6, slow=1.7))
        self.assertFalse(self.passes(1.8, slow=1.7))

    def test_a_probe_that_did_not_compile_raises_nothing(self):
        self.assertFalse(self.passes(1.01, slow=0.0))

    def test_a_machine_however_slow_raises_it_no_further_than_it_may(self):
        most = CAPS["most_slowness"]
        self.assertTrue(self.passes(0.99 * most, slow=10 * most))
        self.assertFalse(self.passes(1.01 * most, slow=10 * most))

    def test_what_is_no_clean_build_by_the_compiler_is_not_held_to_it(self):
        self.assertTrue(self.passes(9, clean=False))
        self.assertTrue(self.passes(9, cache="CMAKE_CXX_COMPILER_LAUNCHER:STRING=ccache\n"))


class Kernels(unittest.TestCase):
    def test_a_kernel_and_the_lambdas_of_its_functions_are_one(self):
        kernel = "quire::attention::TaskKernel<Fp32, Causal, Lane<Votes<2> > >"
        self.assertEqual(summary.kernels_named(f"""\
0001 t void add<{kernel}::run(int)::{{lambda()#1}}, Other<3> >(int)
0002 t {kernel}::run(int)
0003 t {kernel}::finish()
0004 t quire::attention::TaskKernel<Packed, Causal, Table>::run(int)
0005 t quire::other::Kernel<Packed>::run(int)
"""), {"Fp32, Causal, Lane<Votes<2> > ", "Packed, Causal, Table"})


if __name__ == "__main__":
    unittest.main()
