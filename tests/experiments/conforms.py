"""tests/conforms: a policy of somebody's own passes, one that breaks a promise and one that lacks a member do not."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# The oldest block, in use or not.
CARELESS = """
namespace mine {
struct Careless : quire::eviction::Fifo {
  static constexpr std::string_view name = "careless";
  using Fifo::Fifo;
  void on_insert(quire::BlockId b, const quire::BlockContext& c) {
    Fifo::on_insert(b, c);
    Fifo::set_evictable(b, true);
  }
  void set_evictable(quire::BlockId, bool) {}
};
// a block that the pool does not have
struct Beyond : quire::eviction::Fifo {
  static constexpr std::string_view name = "beyond";
  using Fifo::Fifo;
  std::optional<quire::BlockId> victim() const {
    const auto b = Fifo::victim();
    return b ? std::optional(quire::BlockId{b->value + 1000000000}) : b;
  }
};
struct Unfinished {
  static constexpr std::string_view name = "unfinished";
  explicit Unfinished(quire::BlockCount) {}
};
}  // namespace mine
"""


def conforms(*arguments):
    run = subprocess.run([ROOT / "tests" / "conforms", *arguments], capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr


class Conforms(unittest.TestCase):
    def test_a_policy_that_keeps_its_promises_passes(self):
        code, said = conforms("eviction", ROOT / "tests/experiments/user_eviction.hpp", "lab::DeepestFirst")
        self.assertEqual(code, 0, said)
        self.assertIn("lab::DeepestFirst keeps what a policy of eviction promises", said)

    def test_a_format_of_ones_own_passes(self):
        code, said = conforms("kv_format", ROOT / "tests/experiments/user_kv_format.hpp", "lab::LogBytes")
        self.assertEqual(code, 0, said)

    def test_a_broken_promise_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "careless.hpp"
            file.write_text(CARELESS)
            code, said = conforms("eviction", file, "mine::Careless")
            self.assertEqual(code, 1, said)
            self.assertIn("ANewBlockIsNotEvictable", said)
            self.assertIn("mine::Careless breaks", said)
            code, said = conforms("eviction", file, "mine::Beyond")
            self.assertEqual(code, 1, said)
            self.assertIn("victim() names a block that the pool does not have", said)
            self.assertNotIn("Segmentation fault", said)  # every test has its say
            code, said = conforms("eviction", file, "mine::Unfinished")
            self.assertEqual(code, 1, said)
            self.assertRegex(said.splitlines()[0], r"error: .*quire: eviction: the policy has no `void on_insert")

    def test_usage(self):
        for arguments, words in (((), "a slot, a file and a type"), (("evction", __file__, "a::B"), "unknown slot 'evction'"),
                                 (("eviction", "nowhere.hpp", "a::B"), "'nowhere.hpp' is no file"),
                                 (("eviction", __file__, "a; b"), "'a; b' is no type")):
            code, said = conforms(*arguments)
            self.assertEqual(code, 2, said)
            self.assertIn(words, said)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    unittest.main()
