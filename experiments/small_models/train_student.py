#!/usr/bin/env python3
"""Trains a student of 0.3 million parameters beside its teacher, the byte-level model, on one CPU core.

    python3 train_student.py --work /tmp/student --objective kd --seed 1    # train (resumes where it stopped)
    python3 train_student.py --work /tmp/student --objective kd --seed 1 --export checkpoints/student_kd_1
    python3 train_student.py --judge checkpoints/student_kd_1               # bits a byte, and how near the teacher

Three objectives, each on the same batches in the same order where the seed is the same, so that the tokens are equal:

  ce       cross entropy with the text alone
  kd       (1 - lambda) cross entropy + lambda T^2 KL(teacher || student), both distributions at temperature T
           (Hinton et al., 2015): lambda 0.5, T 2
  reverse  the same with KL(student || teacher), which leaves out what the student cannot hold (MiniLLM, 2024) - here on the
           text, where MiniLLM takes the student's own samples

It never sees more than 256 bytes at once, and beyond them it is not to be asked: its context is as long.

Two layers, hidden 128, ffn 256, two query heads and one KV head of 64, so that every KV format works. Rows of 128 and 256
inputs: formats of groups up to 128 work, super-blocks of 256 would be half empty. The text is that of train_bytes.py in another
order; the seed decides it and the first weights. Products are in bfloat16, weights, sums and losses in fp32. Same seed, same
library versions and same kind of processor: same weights (one thread, deterministic kernels).
"""

import argparse
import pathlib

import torch
import torch.nn.functional as F

import prose
import train_bytes
from llama import Llama
from train_bytes import Batches, Prose, cross_entropy, fit, judge, loaded, save, trained

TEACHER = train_bytes.HERE / "checkpoints" / "bytes"
CONFIG = dict(
    vocab_size=258, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, head_dim=64, max_position_embeddings=256, rms_norm_eps=1e-5, rope_theta=10000.0)
STAGES = ((600, 16, 256),)  # steps, rows, bytes a row
TEMPERATURE, LAMBDA = 2.0, 0.5
OBJECTIVES = ("ce", "kd", "reverse")


def divergence(of, from_, temperature):
    """KL(of || from_), nat a token; both are logits (B, T, vocab)."""
    p, q = (F.log_softmax(x / temperature, -1) for x in (of, from_))
    return (p.exp() * (p - q)).sum(-1).mean()


def distilling(teacher, reverse):
    """The loss of a student whose teacher reads the same rows."""
    def loss(logits, ids):
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            expected = teacher(ids[:, :-1]).float()
        pair = (logits, expected) if reverse else (expected, logits)
        return (1 - LAMBDA) * cross_entropy(logits, ids) + LAMBDA * TEMPERATURE**2 * divergence(*pair, TEMPERATURE)
    return loss


def train(work, objective, seed, log_every):
    teacher = loaded(TEACHER, train_bytes.CONFIG)
    torch.manual_seed(seed)
    # Stories that neither the teacher saw nor a student of another seed.
    fit(Llama(dict(CONFIG)), Batches(100 + seed, (100 + seed) * 1_000_000), work, log_every, STAGES,
        loss_of=cross_entropy if objective == "ce" else distilling(teacher, objective == "reverse"))


def nearness(student, teacher, rows=128, length=256):
    """KL(teacher || student) in nat a token and the share of equal most probable tokens, on the held-out book."""
    source = Prose(prose.held_out(), 0)
    nats, equal = [], []
    with torch.no_grad():
        for chunk in torch.tensor([source.row(length) for _ in range(rows)]).split(8):
            a, b = teacher(chunk[:, :-1]), student(chunk[:, :-1])
            nats.append(float(divergence(a, b, 1.0)))
            equal.append(float((a.argmax(-1) == b.argmax(-1)).float().mean()))
    return sum(nats) / len(nats), sum(equal) / len(equal)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=pathlib.Path, help="folder for the states of the trainings")
    parser.add_argument("--objective", choices=OBJECTIVES, default="kd")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--export", type=pathlib.Path, help="write the checkpoint there and stop")
    parser.add_argument("--judge", type=pathlib.Path, help="a checkpoint: print its bits a byte and stop")
    parser.add_argument("--log-every", type=int, default=50)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if args.judge:
        student = loaded(args.judge, CONFIG)
        print("bits a byte: held-out prose {:.3f}, held-out stories {:.3f}".format(*judge(student, 256, 128)))
        print("against the teacher: {:.4f} nat, {:.1%} of the most probable bytes".format(
            *nearness(student, loaded(TEACHER, train_bytes.CONFIG))))
        return
    if args.work is None:
        parser.error("--work or --judge is needed")
    work = args.work / f"{args.objective}_{args.seed}"
    work.mkdir(parents=True, exist_ok=True)
    if args.export:
        save(trained(work, CONFIG, sum(steps for steps, _, _ in STAGES)), args.export)
    else:
        train(work, args.objective, args.seed, args.log_every)


if __name__ == "__main__":
    main()
