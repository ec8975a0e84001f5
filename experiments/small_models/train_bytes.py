#!/usr/bin/env python3
"""Trains the byte-level model: a Llama of 1.8 million parameters whose tokens are bytes, on one CPU core.

    python3 train_bytes.py --work /tmp/bytes            # train (resumes where it stopped)
    python3 train_bytes.py --work /tmp/bytes --export checkpoints/bytes
    python3 train_bytes.py --judge checkpoints/bytes    # bits a byte of what it never saw

Three layers, hidden 256 and ffn 512, so that every matrix has rows of a multiple of 256 inputs: the super-blocks of ggml's
K-quants are then whole. Its tokenizer is that of the induction model: BOS 0, EOS 1, byte b is token 2 + b. Three rows of four
are prose of people (prose.py), one is stories (stories.py); every row begins with BOS, EOS ends a chapter or a story. Two
stages, of 256 bytes a row and of 512. Products are in bfloat16, weights and sums in fp32. Same seed, same library versions and
same kind of processor: same weights (one thread, deterministic kernels).
"""

import argparse
import json
import math
import os
import pathlib
import random
import shutil
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

import prose
from llama import Llama, save_directory
from train_stories import BOS, EOS, HELD_OUT_SEED, Rows, optimiser

HERE = pathlib.Path(__file__).resolve().parent
INDUCTION = HERE / "checkpoints" / "induction"
TRAINING_SEED = 3
CONFIG = dict(
    vocab_size=258, hidden_size=256, intermediate_size=512, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, head_dim=64, max_position_embeddings=1024, rms_norm_eps=1e-5, rope_theta=10000.0)
STAGES = ((1300, 16, 256), (300, 8, 512))  # steps, rows, bytes a row
STEPS = sum(steps for steps, _, _ in STAGES)
LONGEST = 20  # sentences of a story
RATE, FINAL_RATE, WARM_UP = 3e-3, 1e-4, 60


def stage_of(step, stages=STAGES):
    for steps, rows, length in stages:
        if step < steps:
            return rows, length
        step -= steps
    raise ValueError("after the last step")


def rate_at(step, steps=STEPS):
    cosine = FINAL_RATE + 0.5 * (RATE - FINAL_RATE) * (1 + math.cos(math.pi * step / steps))
    return cosine * min(1.0, (step + 1) / WARM_UP)


def encoded(text):
    return [2 + b for b in text.encode()]


class Prose:
    """Chapters in a shuffled order without end; a row goes on where the one before it stopped."""

    def __init__(self, texts, seed):
        self.texts, self.seed = [encoded(t) + [EOS] for t in texts], seed
        self.round = self.chapter = self.at = 0
        self.order = self.shuffled()

    def shuffled(self):
        order = list(range(len(self.texts)))
        random.Random(self.seed * 1000 + self.round).shuffle(order)
        return order

    def row(self, length):
        row = [BOS]
        while len(row) < length + 1:
            text = self.texts[self.order[self.chapter]]
            piece = text[self.at: self.at + length + 1 - len(row)]
            row += piece
            self.at += len(piece)
            if self.at == len(text):
                self.at, self.chapter = 0, self.chapter + 1
            if self.chapter == len(self.texts):
                self.chapter, self.round = 0, self.round + 1
                self.order = self.shuffled()
        return row

    def state(self):
        return self.round, self.chapter, self.at

    def go_to(self, state):
        self.round, self.chapter, self.at = state
        self.order = self.shuffled()


class Batches:
    """Three rows of prose and one of stories by turns; where it stands is part of the saved state."""

    def __init__(self, seed, first_story):
        self.stories = Rows(Tokenizer.from_file(str(INDUCTION / "tokenizer.json")), first_story)
        self.chapters = Prose(prose.training(), seed)

    def batch(self, rows, length):
        """Tokens, (rows, length + 1)."""
        return torch.tensor([self.stories.story_row(length, LONGEST)[0] if i % 4 == 3 else self.chapters.row(length)
                             for i in range(rows)])

    def state(self):
        return dict(next_story=self.stories.next_story, chapters=self.chapters.state())

    def go_to(self, state):
        self.stories.next_story = state["next_story"]
        self.chapters.go_to(state["chapters"])


