#!/usr/bin/env python3
"""Trains the story model: a Llama of 1.2 million parameters, on one CPU core.

    python3 train_stories.py --work /tmp/stories            # train (resumes where it stopped)
    python3 train_stories.py --work /tmp/stories --export checkpoints/stories

Recall comes first: four layers that see text from the start did not learn to copy in three million
tokens, so two layers learn to copy, then see text, then grow. The stages:

  copy      2 layers, repeated random segments only, short context
  mix       2 layers, half repeated segments, half stories
  grow      4 layers (the two new ones begin as the identity), mostly stories, context 256
  lengthen  context 512
  settle    stories only, the learning rate falls
  long      context 1024, stories only

Every training row begins with BOS at position 0; documents inside a row are separated by EOS. The
answers to the questions weigh four times as much as other tokens. Same seed, same library versions
and same kind of processor: same weights (one thread, deterministic kernels).
"""

import argparse
import dataclasses
import json
import math
import os
import pathlib
import random
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import stories
from llama import Llama, save_directory

BOS, EOS = 0, 1
VOCAB = 1344
TOKENIZER_SEED, TRAINING_SEED, HELD_OUT_SEED = 2_000_000_000, 1, 1_000_000_000
CONFIG = dict(
    vocab_size=VOCAB, hidden_size=128, intermediate_size=384, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, head_dim=64, max_position_embeddings=1024,
    rms_norm_eps=1e-5, rope_theta=10000.0)


@dataclasses.dataclass
class Stage:
    name: str
    steps: int
    rows: int
    length: int
    rate: float        # peak learning rate
    final_rate: float  # reached by a cosine after `steps`, or after `horizon` where that is given
    copies: float      # share of rows that are repeated segments
    segment: int       # longest repeated segment
    longest: int       # sentences in the longest story
    grow: int = 0      # layers to append before the stage
    horizon: int = 0


STAGES = (
    Stage("copy", 700, 32, 128, 3e-3, 1.5e-3, 1.0, 48, 0),
    Stage("mix", 500, 16, 256, 2e-3, 1.5e-3, 0.5, 64, 30),
    Stage("grow", 1600, 8, 256, 2e-3, 1.2e-3, 0.125, 96, 30, grow=2),
    Stage("lengthen", 300, 8, 512, 1.2e-3, 2e-4, 0.125, 192, 60, horizon=1200),
    Stage("settle", 400, 8, 512, 1.1e-3, 1e-4, 0.0, 192, 60),
    Stage("long", 40, 8, 1024, 2e-4, 3e-5, 0.0, 384, 110),
)


