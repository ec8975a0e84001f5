#!/usr/bin/env python3
"""Shows which shapes of attention cuDNN has engines for, on a machine without a device.

    tests/kernels/cudnn/check.py [--nvcc NVCC] [--cxx CXX]

cuDNN makes plans for devices that are described to it, and compiles their kernels. The last step, where
the driver takes them, is the stand-in's of driver.c. Nothing is run: results and times need a device.
What programs on devices have of it is compiled besides, where there is an nvcc.
Exit codes: 0 every shape has one, 1 one has none, 77 no cuDNN 9.11 here.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
VERSION = "#include <cudnn.h>\n#if CUDNN_VERSION < 91100\n#error too old\n#endif\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nvcc", default=shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc")
    parser.add_argument("--cxx", default=os.environ.get("CXX") or "c++")
    args = parser.parse_args()
    toolkit = pathlib.Path(args.nvcc).resolve().parents[1]
    include, libraries = ["-isystem", str(toolkit / "include")], toolkit / "lib64"
    known = subprocess.run([args.cxx, *include, "-E", "-xc++", "-"], input=VERSION, text=True,
                           capture_output=True)
    if known.returncode != 0:
        print("skipped: cuDNN 9.11 or later is not here")
        return 77
    if pathlib.Path(args.nvcc).exists():
        for arch in ("sm_80", "sm_90"):
            subprocess.run([args.nvcc, "-std=c++20", f"-arch={arch}", "--expt-relaxed-constexpr",
                            "-Werror", "all-warnings", f"-I{ROOT}/include", f"-I{ROOT}/kernels",
                            "-c", str(HERE / "bound.cu"), "-o", "/dev/null"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        driver, program = pathlib.Path(folder) / "libcuda.so.1", pathlib.Path(folder) / "plans"
        subprocess.run([args.cxx, "-xc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1",
                        str(HERE / "driver.c"), "-o", str(driver)], check=True)
        subprocess.run([args.cxx, "-std=c++20", "-O1", "-Wall", "-Wextra", *include,
                        f"-I{ROOT}/include", f"-I{ROOT}/kernels", str(HERE / "plans.cpp"),
                        f"-L{libraries}", "-lcudnn", f"-Wl,-rpath,{libraries}", "-o", str(program)],
                       check=True)
        path = os.pathsep.join(p for p in (folder, os.environ.get("LD_LIBRARY_PATH")) if p)
        done = subprocess.run([str(program)], text=True, capture_output=True,
                              env={**os.environ, "LD_LIBRARY_PATH": path})
    print(done.stdout, end="")
    if "Could not load symbol" in done.stderr:
        print("skipped: this cuDNN asks for more of a driver than the stand-in has")
        return 77
    print(done.stderr, end="", file=sys.stderr)
    return done.returncode and 1


if __name__ == "__main__":
    sys.exit(main())