def bits(model, rows):
    """Bits a byte, BOS not counted."""
    with torch.no_grad():
        losses = [F.cross_entropy(model(r[:, :-1]).flatten(0, 1), r[:, 1:].flatten()) for r in rows.split(8)]
    return float(sum(losses) / len(losses)) / math.log(2)


def judge(model, length=512, rows=64):
    """Bits a byte of the held-out book and of stories of seeds that training never uses."""
    source = Prose(prose.held_out(), 0)
    stories = Rows(Tokenizer.from_file(str(INDUCTION / "tokenizer.json")), HELD_OUT_SEED)
    return (bits(model, torch.tensor([source.row(length) for _ in range(rows)])),
            bits(model, torch.tensor([stories.story_row(length, LONGEST)[0] for _ in range(rows)])))


def cross_entropy(logits, ids):
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def fit(model, batches, work, log_every, stages=STAGES, last=None, loss_of=cross_entropy):
    """Trains up to step `last` (all of them by default), from where the state in `work` stands.

    loss_of(logits (B, T, vocab) in fp32, tokens (B, T + 1)) is what is made smaller.
    """
    steps = sum(s for s, _, _ in stages)
    last = last or steps
    adam = optimiser(model)
    first = 0
    if (work / "state.pt").exists():
        state = torch.load(work / "state.pt", weights_only=False)
        model.load_state_dict(state["model"])
        adam.load_state_dict(state["adam"])
        batches.go_to(state)
        first = state["step"]
    began, seen = time.monotonic(), 0
    for step in range(first, last):
        rows, length = stage_of(step, stages)
        for group in adam.param_groups:
            group["lr"] = rate_at(step, steps)
        ids = batches.batch(rows, length)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(ids[:, :-1])
        loss = loss_of(logits.float(), ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad(set_to_none=True)
        seen += rows * length
        if (step + 1) % log_every == 0 or step + 1 == last:
            of_prose, of_stories = judge(model, 256, 8)
            spent = time.monotonic() - began
            print(f"{step + 1}/{steps}  loss {loss.detach():.3f}  held-out prose {of_prose:.3f}, stories {of_stories:.3f} "
                  f"bits a byte  {seen / spent:.0f} bytes/s, {spent:.0f} s", flush=True)
            torch.save(dict(model=model.state_dict(), adam=adam.state_dict(), step=step + 1, **batches.state()),
                       work / "state.tmp")
            (work / "state.tmp").rename(work / "state.pt")


def train(work, log_every, last=None):
    torch.manual_seed(TRAINING_SEED)
    fit(Llama(dict(CONFIG)), Batches(TRAINING_SEED, TRAINING_SEED), work, log_every, last=last)


def trained(work, config, steps):
    """The model of a training that is over."""
    state = torch.load(work / "state.pt", weights_only=False)
    if state["step"] < steps:
        raise SystemExit(f"training stands at step {state['step']} of {steps}")
    model = Llama(dict(config))
    model.load_state_dict(state["model"])
    return model


def save(model, folder, dtype_of=None):
    """As a Hugging Face directory with the tokenizer of bytes, in bfloat16 or as dtype_of(name) says."""
    save_directory(model, folder, torch.bfloat16, BOS, EOS, dtype_of)
    shutil.copyfile(INDUCTION / "tokenizer.json", folder / "tokenizer.json")
    settings = json.loads((INDUCTION / "tokenizer_config.json").read_text())
    settings["model_max_length"] = model.config["max_position_embeddings"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


def loaded(folder, config):
    """The model of a checkpoint, in fp32."""
    model = Llama(dict(config))
    model.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=pathlib.Path, help="folder for the state of the training")
    parser.add_argument("--export", type=pathlib.Path, help="write the checkpoint there and stop")
    parser.add_argument("--judge", type=pathlib.Path, help="a checkpoint: print its bits a byte and stop")
    parser.add_argument("--log-every", type=int, default=50)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if args.judge:
        print("bits a byte: held-out prose {:.3f}, held-out stories {:.3f}".format(*judge(loaded(args.judge, CONFIG))))
        return
    if args.work is None:
        parser.error("--work or --judge is needed")
    args.work.mkdir(parents=True, exist_ok=True)
    if args.export:
        save(trained(args.work, CONFIG, STEPS), args.export)
    else:
        train(args.work, args.log_every)


if __name__ == "__main__":
    main()
