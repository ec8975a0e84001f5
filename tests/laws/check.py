"""The laws of the tree that no compiler checks.

    check.py [--law NAME] [ROOT]     checks one law, or all; exit code 1 and one line a violation
    check.py --list                  the laws
    check.py --self-test             breaks each law in a small tree and sees that it is noticed

A policy is a header in a slot's folder, except its concepts.hpp, the folder's umbrella, and
headers whose first line starts with `// mechanism:` (parts that policies share).
"""

import pathlib
import re
import subprocess
import sys
import tempfile

from standard_includes import GIVEN_BY

SLOTS = ("reservation", "prefix_index", "eviction", "admission", "offload", "kv_format",
         "weight_format", "retention", "scheduler", "speculation", "router")
MACROS_ALLOWED = {"QUIRE_HD"}
# Switches of libraries that we include, which must be set before the include.
MACRO_PREFIXES_ALLOWED = ("XXH_", "EIGEN_", "HWY_", "JSON_")
TOP_LEVEL = {"CMakeLists.txt", "include", "kernels", "experiments", "tests", "benchmarks",
             "notebooks", "paper", "README.md",  # and what tools look for there
             "cmake", "CMakePresets.json", "CITATION.cff", "LICENSE", ".ci", ".clang-format",
             ".clang-tidy", ".gitignore"}
CUDA = re.compile(r"^(cuda|cublas|cudnn|cufft|curand|cusparse|nccl|nvrtc|nvtx|cub/|thrust/|cute/|"
                  r"cutlass/|cooperative_groups|mma\.h|device_launch_parameters)")
INTRINSICS = re.compile(r"^((x|b|e|p|t|s|n|w|i|z)mmintrin\.h|x86intrin\.h|ia32intrin\.h|avx\w*\.h|"
                        r"arm_\w+\.h|altivec\.h|cpuid\.h|fma\w*intrin\.h)$")
CODE = {".hpp", ".cpp", ".cuh", ".cu", ".h", ".py", ".sh", ".cmake", ".md", ".tex", ".toml",
        ".ipynb", ".in", ".yml", ".yaml", ""}


class Tree:
    """The files of a checkout, read once."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.texts = {}
        for path in self.files():
            if path.suffix in CODE or path.name == "CMakeLists.txt":
                try:
                    self.texts[path.relative_to(self.root)] = path.read_text()
                except UnicodeDecodeError:
                    pass  # not text
        self.headers = {path: text for path, text in self.texts.items()
                        if path.parts[:2] == ("include", "quire") and path.suffix == ".hpp"}

    def files(self):
        if (self.root / ".git").exists():
            listed = subprocess.run(
                ["git", "-C", self.root, "ls-files", "-z", "--cached", "--others",
                 "--exclude-standard"], capture_output=True, text=True)
            if listed.returncode == 0:
                paths = [self.root / name for name in listed.stdout.split("\0") if name]
                return [path for path in paths if path.is_file()]
        return [path for path in self.root.rglob("*")
                if path.is_file() and path.relative_to(self.root).parts[0] not in ("build", ".git")]

    def policies(self):
        """(slot, stem, path, text) of every policy header."""
        for path, text in sorted(self.headers.items()):
            if len(path.parts) != 4 or path.parts[2] not in SLOTS:
                continue
            slot, stem = path.parts[2], path.stem
            if stem in ("concepts", slot) or text.startswith("// mechanism:"):
                continue
            yield slot, stem, path, text


def code_of(text):
    """The text without comments and string contents; line numbers stay."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.S)
    keep = lambda m: '""' if m[0][0] == '"' else "\n" * m[0].count("\n") or " "
    return pattern.sub(keep, text)


