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


def stage_of(step):
    for steps, rows, length in STAGES:
        if step < steps:
            return rows, length
        step -= steps
    raise ValueError("after the last step")


def rate_at(step):
    cosine = FINAL_RATE + 0.5 * (RATE - FINAL_RATE) * (1 + math.cos(math.pi * step / STEPS))
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


def train(work, log_every):
    torch.manual_seed(TRAINING_SEED)
    model = Llama(dict(CONFIG))
    adam = optimiser(model)
    stories = Rows(Tokenizer.from_file(str(INDUCTION / "tokenizer.json")), TRAINING_SEED)
    chapters = Prose(prose.training(), TRAINING_SEED)
    first = 0
    if (work / "state.pt").exists():
        state = torch.load(work / "state.pt", weights_only=False)
        model.load_state_dict(state["model"])
        adam.load_state_dict(state["adam"])
        first, stories.next_story = state["step"], state["next_story"]
        chapters.go_to(state["chapters"])
    began, seen = time.monotonic(), 0
    for step in range(first, STEPS):
        count, length = stage_of(step)
        for group in adam.param_groups:
            group["lr"] = rate_at(step)
        ids = torch.tensor([stories.story_row(length, LONGEST)[0] if i % 4 == 3 else chapters.row(length)
                            for i in range(count)])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(ids[:, :-1])
        loss = F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad(set_to_none=True)
        seen += count * length
        if (step + 1) % log_every == 0 or step + 1 == STEPS:
            of_prose, of_stories = judge(model, 256, 8)
            print(f"{step + 1}/{STEPS}  loss {loss.detach():.3f}  held-out prose {of_prose:.3f}, stories {of_stories:.3f} "
                  f"bits a byte  {seen / (time.monotonic() - began):.0f} bytes/s", flush=True)
            torch.save(dict(model=model.state_dict(), adam=adam.state_dict(), step=step + 1,
                            next_story=stories.next_story, chapters=chapters.state()),
                       work / "state.tmp")
            (work / "state.tmp").rename(work / "state.pt")


def export(work, folder):
    state = torch.load(work / "state.pt", weights_only=False)
    if state["step"] < STEPS:
        raise SystemExit(f"training stands at step {state['step']} of {STEPS}")
    model = Llama(dict(CONFIG))
    model.load_state_dict(state["model"])
    save_directory(model, folder, torch.bfloat16, BOS, EOS)
    shutil.copyfile(INDUCTION / "tokenizer.json", folder / "tokenizer.json")
    settings = json.loads((INDUCTION / "tokenizer_config.json").read_text())
    settings["model_max_length"] = CONFIG["max_position_embeddings"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


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
        model = Llama(dict(CONFIG))
        weights = {k: v.float() for k, v in load_file(args.judge / "model.safetensors").items()}
        model.load_state_dict(weights)
        print("bits a byte: held-out prose {:.3f}, held-out stories {:.3f}".format(*judge(model)))
        return
    if args.work is None:
        parser.error("--work or --judge is needed")
    args.work.mkdir(parents=True, exist_ok=True)
    if args.export:
        export(args.work, args.export)
    else:
        train(args.work, args.log_every)


if __name__ == "__main__":
    main()
