#!/usr/bin/env python3
"""Makes golden logits and greedy texts of the committed small models with Hugging Face transformers.

    python3 tests/golden/models/make_trained.py            # rewrites stories/, induction/ and bytes/ here
    python3 tests/golden/models/make_trained.py --check    # makes them elsewhere and compares

The models are read from experiments/small_models/checkpoints, evaluated in float64. README.md
describes the files.
"""

import argparse
import json
import math
import os
import pathlib
import random
import sys
import tempfile

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
import transformers
from safetensors.torch import save_file

from make import greedy, logits_of, same

HERE = pathlib.Path(__file__).resolve().parent
SMALL = HERE.parents[2] / "experiments" / "small_models"
sys.path.insert(0, str(SMALL))

import induction  # noqa: E402
import stories  # noqa: E402

MIN_GAP = 1e-2
NEW_TOKENS = 64
PROMPTS = 12


def story_prompts():
    """Openings, unfinished stories and questions, endlessly; no training seed among them."""
    yield "Once upon a time"
    yield "One sunny morning, Anna left the house early."
    yield "Anna was a baker. Thomas went to the harbour."
    seed = 1_500_000_000
    while True:
        s = stories.story(seed, 30)
        seed += 1
        if not s.questions:
            continue
        yield s.text[: s.text.index(" ", len(s.text) // 3)]  # the middle of a story
        yield s.text[: s.questions[0].answer_start]          # a question


def byte_prompts():
    """The same, and openings as the other three quarters of its training text have them."""
    yield "And it came to pass, "
    yield "In those days "
    yield "He said unto them, "
    yield from story_prompts()


def induction_prompts():
    rng = random.Random(3)
    symbols = [chr(c) for c in range(33, 127)]
    yield "abcdefghijkl 0123;abcd"
    yield "abcdefghijkl 0123;z"
    while True:
        rng.shuffle(symbols)
        n = 8 + int(rng.random() * 80)
        segment = symbols[:n]
        yield "".join(segment * 2)[: n + 1 + int(rng.random() * (n - 1))]


def story_sequences(tokenizer):
    text = stories.story(1_600_000_000, 60).text
    seed = 1_600_000_001
    while len(ids := tokenizer(text)["input_ids"]) < 500:
        text += stories.story(seed, 60).text
        seed += 1
    return [ids[:n] for n in (1, 7, 40, 70, 300)]


def induction_sequences(_):
    rng = random.Random(4)
    return [[induction.BOS]] + [induction.example(rng, n)[0] for n in (7, 40, 70, 300)]


def make(name, root, prompts, sequences):
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = SMALL / "checkpoints" / name
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        checkpoint, dtype=torch.float64, attn_implementation="eager").eval()
    single = transformers.AutoModelForCausalLM.from_pretrained(
        checkpoint, dtype=torch.float32, attn_implementation="eager").eval()

    tensors, worst = {}, 0.0
    for i, ids in enumerate(sequences(tokenizer)):
        ids = torch.tensor(ids)
        logits = logits_of(model, ids)
        near = logits_of(single, ids).double()
        worst = max(worst, float(((near - logits).abs().amax(1) / logits.abs().amax(1)).max()))
        n = len(ids)
        kept = torch.tensor(sorted({0, n // 3, n // 2, n - 2, n - 1} & set(range(n))))
        tensors |= {f"seq{i}.ids": ids, f"seq{i}.positions": kept,
                    f"seq{i}.logits": logits[kept].float().contiguous()}
    save_file(tensors, folder / "golden.safetensors")
    (folder / "golden.safetensors").chmod(0o644)

    texts, skipped, end = [], 0, model.config.eos_token_id
    for prompt in prompts():
        if len(texts) == PROMPTS:
            break
        ids = torch.tensor(tokenizer(prompt)["input_ids"])
        out, lead = ids, math.inf
        for _ in range(NEW_TOKENS):
            tail, gap = greedy(model, out, 1)
            lead = min(lead, gap)
            out = torch.cat([out, tail])
            if int(tail) == end:
                break
        if lead < MIN_GAP:
            skipped += 1
            continue
        new = out[len(ids):].tolist()
        texts.append({
            "prompt": prompt, "prompt_ids": ids.tolist(), "greedy_ids": new,
            "greedy_text": tokenizer.decode(new, skip_special_tokens=True),
            "smallest_lead": float(f"{lead:.4g}")})
    (folder / "generate.json").write_text(json.dumps({
        "checkpoint": f"experiments/small_models/checkpoints/{name}",
        "max_new_tokens": NEW_TOKENS, "stop": "end token, which is listed",
        "texts": texts}, indent=1, ensure_ascii=True) + "\n")
    print(f"{name}: float32 error {worst:.1e}, {len(texts)} texts, "
          f"{skipped} prompts left out for a near tie, smallest lead "
          f"{min(t['smallest_lead'] for t in texts):.3g}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--only", default="stories,induction,bytes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    known = {"stories": (story_prompts, story_sequences),
             "induction": (induction_prompts, induction_sequences),
             "bytes": (byte_prompts, story_sequences)}
    names = args.only.split(",")
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch) if args.check else HERE
        for name in names:
            if name not in known:
                parser.error(f"no model '{name}'; there are {', '.join(known)}")
            make(name, root, *known[name])
        if args.check:
            different = [n for n in names if not same(root / n, HERE / n)]
            print("different: " + ", ".join(different) if different else "all equal")
            return 1 if different else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
