"""Breaks each law in a small tree that keeps them all, and sees that this law, and no other, says
so. A law without a case here fails the test."""

import pathlib
import tempfile

import check

POLICY = """#pragma once
#include <string_view>
#include <quire/eviction/concepts.hpp>
namespace quire::eviction {
class S3Fifo {
 public:
  static constexpr std::string_view name = "s3_fifo";
};
static_assert(EvictionPolicy<S3Fifo>);
}  // namespace quire::eviction
"""
GOOD = {
    "include/quire/quire.hpp":
        "#pragma once\n#include <quire/core/core.hpp>\n#include <quire/eviction/eviction.hpp>\n",
    "include/quire/core/core.hpp": "#pragma once\n#include <quire/core/hd.hpp>\n",
    "include/quire/core/hd.hpp": "#pragma once\n#define QUIRE_HD\n",
    "include/quire/eviction/eviction.hpp":
        "#pragma once\n#include <quire/eviction/queue.hpp>\n#include <quire/eviction/s3_fifo.hpp>\n",
    "include/quire/eviction/concepts.hpp": "#pragma once\n",
    "include/quire/eviction/queue.hpp": "// mechanism: a queue\n#pragma once\n",
    "include/quire/eviction/s3_fifo.hpp": POLICY,
    "tests/eviction/s3_fifo_test.cpp": "TEST(S3Fifo, Works) {}\n",
    "tests/eviction/conformance.hpp": "using Policies = quire::type_list<eviction::S3Fifo>;\n",
    "tests/compile_fail/eviction/no_victim_fail.cpp": "// expect: quire: eviction: ...\n",
    "tests/compile_fail/block_size/three_fail.cpp": "// expect: quire: block_size: ...\n",
    "benchmarks/eviction/eviction_bench.cpp": "BENCHMARK(churn<S3Fifo>);\n",
    "experiments/common/driver.hpp": "#pragma once\n",
    "experiments/waste/README.md": "#\n",
    "experiments/waste/axes.hpp": "#pragma once\n",
    "experiments/waste/main.cpp": "int main() {}\n",
    "experiments/waste/CMakeLists.txt": "#\n",
}
HEADER = "include/quire/eviction/s3_fifo.hpp"
LATER = "TO" + "DO"
# law: changes that break it, each {path: new text, or None to remove, or (old, new) to replace}
BROKEN = {
    "policy_is_named_as_its_file": [{HEADER: ("class S3Fifo", "class S3FiFoo")}],
    "policy_has_a_literature_name": [
        {HEADER: ("name =", "title =")},
        {HEADER: ("  static constexpr std::string_view name", "  // static constexpr "
                  "std::string_view name")}],
    "policy_asserts_its_concept": [{HEADER: ("static_assert", "// static_assert")},
                                   {HEADER: ("<S3Fifo>", "<Lru>")}],
    "policy_has_a_test": [
        {"tests/eviction/s3_fifo_test.cpp": None},
        {"tests/eviction/s3_fifo_test.cpp": "// TEST(S3Fifo, Works) {}\n"}],
    "policy_is_in_the_conformance_suite": [
        {"tests/eviction/conformance.hpp": None},
        {"tests/eviction/conformance.hpp": "#include <S3Fifo>\nusing Policies = type_list<>;\n"},
        {"tests/eviction/conformance.hpp": "using Policies = type_list</*S3Fifo*/>;\n"},
        {"tests/eviction/conformance.hpp": None, "tests/eviction/s3_fifo_test.cpp":
         "INSTANTIATE_TYPED_TEST_SUITE_P(S3Fifo, Suite, Lru);\nTEST(S3Fifo, Works) {}\n"}],
    "policy_is_in_the_benchmark": [
        {"benchmarks/eviction/eviction_bench.cpp": "BENCHMARK(churn<Lru>);\n"}],
    "policy_reads_no_clock_device_or_global": [
        {HEADER: ("#pragma once", "#pragma once\n#include <chrono>")},
        {HEADER: ("class S3Fifo {", "class S3Fifo { virtual void f();")},
        {HEADER: ("class S3Fifo {", "thread_local int calls;\nclass S3Fifo {")}],
    "slot_has_a_refused_policy": [{"tests/compile_fail/eviction/no_victim_fail.cpp": None},
                                  {"tests/compile_fail/block_size/three_fail.cpp": None}],
    "include_needs_no_device_and_no_intrinsics": [
        {"include/quire/core/hd.hpp": "#pragma once\n#include <cuda_runtime.h>\n"},
        {"include/quire/core/hd.hpp": "#pragma once\n#include <immintrin.h>\n"},
        {"include/quire/core/hd.hpp": "#pragma once\n#include \"x.cuh\"\n"}],
    "include_defines_no_macro": [
        {"include/quire/core/hd.hpp": "#pragma once\n#define QUIRE_CHECK(x) x\n"}],
    "header_includes_its_standard_headers": [
        {HEADER: ("#include <string_view>\n", "")}],
    "header_is_guarded_once": [{"include/quire/core/hd.hpp": "// #pragma once\n"}],
    "folder_has_an_umbrella": [
        {"include/quire/eviction/eviction.hpp": None},
        {"include/quire/core/core.hpp": "#pragma once\n"}],
    "quire_hpp_is_all_umbrellas": [
        {"include/quire/quire.hpp": None},
        {"include/quire/quire.hpp": "#pragma once\n#include <quire/core/core.hpp>\n"},
        {"include/quire/quire.hpp": ("#pragma once", "#pragma once\n#include <vector>")}],
    "nothing_is_left_unfinished": [{"README.md": f"{LATER}: write\n"}],
    "no_path_of_one_machine": [{"README.md": "cd " + "/home" + "/someone/quire\n"}],
    "experiment_is_complete": [{"experiments/waste/README.md": None},
                               {"experiments/waste/axes.hpp": None},
                               {"experiments/scripts/train.py": "import math\n"}],
    "files_named_in_prose_exist": [
        {"experiments/waste/README.md": "See `experiments/waste/gone.cpp`.\n"}],
    "links_of_prose_lead_somewhere": [
        {"experiments/waste/README.md": "See [there](../gone/README.md).\n"},
        {"experiments/waste/README.md": "# Waste\n\nSee [there](#wastes).\n"}],
    "top_level_is_as_listed": [{"rows.jsonl": "{}\n"}],
}


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def run():
    wrong = []
    for law in check.LAWS:
        if law.__name__ not in BROKEN:
            wrong.append(f"{law.__name__}: no case shows that it can fail")
    cases = [("nothing broken", None, {})]
    cases += [(name, name, change) for name, changes in BROKEN.items() for change in changes]
    for label, law, change in cases:
        files = dict(GOOD)
        for path, new in change.items():
            if new is None:
                del files[path]
            elif isinstance(new, tuple):
                assert new[0] in files[path], (label, new[0])
                files[path] = files[path].replace(*new)
            else:
                files[path] = new
        with tempfile.TemporaryDirectory() as folder:
            write(pathlib.Path(folder), files)
            found = {name for name, lines in check.violations(folder).items() if lines}
        # A missing umbrella is missing from quire.hpp's point of view only if its folder is, so
        # the expected law must speak; and no law may speak of a tree that keeps them all.
        if (law is None and found) or (law is not None and found != {law}):
            wrong.append(f"{label} {change}: expected {law}, found {sorted(found)}")
    print("\n".join(wrong) if wrong else f"{len(cases) - 1} broken trees noticed")
    return 1 if wrong else 0
