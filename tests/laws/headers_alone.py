"""Checks that each header compiles alone and without warnings, every header parsed once.

    headers_alone.py FOLDER -- CLANG FLAGS...

FOLDER is what `#include <...>` finds the headers from. Compiled one at a time, hundreds of headers
parse each other again and again. Here each is a module of its own, which clang parses once and in
which only what that header includes can be seen. The headers of the standard library and of other
projects are one module, whole or not at all: a standard header that is missing is found by a law of
check.py instead.

`headers_alone.py --self-test -- CLANG FLAGS...` shows that what is missing is noticed.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

MODULES = ["-x", "c++", "-fmodules", "-fno-implicit-module-maps", "-ferror-limit=0",
           "-Xclang", "-fmodules-local-submodule-visibility", "-Xclang", "-emit-module"]
INCLUDE = re.compile(r"^[ \t]*#[ \t]*include <([^>]+)>", re.MULTILINE)
ERROR = re.compile(r"^([^\s:][^:]*):\d+:\d+: (?:fatal )?error: ", re.MULTILINE)


def run(command):
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def search_folders(command):
    """The folders in which the compiler looks for <...>, in its order."""
    said = run([*command, "-x", "c++", "-E", "-v", "/dev/null"]).stderr
    listed = said.split("#include <...> search starts here:\n")[1].split("End of search list.")[0]
    return [pathlib.Path(line.strip()) for line in listed.splitlines()]


def check(command, folder, work):
    """None when all is well, else one sentence and the compiler's output."""
    headers = sorted(folder.rglob("*.hpp"))
    if not headers:
        return f"{folder} has no headers", ""
    own = {str(header.relative_to(folder)) for header in headers}
    named = set().union(*(INCLUDE.findall(header.read_text()) for header in headers)) - own
    searched = search_folders(command)
    found = (next((place / name for place in searched if (place / name).is_file()), None)
             for name in sorted(named))
    # What is not there is behind an #if, or an error of the header that includes it.
    others = "\n".join(f'  header "{path}"' for path in found if path)
    (work / "others.map").write_text(f"module others [system] {{\n{others}\n  export *\n}}\n")
    modules = "\n".join(f'  module m{number} {{ header "{header}" export * }}'
                        for number, header in enumerate(headers))
    (work / "own.map").write_text(f"module own {{\n{modules}\n}}\n")
    command = [*command, f"-I{folder}", *MODULES, f"-fmodule-map-file={work / 'others.map'}"]
    made = run([*command, "-fmodule-name=others", "-c", str(work / "others.map"),
                "-o", str(work / "others.pcm")])
    if made.returncode != 0:
        return "the headers of others do not compile", made.stderr
    made = run([*command, f"-fmodule-file={work / 'others.pcm'}", "-fmodule-name=own",
                "-c", str(work / "own.map"), "-o", str(work / "own.pcm")])
    if made.returncode != 0:
        places = sorted({pathlib.Path(place).name for place in ERROR.findall(made.stderr)})
        return f"not alone: {', '.join(places) or 'see below'}", made.stderr
    return None


def self_test(command):
    right = {
        "a.hpp": "#pragma once\n#include <vector>\nstruct A { std::vector<int> x; };\n",
        "b.hpp": '#pragma once\n#include <a.hpp>\ntemplate <class T> T f(T t, A a) { return t; }\n',
        "c.hpp": "#pragma once\n#include <b.hpp>\ninline int g() { return f(1, A{}); }\n",
        "macro.hpp": "#pragma once\n#define INLINE inline\n",
        "uses.hpp": "#pragma once\n#include <macro.hpp>\nINLINE int h() { return 0; }\n",
    }
    cases = { # what is taken away, and the header that then is not alone
        "nothing": ("c.hpp", "", None),
        "a name": ("c.hpp", "#include <b.hpp>\n", "c.hpp"),
        "a name in a template": ("b.hpp", "#include <a.hpp>\n", "b.hpp"),
        "a macro": ("uses.hpp", "#include <macro.hpp>\n", "uses.hpp"),
    }
    wrong = []
    for name, (changed, taken, expected) in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            for header, text in right.items():
                (folder / header).write_text(text.replace(taken, "") if header == changed else text)
            (folder / "work").mkdir()
            said = check([*command, "-Wno-unused-parameter"], folder, folder / "work")
            if (said is None) != (expected is None) or (said and expected not in said[0]):
                wrong.append(f"without {name}: {said}")
    return ("the check itself is wrong", "\n".join(wrong)) if wrong else None


def main():
    split = sys.argv.index("--")
    command = sys.argv[split + 1:]
    if sys.argv[1] == "--self-test":
        said = self_test(command)
    else:
        with tempfile.TemporaryDirectory() as work:
            said = check(command, pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(work))
    if said:
        print(f"{said[0]}\n{said[1]}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
