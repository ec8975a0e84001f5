#!/usr/bin/env python3
"""Makes llama_bitsandbytes_nf4, _fp4 and _int8: a tiny llama whose linear layers bitsandbytes has rounded and
named as it saves them, and the logits that transformers computes from the weights it dequantises.

    pip install bitsandbytes==0.50.2 torch==2.15.0 transformers==5.23.0 safetensors==0.8.0
    python3 tests/golden/models/make_bitsandbytes.py
    python3 tests/golden/models/make_bitsandbytes.py --read DIR    # does it read what was saved in DIR?

Same files as make.py writes. NF4 with double quantisation, FP4 without. Codes and scales come from
bitsandbytes.functional on a processor, their names from QuantState.as_dict(packed=True) and, for 8 bits, from
Linear8bitLt: its modules themselves want a GPU for some of this.
"""

import argparse
import json
import pathlib
import shutil

import torch
import transformers
from bitsandbytes import functional
from safetensors.torch import load_file, save_file

import make

HERE = pathlib.Path(__file__).resolve().parent
KINDS = {"nf4": True, "fp4": False, "int8": False}  # and whether scales are quantised too


def config_of(kind):
    if kind == "int8":
        return {"quant_method": "bitsandbytes", "load_in_8bit": True, "load_in_4bit": False,
                "llm_int8_threshold": 6.0}
    return {"quant_method": "bitsandbytes", "load_in_8bit": False, "load_in_4bit": True,
            "bnb_4bit_quant_type": kind, "bnb_4bit_use_double_quant": KINDS[kind],
            "bnb_4bit_compute_dtype": "float32", "bnb_4bit_quant_storage": "uint8"}


def rounded(kind, name, weight):
    """Tensors of one layer as they are saved, and the weights that they stand for."""
    if kind == "int8":
        codes, scales, _ = functional.int8_vectorwise_quant(weight)
        tensors = {f"{name}.weight": codes, f"{name}.SCB": scales,
                   f"{name}.weight_format": torch.tensor(0, dtype=torch.uint8)}
        return tensors, functional.int8_vectorwise_dequant(codes, scales)
    packed, state = functional.quantize_4bit(
        weight, blocksize=64, compress_statistics=KINDS[kind], quant_type=kind)
    tensors = {f"{name}.weight": packed}
    for key, value in state.as_dict(packed=True).items():
        tensors[f"{name}.weight.{key}"] = value
    return tensors, functional.dequantize_4bit(packed, state)


def make_one(kind, seed):
    config = transformers.LlamaConfig(**make.llama_like(
        hidden_size=64, intermediate_size=128, rope_parameters=make.theta(10000.0)))
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    make.fill(model, seed)
    folder = HERE / f"llama_bitsandbytes_{kind}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    stored = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("_proj.weight"):
                tensors, back = rounded(kind, name[:-len(".weight")], parameter.detach())
                stored.update(tensors)
                parameter.copy_(back)
            else:
                stored[name] = parameter.detach().clone()
    save_file({key: value.contiguous() for key, value in stored.items()},
              folder / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder)
    make.rewrite_config(folder / "config.json", False)
    text = json.loads((folder / "config.json").read_text())
    text["quantization_config"] = config_of(kind)
    (folder / "config.json").write_text(json.dumps(text, indent=2, sort_keys=True) + "\n")
    model.double()
    if not make.save_golden(model, config, folder, seed, "bitsandbytes"):
        return False
    print(f"{folder.name}: {sum(f.stat().st_size for f in folder.iterdir())} bytes, seed {seed}")
    return True


def read(folder):
    """Reads a directory that Quire saved, with bitsandbytes' own reader."""
    tensors = load_file(folder / "model.safetensors")
    for key in sorted(tensors):
        if ".quant_state." in key:
            name = key.split(".quant_state.")[0]
            parts = {k[len(name) + 1:]: v for k, v in tensors.items() if k.startswith(name + ".")}
            state = functional.QuantState.from_dict(parts, device="cpu")
            values = functional.dequantize_4bit(tensors[name], state)
        elif key.endswith(".SCB"):
            name = key[:-len("SCB")] + "weight"
            values = functional.int8_vectorwise_dequant(tensors[name], tensors[key])
        else:
            continue
        print(f"{name}: {tuple(values.shape)} {values.dtype}, mean magnitude {values.abs().mean():.6f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--read", type=pathlib.Path, metavar="DIR")
    args = parser.parse_args()
    if args.read:
        return read(args.read)
    torch.set_num_threads(1)
    for kind in KINDS:
        if not any(make_one(kind, seed) for seed in range(17, 60)):
            raise SystemExit(f"{kind}: no seed leaves a lead in the greedy continuations")


if __name__ == "__main__":
    main()
