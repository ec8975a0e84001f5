#!/usr/bin/env python3
"""Breaks the kernels one way at a time and sees that their tests notice.

    tests/kernels/mutations.py [--file NAME] [--sample N] [--jobs N] [--list]

A mutation removes a barrier, moves a comparison by one, or swaps entries of a block table. Each is
compiled, with AddressSanitizer and UndefinedBehaviorSanitizer, into the tests of its kernel alone.
One that the tests do not notice is a survivor; EQUIVALENT explains those that change no result.
Exit codes: 0 at least 95 % noticed (explained ones apart), 1 fewer, 2 usage.
"""

import argparse
import concurrent.futures
import os
import pathlib
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
KERNELS = ROOT / "kernels" / "quire" / "kernels"
# the first is quick; the others are asked about what it did not notice
DECODE = ["decode_mutants", "paged_decode_test"]
STEP = ["step_kernels_test"]
TESTS = {  # a kernel's file, and the tests that must notice
    "paged_decode/paged_decode.cuh": DECODE,
    "merge_states/merge_states.cuh": DECODE,
    "paged_decode/plan.hpp": ["paged_decode_test"],
    "paged_prefill/paged_prefill.cuh": ["paged_prefill_test"],
    "cache_write/cache_write.cuh": STEP,
    "copy_blocks/copy_blocks.cuh": STEP,
    "rms_norm/rms_norm.cuh": STEP,
    "swiglu/swiglu.cuh": STEP,
    "embedding/embedding.cuh": STEP,
    "block_primitives.cuh": ["step_kernels_test", "sampling_test"],
    "sampling/sampling.cuh": ["sampling_test"],
}
MINIMUM = "the smaller of two equal numbers is either"
# A mutated line, without spaces, and why no result changes.
EQUIVALENT = {
    "if(d==0)p.partial_lse[row]=all>=0?m+simt::log2(all):-simt::infinity();":
        "a sum of 0 means that nothing was seen: m is -infinity too",
    "while(n<=vectors&&n<simt::warp_lanes)n*=2;": "more lanes share a row, some with nothing to do",
    "constunsignedcount=group-pass<=heads?group-pass:heads;": MINIMUM,
    "q[c][s][r]=high<=count?simt::pack<Half>(a,b):0;": "fills a column that nobody reads",
    "constunsignedlast_vector=work.first+tile<=vectors?work.first+tile:vectors;": MINIMUM,
    "if(t0+static_cast<std::int32_t>(tokens)<=end){": "brings in a tile of zeros that nobody reads",
    "constboolvisible=t<=end&&t<=rows.position[r]&&t>=rows.first[r];":
        "no query stands at `end` or beyond",
    "constfloatfactor=total>=0?shrink/total:0.0f;": "every query sees itself: the total is above 0",
    "x[s][side][e]=i<=half?simt::widen(v.v[e]):0.0f;": "what was not loaded is 0 already",
    "returnstatic_cast<std::int8_t>(q>=127?127:q<-127?-127:q);": "127 is 127",
    "returnstatic_cast<std::int8_t>(q>127?127:q<=-127?-127:q);": "-127 is -127",
    "returnb.value>a.value||(b.value==a.value&&b.index<=a.index)?b:a;": "the same place twice",
    "[](constDecodeWork&a,constDecodeWork&b){returna.end-a.begin>=b.end-b.begin;});":
        "orders equal parts otherwise",
    "logits[t.token]=(x>=0?x/t.repetition:x*t.repetition)-t.subtract;": "0 stays 0 either way",
    "wrong+=x<3.402823466e38f?0:1;": "only the largest float itself, which no model gives",
    "if(row.log_min_p>=-1e29f){": "the value that turns it off lies below",
    "if(key_of(limit)>=least)least=key_of(limit);": MINIMUM,
    "if(k>=least)least=k;": MINIMUM,
    "if(row.top_k>0&&row.top_k<=p.vocab){": "the k-th of all tokens keeps all",
    "if(row.top_p<=1){": "all of the probability keeps all tokens",
    "select(block,logits,p.vocab,least,target<=total?target:total,weight);": MINIMUM,
    "if(equal<=ties)ties=equal;": MINIMUM,
    "while(b>=0&&histogram.load(b)<left)left-=histogram.load(b--);":
        "all bins together reach the target: the loop ends before the last",
    "for(unsignedfirst=0;first<=p.vocab;first+=threads){": "a round without tokens",
    "constCounttie=i<=p.vocab&&key==least?1:0;": "beyond the vocabulary the key is the lowest",
    "constboolkept=i<=p.vocab&&(key>least||(tie!=0&&rank<ties));":
        "beyond the vocabulary the key is the lowest",
}
FLAGS = ["-std=c++20", "-O0", "-g0", "-w", "-fsanitize=address,undefined",
         "-fno-sanitize-recover=all", f'-DQUIRE_SOURCE_DIR="{ROOT}"']