def train_tokenizer():
    """Byte-level BPE with the GPT-2 pre-tokenizer; BOS is put first by the post-processor."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=["<|begin|>", "<|end|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        (stories.story(TOKENIZER_SEED + i).text for i in range(3000)), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", pair="<|begin|> $A $B", special_tokens=[("<|begin|>", BOS)])
    return tokenizer


class Rows:
    """Draws training rows; the position in the endless text is part of the saved state."""

    def __init__(self, tokenizer, seed):
        self.tokenizer, self.next_story = tokenizer, seed
        self.rng = random.Random(seed)

    def story_row(self, length, longest):
        """Tokens and weights of length + 1: BOS, then stories with EOS between them."""
        ids, weights = [BOS], [0.0]
        while len(ids) < length + 1:
            s = stories.story(self.next_story, longest)
            self.next_story += 1
            encoded = self.tokenizer.encode(s.text, add_special_tokens=False)
            weight = [1.0] * len(encoded.ids)
            answers = [(q.answer_start, q.answer_end) for q in s.questions]
            for i, (begin, end) in enumerate(encoded.offsets):
                if any(a <= begin and end <= b for a, b in answers):
                    weight[i] = 4.0
            ids += encoded.ids + [EOS]
            weights += weight + [1.0]
        return ids[: length + 1], weights[: length + 1]

    def copy_row(self, length, segment):
        """BOS, then a random segment repeated; the first copy is unpredictable: weight zero."""
        n = 8 + int(self.rng.random() * (segment - 7))
        piece = [2 + int(self.rng.random() * (VOCAB - 2)) for _ in range(n)]
        ids = ([BOS] + piece * (length // n + 1))[: length + 1]
        return ids, [0.0] * min(n + 2, length + 1) + [1.0] * max(0, length - n - 1)

    def batch(self, stage):
        rows = []
        for i in range(stage.rows):
            # The same share in every batch.
            copies = int((i + 1) * stage.copies + 1e-9) > int(i * stage.copies + 1e-9)
            rows.append(self.copy_row(stage.length, stage.segment) if copies
                        else self.story_row(stage.length, stage.longest))
        ids = torch.tensor([r[0] for r in rows])
        weights = torch.tensor([r[1] for r in rows])
        return ids, weights


def recall(model, length, segment, rows=16):
    """Share of tokens after the first copy that are predicted right."""
    source = Rows(None, HELD_OUT_SEED)
    right = total = 0
    for _ in range(rows):
        ids, weights = source.copy_row(length, segment)
        x = torch.tensor([ids])
        with torch.no_grad():
            hit = model(x[:, :-1]).argmax(-1) == x[:, 1:]
        scored = torch.tensor([weights])[:, 1:] > 0
        right, total = right + int((hit & scored).sum()), total + int(scored.sum())
    return right / total


def held_out(model, tokenizer, length, longest, rows=12):
    """Mean loss in nat per token on stories never seen, and the share of answer tokens right."""
    source = Rows(tokenizer, HELD_OUT_SEED)
    loss = tokens = right = answers = 0.0
    for _ in range(rows):
        ids, weights = source.story_row(length, longest)
        x, w = torch.tensor([ids]), torch.tensor([weights])[:, 1:]
        with torch.no_grad():
            logits = model(x[:, :-1])
        loss += float(F.cross_entropy(logits[0], x[0, 1:], reduction="sum"))
        tokens += x.shape[1] - 1
        right += float(((logits.argmax(-1) == x[:, 1:]) & (w > 1)).sum())
        answers += float((w > 1).sum())
    return loss / tokens, right / answers


def optimiser(model):
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    return torch.optim.AdamW(
        [dict(params=matrices, weight_decay=0.1), dict(params=vectors, weight_decay=0.0)],
        lr=1e-3, betas=(0.9, 0.95), eps=1e-8)


def train(work, log_every, save_every):
    tokenizer_file, state_file = work / "tokenizer.json", work / "state.pt"
    if not tokenizer_file.exists():
        train_tokenizer().save(str(tokenizer_file))
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    torch.manual_seed(TRAINING_SEED)
    model = Llama(dict(CONFIG))
    data = Rows(tokenizer, TRAINING_SEED)
    first_stage = first_step = tokens = 0
    adam_state = None
    if state_file.exists():
        state = torch.load(state_file, weights_only=False)
        torch.set_rng_state(state["torch"])
        while model.config["num_hidden_layers"] < state["layers"]:
            model.grow(2)
        model.load_state_dict(state["model"])
        torch.set_rng_state(state["torch"])
        first_stage, first_step, tokens = state["stage"], state["step"], state["tokens"]
        data.next_story = state["next_story"]
        data.rng.setstate(state["rng"])
        adam_state = state["adam"]

    for number in range(first_stage, len(STAGES)):
        stage = STAGES[number]
        if first_step == 0 and stage.grow:
            model.grow(stage.grow)
        adam = optimiser(model)
        if adam_state is not None:
            adam.load_state_dict(adam_state)
            adam_state = None
        began = time.monotonic()
        for step in range(first_step, stage.steps):
            progress = step / (stage.horizon or stage.steps)
            rate = stage.final_rate + 0.5 * (stage.rate - stage.final_rate) * (
                1 + math.cos(math.pi * progress))
            rate *= min(1.0, (step + 1) / (100 if number == 0 else 30))
            for group in adam.param_groups:
                group["lr"] = rate
            ids, weights = data.batch(stage)
            logits = model(ids[:, :-1])
            w = weights[:, 1:].flatten()
            losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
            loss = (losses * w).sum() / w.sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            adam.step()
            adam.zero_grad(set_to_none=True)
            tokens += stage.rows * stage.length
            if (step + 1) % log_every == 0 or step + 1 == stage.steps:
                note = f"copies {recall(model, stage.length, stage.segment):.1%}"
                if stage.longest:
                    nll, right = held_out(model, tokenizer, stage.length, stage.longest)
                    note += f"  held-out loss {nll:.3f}  answer tokens {right:.1%}"
                rate_seen = (step + 1 - first_step) * stage.rows * stage.length / (
                    time.monotonic() - began)
                print(f"{stage.name} {step + 1}/{stage.steps}  {tokens / 1e6:.2f}M tokens  "
                      f"loss {loss.detach():.3f}  {note}  {rate_seen:.0f} tokens/s", flush=True)
            last = step + 1 == stage.steps
            if (step + 1) % save_every == 0 or last:
                torch.save(dict(
                    model=model.state_dict(), layers=model.config["num_hidden_layers"],
                    stage=number + last, step=0 if last else step + 1, tokens=tokens,
                    next_story=data.next_story, rng=data.rng.getstate(),
                    torch=torch.get_rng_state(),
                    adam=None if last else adam.state_dict()), work / "state.tmp")
                (work / "state.tmp").rename(state_file)
        first_step = 0


def export(work, folder):
    state = torch.load(work / "state.pt", weights_only=False)
    if state["stage"] < len(STAGES):
        print(f"note: training stands in stage '{STAGES[state['stage']].name}'", file=sys.stderr)
    model = Llama(dict(CONFIG))
    while model.config["num_hidden_layers"] < state["layers"]:
        model.grow(2)
    model.load_state_dict(state["model"])
    save_directory(model, folder, torch.bfloat16, BOS, EOS)
    (folder / "tokenizer.json").write_text((work / "tokenizer.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin|>",
        "eos_token": "<|end|>", "add_bos_token": True, "model_max_length": 1024,
        "clean_up_tokenization_spaces": False}, indent=2, sort_keys=True) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for the state")
    parser.add_argument("--export", type=pathlib.Path, help="write the checkpoint there and stop")
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--save-every", type=int, default=100)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    args.work.mkdir(parents=True, exist_ok=True)
    if args.export:
        export(args.work, args.export)
    else:
        train(args.work, args.log_every, args.save_every)


if __name__ == "__main__":
    main()
