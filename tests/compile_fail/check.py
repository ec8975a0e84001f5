"""Checks that a misuse is refused by the compiler in the words that its user needs.

    check.py FILE [--not-fixed] -- COMPILER FLAGS...

The first lines of FILE are `// expect: quire: <slot>: <sentence>`, one a misuse. The check passes when

  - the compiler refuses FILE,
  - the first error line names FILE itself or carries a `quire:` sentence, so that nobody has to
    read a template backtrace to know where to look,
  - for each expected sentence one error line carries it,
  - there are at most four different errors beside, so that the sentence is not lost among them,
  - FILE compiles with QUIRE_FIXED defined, if it mentions that macro: then the misuse, and nothing
    else, is what the compiler refused. With --not-fixed this is left to another compiler's check.

`check.py --self-test -- COMPILER FLAGS...` shows that each of these can fail.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

MOST_ERRORS = 5
ERROR = re.compile(r"^(?P<place>[^\s:][^:]*):\d+(?::\d+)?: (?:fatal )?error: (?P<text>.*)$")


def compile_output(command, file, *flags):
    # every error is looked at, and clang stops after twenty
    all_errors = ["-ferror-limit=0"] if "clang" in pathlib.Path(command[0]).name else []
    result = subprocess.run([*command, *flags, *all_errors, "-fsyntax-only", str(file)],
                            capture_output=True, text=True, timeout=300)
    return result.returncode, result.stderr


def verdict(command, file, try_fixed=True):
    """None when all is well, else one sentence and the compiler's output."""
    source = file.read_text()
    expected = []
    for line in source.splitlines():
        found = re.match(r"// expect: (quire: .+)$", line)
        if not found:
            break
        expected.append(found[1])
    if not expected:
        return "the first line is not `// expect: quire: ...`", source.split("\n", 1)[0]
    status, output = compile_output(command, file)
    if status == 0:
        return "it compiles", ""
    errors = [match for match in map(ERROR.match, output.splitlines()) if match]
    if not errors:
        return "the compiler failed without an error line", output
    first = errors[0]
    own_line = pathlib.Path(first["place"]).resolve() == file.resolve()
    if not own_line and "quire: " not in first["text"]:  # and not quire::Name
        return "the first error is neither in the user's file nor a `quire:` sentence", output
    for sentence in expected:
        if not any(sentence in error["text"] for error in errors):
            return f"no error says `{sentence}`", output
    texts = {error["text"] for error in errors}
    others = [text for text in texts if not any(sentence in text for sentence in expected)]
    if 1 + len(others) > MOST_ERRORS:
        return f"there are {len(texts)} errors", output
    if try_fixed and "QUIRE_FIXED" in source:
        status, output = compile_output(command, file, "-DQUIRE_FIXED")
        if status != 0:
            return "it does not compile with QUIRE_FIXED either", output
    return None


def self_test(command):
    good = '// expect: quire: slot: no\nstatic_assert(sizeof(int) == 1, "quire: slot: no");\n'
    two = good.replace("\n", "\n// expect: quire: slot: two\n", 1) + (
        'static_assert(sizeof(int) != 4, "quire: slot: two");\n')
    cases = {
        "good": (good, None),
        "good_fixed": (good.replace("static", "#ifndef QUIRE_FIXED\nstatic") + "#endif\n", None),
        "no_expectation": (good.split("\n", 1)[1], "the first line"),
        "compiles": (good.replace("== 1", "!= 1"), "it compiles"),
        "other_sentence": (good.replace('"quire: slot: no"', '"quire: slot: yes"'), "no error says"),
        "two": (two, None),
        "one_of_two": (two.replace("!= 4", "== 4"), "no error says `quire: slot: two`"),
        "many": (good + "int f() { return a + b + c + d + e; }\n", "there are 6 errors"),
        "not_fixed": (good + "// QUIRE_FIXED changes nothing\n", "it does not compile with"),
        "elsewhere": ('// expect: quire: slot: no\n#include "elsewhere.hpp"\n', "the first error"),
        "elsewhere_in_quire": ('// expect: quire: slot: no\n#include "in_quire.hpp"\n', "the first error"),
    }
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "elsewhere.hpp").write_text('int x = "text";\n' + good)
        (folder / "in_quire.hpp").write_text("namespace quire { struct Name; }\nquire::Name x;\n" + good)
        for name, (source, outcome) in cases.items():
            file = folder / f"{name}_fail.cpp"
            file.write_text(source)
            found = verdict(command, file)
            if (found is None) != (outcome is None) or (found and not found[0].startswith(outcome)):
                wrong.append(f"{name}: expected {outcome}, found {found}")
    return ("the check itself is wrong", "\n".join(wrong)) if wrong else None


def main():
    split = sys.argv.index("--")
    command = sys.argv[split + 1:]
    what = sys.argv[1]
    found = self_test(command) if what == "--self-test" else verdict(
        command, pathlib.Path(what), "--not-fixed" not in sys.argv[2:split])
    if found:
        print(f"{what}: {found[0]}\n{found[1]}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
