#!/usr/bin/env python3
"""Runs benchmarks/peers/run with programs that speak as llama-bench and Quire do, and measure nothing."""

import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUN = ROOT / "benchmarks/peers/run"

# What llama-bench prints of each test, the fields as its README shows them. The rate says who it is
# and which test; LOG gets a line a call.
SPEAKS = """#!{python}
import json, sys
words = sys.argv[1:]
def of(flag):
    return [int(n) for n in words[words.index(flag) + 1].split(",")]
open("{log}", "a").write("{who}\\n")
if "--weights" in words:
    open("{log}.weights", "w").write(words[words.index("--weights") + 1])
rounds = open("{log}").read().count("{who}")
tests = [(p, 0, d) for p in of("-p") for d in of("-d")] + [(0, n, d) for n in of("-n") for d in of("-d")]
print(json.dumps([
    {{"build_commit": "8cf427ff", "build_number": 5163, "cpu_info": "", "gpu_info": "",
      "backends": "CPU", "model_filename": words[words.index("-m") + 1], "model_type": "llama",
      "model_size": 1, "model_n_params": 1, "n_batch": 2048, "n_ubatch": 512, "n_threads": of("-t")[0],
      "type_k": "f16", "type_v": "f16", "n_gpu_layers": 0, "flash_attn": 1, "n_prompt": p, "n_gen": n,
      "n_depth": d, "test_time": "2025-04-24T11:58:50Z", "avg_ns": 1, "stddev_ns": 0,
      "avg_ts": 0.0, "stddev_ts": 0.0, "samples_ns": [1],
      "samples_ts": [{rate} * (1 + d + 10 * p) * (100 if rounds == 3 else rounds)]}}
    for p, n, d in tests]))
"""
WRITES = """#!{python}
import sys
open(sys.argv[3], "w").write("GGUF")
"""


def program(folder, name, text, **fields):
    path = folder / name
    path.write_text(text.format(python=sys.executable, **fields))
    path.chmod(0o755)
    return str(path)


def run(*words):
    return subprocess.run([sys.executable, str(RUN), *words], capture_output=True, text=True)


def refused(what, *words):
    done = run(*words)
    assert done.returncode == 2, (words, done.returncode, done.stderr)
    last = done.stderr.strip().splitlines()[-1]
    assert what in last and done.stdout == "", (what, done.stderr)


def main():
    refused("there is no peer")
    refused("--rounds 3", "--llama-bench", "llama-bench", "--rounds", "3")
    for unlike in ("bf16=fp8", "f32=q4_0", "bf16=w8a8", "bf16"):
        refused("compares what is alike in no peer", "--ours", unlike)
    refused("q8_0 is none of --types bf16", "--llama-bench", "llama-bench", "--types", "bf16",
            "--ours", "q8_0=q8_0_a8")
    refused("no llama-bench that can be run", "--llama-bench", "/no/such/llama-bench")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        log = folder / "log"
        quire = program(folder, "quire", WRITES)
        speed = program(folder, "quire_speed", SPEAKS, who="quire", log=log, rate=3.0)
        peer = program(folder, "llama-bench", SPEAKS, who="peer", log=log, rate=2.0)
        common = ["--quire", quire, "--speed", speed, "--model",
                  str(ROOT / "tests/golden/models/llama"), "--work", str(folder / "work"), "--out",
                  str(folder / "rows.jsonl"), "--threads", "1"]
        done = run("--llama-bench", peer, "--types", "bf16", "--prompts", "512", "--generate", "32",
                   "--depths", "0,64", "--rounds", "5", *common)
        assert done.returncode == 0, done.stderr
        # by turns, the other way round every second time
        assert log.read_text().split() == ["peer", "quire", "quire", "peer"] * 2 + ["peer", "quire"]
        rows = {row["id"]: row for row in map(json.loads, open(folder / "rows.jsonl"))}
        assert sorted(rows) == ["peers/llama/bf16/decode_32_at_0", "peers/llama/bf16/decode_32_at_64",
                                "peers/llama/bf16/prefill_512_at_0",
                                "peers/llama/bf16/prefill_512_at_64"], sorted(rows)
        row = rows["peers/llama/bf16/prefill_512_at_64"]
        # medians of 1, 2, 100, 4 and 5 times the rate
        assert row["value"] == 4 * 3 * 5185 and row["peer_value"] == 4 * 2 * 5185, row
        assert row["peer_ratio"] == 1.5 and row["peer"] == "llama.cpp" and row["mode"] == "measured"
        assert len(row["samples"]) == 5 and row["provenance"]["peer"] == peer
        assert "1.50 x llama.cpp" in done.stdout

        done = run("--llama-bench", peer, "--types", "bf16", "--ours", "bf16=bf16_w16a16", *common)
        assert done.returncode == 0, done.stderr
        assert log.with_name("log.weights").read_text() == "bf16_w16a16"
        for row in map(json.loads, open(folder / "rows.jsonl")):
            assert row["weights"] == "bf16_w16a16" and row["id"].startswith("peers/llama/bf16_w16a16/"), row
            assert row["peer_weights"] == "bf16", row

        silent = program(folder, "silent", "#!{python}\nprint('no tests')\n")
        refused("printed no list of tests", "--llama-bench", silent, *common)
        broken = program(folder, "broken", "#!{python}\nraise SystemExit('cannot load the model')\n")
        refused("exit code 1: cannot load the model", "--llama-bench", broken, *common)
        empty = program(folder, "empty", "#!{python}\nprint('[]')\n")
        refused("has no test of 512 prompt tokens", "--llama-bench", empty, *common)
        refused("takes f32, f16 and bf16", "--torch", program(folder, "python", "#!{python}\n"),
                "--types", "q4_0", *common)


if __name__ == "__main__":
    main()