def mutations(text):
    """(line number, what, mutated line) of one file."""
    for number, line in enumerate(text.splitlines(), 1):
        code = line.split("//")[0]
        if re.match(r"\s*(#|template|static_assert|///|concept|requires)", code):
            continue
        if re.search(r"static constexpr", code):
            continue
        for m in re.finditer(r"simt::sync(_warp)?\([^)]*\);", code):
            yield number, "barrier removed", code[:m.start()] + code[m.end():]
        for m in re.finditer(r" (<|<=|>|>=) (?!<)", code):
            other = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}[m[1]]
            yield number, f"{m[1]} became {other}", code[:m.start(1)] + other + code[m.end(1):]
        for m in re.finditer(r"/ Key::block_tokens\]", code):
            yield (number, "table entries swapped",
                   code[:m.start()] + "/ Key::block_tokens ^ 1u]" + code[m.end():])
        for m in re.finditer(r"(\w+) % Key::block_tokens", code):
            yield (number, "slot moved by one",
                   code[:m.start()] + f"({m[1]} + 1) % Key::block_tokens" + code[m.end():])


def includes(extra):
    return [f"-I{extra}"] * (extra is not None) + [
        f"-I{ROOT}/kernels", f"-I{ROOT}/include", f"-I{ROOT}", "-I/usr/include/eigen3"]


def limit_time():
    """A loop without an end is noticed too: the tests need a few seconds at most."""
    resource.setrlimit(resource.RLIMIT_CPU, (15, 15))


def run(name, number, mutated, tests, work):
    """Whether a mutation is noticed: True, False, or a message when it does not compile."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=work))
    try:
        target = folder / "quire" / "kernels" / name
        target.parent.mkdir(parents=True)
        lines = (KERNELS / name).read_text().splitlines()
        lines[number - 1] = mutated
        target.write_text("\n".join(lines) + "\n")
        for test in tests:
            program = folder / test
            built = subprocess.run(
                ["g++", *FLAGS, *includes(folder), "-include", str(work / "common.hpp"),
                 str(ROOT / "tests" / "kernels" / f"{test}.cpp"), str(work / "main.o"), "-o",
                 str(program), "-lgmock", "-lgtest", "-pthread"], capture_output=True, text=True)
            if built.returncode != 0:
                return "does not compile: " + built.stderr[-200:]
            try:
                done = subprocess.run([program], capture_output=True, cwd=ROOT, timeout=600,
                                      env={**os.environ, "GTEST_FAIL_FAST": "1"},
                                      preexec_fn=limit_time)
                if done.returncode != 0:
                    return True
            except subprocess.TimeoutExpired:
                return True
        return False
    finally:
        shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", action="append", help="only this kernel file (a part of its path)")
    parser.add_argument("--sample", type=int, help="this many, drawn with a fixed seed")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    todo = [(name, *m) for name in TESTS for m in mutations((KERNELS / name).read_text())
            if not args.file or any(part in name for part in args.file)]
    if not todo:
        print("--file: no mutation there", file=sys.stderr)
        return 2
    if args.sample and args.sample < len(todo):
        todo = sorted(random.Random(1).sample(todo, args.sample))
    if args.list:
        for name, number, what, mutated in todo:
            print(f"{name}:{number}: {what}: {mutated.strip()}")
        print(f"{len(todo)} mutations")
        return 0
    work = pathlib.Path(tempfile.mkdtemp())
    try:
        (work / "common.hpp").write_text((ROOT / "tests" / "precompiled.hpp").read_text())
        subprocess.run(["g++", *FLAGS, "-x", "c++-header", str(work / "common.hpp")], check=True)
        subprocess.run(["g++", *FLAGS, *includes(None), "-c", str(ROOT / "tests" / "main.cpp"),
                        "-o", str(work / "main.o")], check=True)
        noticed = explained = 0
        survivors = []
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            for (name, number, what, mutated), result in zip(todo, pool.map(
                    lambda t: run(t[0], t[1], t[3], TESTS[t[0]], work), todo)):
                reason = EQUIVALENT.get(re.sub(r"\s+", "", mutated))
                if result is not False:
                    noticed += 1
                elif reason:
                    explained += 1
                else:
                    survivors.append(f"{name}:{number}: {what}: {mutated.strip()}")
                mark = ("noticed" if result is True else "equivalent: " + reason
                        if reason and result is False else "SURVIVED" if result is False else result)
                print(f"{name}:{number}: {what}: {mark}", flush=True)
        share = noticed / max(1, noticed + len(survivors))
        print(f"{len(todo)} mutations: {noticed} noticed, {explained} change no result, "
              f"{len(survivors)} survived ({100 * share:.1f} % noticed)")
        for line in survivors:
            print("survivor " + line)
        return 0 if share >= 0.95 else 1
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    sys.exit(main())