def includes(text):
    return [m[1] for m in re.finditer(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', text, re.M)]


def type_of(stem, text):
    """The type that a policy header is named after, or None."""
    wanted = stem.replace("_", "")
    for name in re.findall(r"\b(?:class|struct|using)\s+(\w+)", code_of(text)):
        if name.lower() == wanted and name[0].isupper():
            return name
    return None


def mentions(tree, path, name):
    text = tree.texts.get(pathlib.Path(path))
    if text is None:
        return False
    code = re.sub(r"^\s*#.*$", "", code_of(text), flags=re.M)
    return re.search(rf"\b{name}\b", code) is not None


def policy_is_named_as_its_file(tree):
    for slot, stem, path, text in tree.policies():
        if type_of(stem, text) is None:
            yield (f"{path}: defines no type named as the file; if it is shared by policies, start "
                   "it with `// mechanism: <what it is>`")


def policy_has_a_literature_name(tree):
    for slot, stem, path, text in tree.policies():
        if not re.search(r"static\s+constexpr\s+std::string_view\s+name\b", code_of(text)):
            yield f"{path}: `static constexpr std::string_view name` is missing"


def policy_asserts_its_concept(tree):
    for slot, stem, path, text in tree.policies():
        name = type_of(stem, text)
        if name and not re.search(rf"static_assert\s*\(\s*(?:\w+::)*\w+\s*<\s*(?:\w+::)*{name}\b",
                                  code_of(text)):
            yield f"{path}: no `static_assert(<concept>Policy<{name}>)`"


def policy_has_a_test(tree):
    for slot, stem, path, text in tree.policies():
        test = tree.texts.get(pathlib.Path(f"tests/{slot}/{stem}_test.cpp"))
        if test is None:
            yield f"{path}: tests/{slot}/{stem}_test.cpp is missing"
        elif not re.search(r"\b(TYPED_)?TEST(_F|_P)?\s*\(", code_of(test)):
            yield f"tests/{slot}/{stem}_test.cpp: holds no test"


def policy_is_in_the_conformance_suite(tree):
    for slot, stem, path, text in tree.policies():
        name = type_of(stem, text)
        files = [f"tests/{slot}/conformance.hpp", f"tests/{slot}/conformance_test.cpp"]
        own_test = code_of(tree.texts.get(pathlib.Path(f"tests/{slot}/{stem}_test.cpp"), ""))
        own = name and re.search(rf"INSTANTIATE_TYPED_TEST_SUITE_P\([^;]*\b{name}\s*\)", own_test)
        if name and not own and not any(mentions(tree, file, name) for file in files):
            yield f"{path}: {name} is not in {files[0]}"


def policy_is_in_the_benchmark(tree):
    for slot, stem, path, text in tree.policies():
        name, bench = type_of(stem, text), f"benchmarks/{slot}/{slot}_bench.cpp"
        if name and not mentions(tree, bench, name):
            yield f"{path}: {name} is not in {bench}"


def policy_reads_no_clock_device_or_global(tree):
    banned = {"chrono", "ctime", "time.h", "random", "iostream", "fstream", "thread", "cstdlib",
              "sys/time.h", "unistd.h"}
    for slot, stem, path, text in tree.policies():
        for header in sorted(banned.intersection(includes(text))):
            yield f"{path}: includes <{header}>"
        if re.search(r"\bvirtual\b", code_of(text)):
            yield f"{path}: `virtual`; policies are compile-time"
        for m in re.finditer(r"^\s*(?:inline\s+|static\s+)*(?:thread_local)\b", code_of(text), re.M):
            yield f"{path}: `{m[0].strip()}`; policies have no globals"


def slot_has_a_refused_policy(tree):
    for slot in SLOTS + ("block_size",):
        if slot != "block_size" and pathlib.Path(f"include/quire/{slot}/concepts.hpp") not in \
                tree.headers:
            continue
        folder = ("tests", "compile_fail", slot)
        if not any(p.parts[:3] == folder and p.name.endswith("_fail.cpp") for p in tree.texts):
            yield f"tests/compile_fail/{slot}/: no _fail.cpp pins what a wrong policy is told"


def include_needs_no_device_and_no_intrinsics(tree):
    for path, text in tree.headers.items():
        for header in includes(text):
            if CUDA.match(header) or header.endswith(".cuh"):
                yield f"{path}: includes the device header <{header}>"
            if INTRINSICS.match(header):
                yield f"{path}: includes the intrinsics header <{header}>"


def include_defines_no_macro(tree):
    for path, text in tree.headers.items():
        for m in re.finditer(r"^\s*#\s*define\s+(\w+)", code_of(text), re.M):
            if m[1] not in MACROS_ALLOWED and not m[1].startswith(MACRO_PREFIXES_ALLOWED):
                yield f"{path}: defines the macro {m[1]}"


def header_is_guarded_once(tree):
    for path, text in tree.headers.items():
        if code_of(text).count("#pragma once") != 1:
            yield f"{path}: `#pragma once` is missing or repeated"


def header_includes_its_standard_headers(tree):
    for path, text in tree.headers.items():
        code = code_of(text)
        found = set(includes(text))
        for name in sorted(set(re.findall(r"\bstd::(\w+)", code))):
            header = GIVEN_BY.get(name)
            if header is not None and header not in found:
                yield f"{path}: uses std::{name} and does not include <{header}>"


def folder_has_an_umbrella(tree):
    folders = {}
    for path in tree.headers:
        if len(path.parts) > 3:
            folders.setdefault(path.parts[2], set()).add(path)
    for folder, headers in sorted(folders.items()):
        umbrella = pathlib.Path(f"include/quire/{folder}/{folder}.hpp")
        if umbrella not in headers:
            yield f"{umbrella}: missing"
            continue
        reached, todo = set(), [umbrella]
        while todo:
            path = todo.pop()
            if path in reached or path not in headers:
                continue
            reached.add(path)
            todo += [pathlib.Path("include") / name for name in includes(tree.headers[path])]
        for path in sorted(headers - reached):
            yield f"{umbrella}: does not reach {path}"


def quire_hpp_is_all_umbrellas(tree):
    path = pathlib.Path("include/quire/quire.hpp")
    if path not in tree.headers:
        yield f"{path}: missing"
        return
    folders = {p.parts[2] for p in tree.headers if len(p.parts) > 3}
    wanted = {f"quire/{folder}/{folder}.hpp" for folder in folders}
    found = set(includes(tree.headers[path]))
    for name in sorted(wanted - found):
        yield f"{path}: does not include <{name}>"
    for name in sorted(found - wanted):
        yield f"{path}: includes <{name}>, which is not a folder's umbrella"


def nothing_is_left_unfinished(tree):
    words = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX")) + r")\b")
    for path, text in tree.texts.items():
        for number, line in enumerate(text.splitlines(), 1):
            m = words.search(line)
            if m:
                yield f"{path}:{number}: {m[0]}"


def no_path_of_one_machine(tree):
    pattern = re.compile(r"(?<![\w.~$}/-])/(?:home|root|work|Users)/[\w.-]+")
    for path, text in tree.texts.items():
        for number, line in enumerate(text.splitlines(), 1):
            m = pattern.search(line)
            if m:
                yield f"{path}:{number}: {m[0]}"


def experiment_is_complete(tree):
    compiled, folders = set(), set()
    for path in tree.texts:
        if path.parts[0] == "experiments" and len(path.parts) > 2:
            folders.add(path.parts[1])
            if path.suffix in (".cpp", ".hpp"):
                compiled.add(path.parts[1])
    for folder in sorted(folders - {"common", "quire"}):
        for name in ("README.md", "axes.hpp", "main.cpp", "CMakeLists.txt"):
            if name != "README.md" and folder not in compiled:
                continue
            if pathlib.Path("experiments", folder, name) not in tree.texts:
                yield f"experiments/{folder}/{name}: missing"


def files_named_in_prose_exist(tree):
    """Of a README: `tests/experiments/user_variants.hpp` in backticks is a file of the checkout."""
    tops = {path.parts[0] for path in tree.texts if len(path.parts) > 1}
    name = re.compile(r"`((?:%s)/[\w./-]+\.(?:hpp|cpp|cuh|cu|py|md|toml|jsonl))`" %
                      "|".join(map(re.escape, sorted(tops))))
    for path, text in tree.texts.items():
        if path.suffix != ".md":
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for m in name.finditer(line):
                if not (tree.root / m[1]).exists():
                    yield f"{path}:{number}: {m[1]} does not exist"


def links_of_prose_lead_somewhere(tree):
    """Of a README: `[text](path#heading)` names a file or a folder of the checkout, and a heading that it has."""
    def headings(text):
        prose = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
        return {re.sub(r"[^\w\- ]", "", m[1].lower()).replace(" ", "-")
                for m in re.finditer(r"^#+ (.+)$", prose, re.M)}
    for path, text in tree.texts.items():
        if path.suffix != ".md":
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for m in re.finditer(r"\]\(([^()\s:#]*)(?:#([^()\s]+))?\)", line):
                target = (tree.root / path.parent / m[1]).resolve() if m[1] else tree.root / path
                if not target.exists():
                    yield f"{path}:{number}: {m[1]} does not exist"
                elif m[2] and m[2] not in headings(target.read_text(encoding="utf-8")):
                    yield f"{path}:{number}: {m[1] or path.name} has no heading #{m[2]}"


def top_level_is_as_listed(tree):
    """Rows and logs of a run from the root end up there."""
    for name in sorted({path.relative_to(tree.root).parts[0] for path in tree.files()} - TOP_LEVEL):
        yield f"{name}: not a part of the top level"


LAWS = (policy_is_named_as_its_file, policy_has_a_literature_name, policy_asserts_its_concept,
        policy_has_a_test, policy_is_in_the_conformance_suite, policy_is_in_the_benchmark,
        policy_reads_no_clock_device_or_global, slot_has_a_refused_policy,
        include_needs_no_device_and_no_intrinsics, include_defines_no_macro,
        header_is_guarded_once, header_includes_its_standard_headers, folder_has_an_umbrella,
        quire_hpp_is_all_umbrellas,
        nothing_is_left_unfinished, no_path_of_one_machine, experiment_is_complete,
        files_named_in_prose_exist, links_of_prose_lead_somewhere, top_level_is_as_listed)


def violations(root, law=None):
    tree = Tree(root)
    found = {}
    for check in LAWS:
        if law is None or check.__name__ == law:
            found[check.__name__] = list(check(tree))
    return found


def main(arguments):
    if arguments == ["--list"]:
        print("\n".join(law.__name__ for law in LAWS))
        return 0
    if arguments == ["--self-test"]:
        import self_test  # beside this file
        return self_test.run()
    law = None
    if arguments[:1] == ["--law"] and len(arguments) > 1:
        law, arguments = arguments[1], arguments[2:]
        if law not in [check.__name__ for check in LAWS]:
            print(f"--law {law}: not a law; --list shows them", file=sys.stderr)
            return 2
    root = arguments[0] if arguments else pathlib.Path(__file__).resolve().parents[2]
    lines = [line for found in violations(root, law).values() for line in found]
    print("\n".join(lines) if lines else "no violation")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
