#!/usr/bin/env bash
# Makes a machine ready: cmake/bootstrap.sh build|test|paper
#
#   build   what compiles the library and its programs
#   paper   build, and a Python environment under build/venv for figures and notebooks
#   test    paper, and what ./tests/run checks with (clang, clang-format, clang-tidy, a Slurm)
#
# As root on Debian it installs what is missing; otherwise it prints the one line that does, and
# exits 1. A machine that has everything is left alone, without a look at the network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "$*" >&2; }

# package, and what proves that it is there: a command, a file below an include folder, or a module
build_needs="g++=g++ cmake=cmake ninja-build=ninja
  libeigen3-dev=eigen3/Eigen/Core nlohmann-json3-dev=nlohmann/json.hpp libhwy-dev=hwy/highway.h
  libxxhash-dev=xxhash.h libcli11-dev=CLI/CLI.hpp liburing-dev=liburing.h"
paper_needs="python3=python3 python3-venv=module:ensurepip"
test_needs="git=git libgtest-dev=gtest/gtest.h libgmock-dev=gmock/gmock.h
  libbenchmark-dev=benchmark/benchmark.h clang=clang++ clang-format=clang-format
  clang-tidy=clang-tidy"
# installed where that needs nobody's help; what would use them says that it is skipped
paper_wants="bible-kjv=bible"
test_wants="munge=munged slurmctld=slurmctld slurmd=slurmd slurm-client=sbatch"

wants=""
case "${1:-}" in
  build) needs="$build_needs" ;;
  paper) needs="$build_needs $paper_needs" wants="$paper_wants" ;;
  test) needs="$build_needs $paper_needs $test_needs" wants="$paper_wants $test_wants" ;;
  *)
    say "usage: cmake/bootstrap.sh build|test|paper"
    exit 2
    ;;
esac

present() {
  case "$1" in
    module:*) python3 -c "import ${1#module:}" 2>/dev/null ;;
    */* | *.h) [ -e "/usr/include/$1" ] || [ -e "/usr/local/include/$1" ] ;;
    *) PATH="$PATH:/usr/sbin" command -v "$1" >/dev/null ;;
  esac
}

# The names of packages whose proof is not there.
missing_of() {
  local need
  for need in "$@"; do
    present "${need#*=}" || printf '%s\n' "${need%%=*}"
  done
}

# install PACKAGE...: without a question; what was said is in build/bootstrap.log
install() {
  mkdir -p build
  local apt=(apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300)
  # ca-certificates: a minimal system cannot check a package index's certificate without it
  { "${apt[@]}" update && DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y \
    --no-install-recommends ca-certificates "$@"; } >build/bootstrap.log 2>&1 </dev/null
}

# shellcheck disable=SC2086 # lists of words
readarray -t missing < <(missing_of $needs)
if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    say "missing, under their Debian names: ${missing[*]}"
    exit 1
  fi
  if [ "$(id -u)" != 0 ]; then
    say "run this once, then try again: sudo apt-get install -y --no-install-recommends" \
      "ca-certificates ${missing[*]}"
    exit 1
  fi
  say "installing ${missing[*]}"
  if ! install "${missing[@]}"; then
    tail -n 20 build/bootstrap.log >&2
    say "installing failed; the whole log is build/bootstrap.log"
    exit 1
  fi
fi
# shellcheck disable=SC2086
readarray -t optional < <(missing_of $wants)
if [ ${#optional[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  say "installing ${optional[*]}"
  install "${optional[@]}" || say "left out, as they cannot be installed: ${optional[*]}"
fi
[ "$1" = build ] && exit 0

# The Python environment is made again when the list of requirements or the Python changes.
requirements=cmake/requirements.txt
[ -e paper/requirements.txt ] && requirements=paper/requirements.txt
wanted="$(python3 --version) $(cksum <"$requirements")"
if [ "$(cat build/venv/made_from 2>/dev/null || true)" != "$wanted" ]; then
  say "making the Python environment build/venv"
  mkdir -p build
  rm -rf build/venv
  if ! { python3 -m venv build/venv && build/venv/bin/python -m pip install -q \
    --disable-pip-version-check -r "$requirements"; } >build/venv.log 2>&1 </dev/null; then
    tail -n 20 build/venv.log >&2
    say "making the Python environment failed; the whole log is build/venv.log"
    exit 1
  fi
  printf '%s' "$wanted" >build/venv/made_from
fi

# Prose that the byte-level model is judged by; never committed.
if [ ! -e build/texts/held_out.txt ] && present bible; then
  say "writing build/texts"
  PYTHONDONTWRITEBYTECODE=1 python3 experiments/small_models/prose.py --out build/texts
fi
