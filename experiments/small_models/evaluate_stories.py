#!/usr/bin/env python3
"""Measures the story model with transformers: perplexity, recall by distance and kind, samples.

    python3 evaluate_stories.py checkpoints/stories [--stories 300] [--json rows.json]

The stories are never-seen ones (seeds from 1,000,000,000 on). A question counts as answered when
every token of the answer is the most probable one, which is what greedy decoding would write.
Distance is the number of tokens from the end of the sentence that states the fact to the start of
the answer.
"""

import argparse
import collections
import json
import math
import os
import pathlib

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
import torch.nn.functional as F
import transformers

import stories

HELD_OUT_SEED = 1_000_000_000
DISTANCES = (0, 32, 64, 128, 256, 512, 1024)


def guessed(model, tokenizer, q, other):
    """Whether the question gets the same answer after another story, which does not state it."""
    asked = f"{other.text.partition('Question:')[0]}Question: {q.question}\nAnswer:"
    begin = len(tokenizer(asked)["input_ids"])
    ids = tokenizer(f"{asked} {q.answer}\n")["input_ids"][: model.config.max_position_embeddings]
    with torch.no_grad():
        best = model(torch.tensor([ids])).logits[0].argmax(-1).tolist()
    return all(best[k - 1] == ids[k] for k in range(begin, len(ids)))


def evaluate(model, tokenizer, count, longest):
    """Loss sums over whole stories, and per question (kind, distance, right, guessed)."""
    nats = tokens = characters = 0
    questions = []
    for i in range(count):
        s = stories.story(HELD_OUT_SEED + i, longest)
        other = stories.story(HELD_OUT_SEED - 1 - i, 20)
        encoded = tokenizer(s.text, return_offsets_mapping=True)
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
        if len(ids) > model.config.max_position_embeddings:
            continue
        x = torch.tensor([ids])
        with torch.no_grad():
            logits = model(x).logits[0, :-1].float()
        nats += float(F.cross_entropy(logits, x[0, 1:], reduction="sum"))
        tokens += len(ids) - 1
        characters += len(s.text)
        best = logits.argmax(-1).tolist()
        for q in s.questions:
            answer = [k for k, (b, e) in enumerate(offsets)
                      if k > 0 and q.answer_start <= b and e <= q.answer_end]
            stated = max(k for k, (b, e) in enumerate(offsets) if 0 < e <= q.stated_end)
            right = all(best[k - 1] == ids[k] for k in answer)
            questions.append(
                (q.kind, answer[0] - stated, right, guessed(model, tokenizer, q, other)))
    return nats, tokens, characters, questions


def share(hits):
    """Share with the half width of its 95 % interval."""
    p = sum(hits) / len(hits)
    return f"{p:6.1%} +- {1.96 * math.sqrt(max(p * (1 - p), 1e-9) / len(hits)):.1%} of {len(hits)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("--stories", type=int, default=300)
    parser.add_argument("--longest", type=int, default=60)
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.checkpoint)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        args.checkpoint, dtype=torch.float32).eval()
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")

    nats, tokens, characters, questions = evaluate(model, tokenizer, args.stories, args.longest)
    print(f"held-out: {nats / tokens:.4f} nat per token, perplexity {math.exp(nats / tokens):.3f}, "
          f"{nats / math.log(2) / characters:.4f} bits per byte, {tokens} tokens")
    by = collections.defaultdict(list)
    for kind, distance, right, guess in questions:
        upper = next(d for d in DISTANCES if distance <= d)
        lower = DISTANCES[DISTANCES.index(upper) - 1]
        by[f"distance {lower + 1:4} to {upper:4}"].append(right)
        by[f"kind {kind}"].append(right)
        by["all questions"].append(right)
        by["after another story"].append(guess)
    for key in sorted(by):
        print(f"  {key:24} {share(by[key])}")

    question = stories.story(HELD_OUT_SEED + 7).text.split("Answer:")[0] + "Answer:"
    for prompt, options in (
            ("Once upon a time", dict(do_sample=False)), (question, dict(do_sample=False)),
            ("Once upon a time", dict(do_sample=True, temperature=0.8, top_k=0))):
        torch.manual_seed(1)
        x = tokenizer(prompt, return_tensors="pt")
        out = model.generate(**x, max_new_tokens=120, **options)
        print(f"\n--- {options}\n" + tokenizer.decode(out[0], skip_special_tokens=True))
    if args.json:
        args.json.write_text(json.dumps({
            "nats_per_token": nats / tokens, "bits_per_byte": nats / math.log(2) / characters,
            "tokens": tokens,
            "recall": {k: [sum(v), len(v)] for k, v in sorted(by.items())}}, indent=2) + "\n")


if __name__ == "__main__":
    main()
