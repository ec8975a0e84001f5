#!/usr/bin/env python3
"""Trains the byte-level model to be rounded: its last stage again, with the layers' weights rounded in every forward pass.

    python3 train_qat.py --work /tmp/qat --bits 3                    # train (resumes where it stopped)
    python3 train_qat.py --work /tmp/qat --bits 3 --export /tmp/qat_int3
    quire convert /tmp/qat_int3 checkpoints/qat_int3_g128 --weight-format int3_zero_point_g128
    python3 train_qat.py --golden tests/golden/formats/fake_quantised.jsonl

The rounding is that of the engine's int<bits>_zero_point_g128 (weight_format/grouped.hpp, round_to_nearest): 128 neighbouring
inputs of an output share an fp16 scale and a zero point, from the least to the largest of the weights that they have at this
step. Gradients pass through it as if it were not there (straight-through: Bengio et al., 2013; the weights that are learned stay
in fp32). Embedding, norms and output matrix are not rounded.

What training alone does must not be credited to it. So it replaces the last stage of train_bytes.py, 300 of 1,600 steps and 19 %
of the bytes: `--bits 16` is the same stage without rounding and gives checkpoints/bytes again, bit for bit. Rows, rates and
optimiser are the same, only the rounding differs. The stem, all stages but the last, is trained first; `--stem` takes the state
of train_bytes.py at that step from elsewhere.
"""

import argparse
import json
import pathlib
import shutil

import torch
import torch.nn.functional as F
from torch import nn

import train_bytes
from llama import Llama
from train_bytes import CONFIG, STAGES, STEPS, TRAINING_SEED, Batches, fit, judge, loaded, save, trained

GROUP = 128
STEM = STEPS - STAGES[-1][0]


def rounded(weights, bits, group=GROUP):
    """What int<bits>_zero_point_g<group> makes of weights (outputs, inputs), in the engine's own order of operations."""
    most = float(2**bits - 1)
    groups = weights.reshape(weights.shape[0], -1, group)
    zero = torch.zeros((), dtype=torch.float32)
    low, high = torch.minimum(groups.amin(-1, True), zero), torch.maximum(groups.amax(-1, True), zero)
    scale = torch.minimum((high - low) / most, torch.tensor(65504.0)).half().float()
    # A scale below the least normal number counts as zero.
    inverse = torch.where(scale >= 2.0**-126, 1.0 / scale, zero)
    zeros = torch.round(-low * inverse).clamp(0, most)
    codes = (torch.round(groups * inverse) + zeros).clamp(0, most)
    return (scale * codes - scale * zeros).reshape(weights.shape)


def rounding(model, bits):
    """The model with its layers' matrices rounded whenever they are used."""
    def patched(layer):
        def forward(x):
            with torch.no_grad():
                step = rounded(layer.weight, bits) - layer.weight
            return F.linear(x, layer.weight + step)
        return forward
    for layer in model.model.layers.modules():
        if isinstance(layer, nn.Linear):
            layer.forward = patched(layer)
    return model


def train(work, stem, bits, log_every):
    folder = work / f"int{bits}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "state.pt").exists():
        if stem is None:
            stem = work / "stem" / "state.pt"
            stem.parent.mkdir(exist_ok=True)
            train_bytes.train(stem.parent, log_every, STEM)
        shutil.copyfile(stem, folder / "state.tmp")
        (folder / "state.tmp").rename(folder / "state.pt")
    model = Llama(dict(CONFIG))
    if bits < 16:
        rounding(model, bits)
    fit(model, Batches(TRAINING_SEED, TRAINING_SEED), folder, log_every)


def export(work, bits, folder):
    """The learned weights before they are rounded: matrices of layers in fp32, so that the engine's rounding is training's."""
    model = trained(work / f"int{bits}", CONFIG, STEPS)
    if bits == 16:
        save(model, folder)
        return
    save(model, folder, lambda name: torch.float32 if "_proj" in name else torch.bfloat16)


def golden(path):
    """Rows of weights and what rounding makes of them, as bits of fp32, for the engine's test."""
    torch.manual_seed(11)
    rows = [torch.randn(GROUP) * 0.05, torch.rand(GROUP) * 0.1 + 0.01, -torch.rand(GROUP), torch.zeros(GROUP),
            torch.randn(GROUP) * 1e-7, torch.randn(GROUP) * 3e-6, torch.arange(GROUP) / 64 - 1.0,
            (torch.randint(-9, 9, (GROUP,)) * 0.5).float(), torch.randn(GROUP).bfloat16().float() * 0.02,
            F.one_hot(torch.tensor(77), GROUP) * 1e6]
    with open(path, "w") as file:
        for bits in (4, 3, 2):
            for row in rows:
                row = row.float()
                file.write(json.dumps(dict(
                    bits=bits, weights=row.view(torch.int32).tolist(),
                    rounded=rounded(row[None], bits)[0].view(torch.int32).tolist()), separators=(",", ":")) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=pathlib.Path, help="folder for the states of the trainings")
    parser.add_argument("--bits", type=int, choices=(16, 4, 3, 2), default=3, help="of a weight; 16: not rounded")
    parser.add_argument("--stem", type=pathlib.Path, help=f"state.pt of train_bytes.py at step {STEM}")
    parser.add_argument("--export", type=pathlib.Path, help="write the learned weights there and stop")
    parser.add_argument("--judge", type=pathlib.Path, help="a folder in floats: print its bits a byte rounded, and stop")
    parser.add_argument("--golden", type=pathlib.Path, help="write rows for the engine's test and stop")
    parser.add_argument("--log-every", type=int, default=50)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if args.golden:
        golden(args.golden)
    elif args.judge:
        model = loaded(args.judge, CONFIG)
        print(f"bits a byte, rounded to {args.bits} bits: held-out prose {{:.3f}}, held-out stories {{:.3f}}".format(
            *judge(rounding(model, args.bits) if args.bits < 16 else model)))
    elif args.work is None:
        parser.error("--work, --judge or --golden is needed")
    elif args.export:
        export(args.work, args.bits, args.export)
    else:
        train(args.work, args.stem, args.bits, args.log_every)


if __name__ == "__main__":
    main()
