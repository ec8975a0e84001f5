#!/usr/bin/env python3
"""Makes llama_compressed_int4, _int8 and _fp8: a tiny llama whose linear layers compressed-tensors has rounded, packed
and named, and the logits that transformers computes from the weights that it decompresses.

    pip install compressed-tensors==0.20.0 torch==2.15.0 transformers==5.23.0 safetensors==0.8.0
    python3 tests/golden/models/make_compressed_tensors.py

Same files as make.py writes. int4: pack-quantized in groups of 32 with zero points; int8 and fp8: a scale a channel, as
W8A8 checkpoints have them; what they say of activations is left out, as the logits are of the weights alone.
"""

import json
import pathlib
import shutil

import torch
import transformers
from compressed_tensors.compressors.naive_quantized.base import NaiveQuantizationCompressor
from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import save_file

import make

HERE = pathlib.Path(__file__).resolve().parent
KINDS = {
    "int4": ("pack-quantized", PackedQuantizationCompressor,
             dict(num_bits=4, type="int", symmetric=False, strategy="group", group_size=32)),
    "int8": ("int-quantized", NaiveQuantizationCompressor,
             dict(num_bits=8, type="int", symmetric=True, strategy="channel")),
    "fp8": ("float-quantized", NaiveQuantizationCompressor,
            dict(num_bits=8, type="float", symmetric=True, strategy="channel")),
}


def rounded(kind, name, weight):
    """Tensors of one layer as they are saved, and the weights that they stand for."""
    _, compressor, numbers = KINDS[kind]
    args = QuantizationArgs(**numbers)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    weight = weight.half()  # scales take the type of the weights
    groups = weight.reshape(weight.shape[0], -1, args.group_size or weight.shape[1])
    scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), args)
    state = {"weight": weight, "weight_scale": scale, "weight_zero_point": zero}
    packed = compressor.compress(state, scheme)
    # In fp32, so that the logits are those of the numbers stored and not of their products in fp16.
    exact = {**packed, "weight_scale": packed["weight_scale"].float()}
    back = compressor.decompress(exact, scheme)["weight"]
    return {f"{name}.{key}": value for key, value in packed.items()}, back


def make_one(kind, seed):
    config = transformers.LlamaConfig(**make.llama_like(
        hidden_size=64, intermediate_size=128, rope_parameters=make.theta(10000.0)))
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    make.fill(model, seed)
    folder = HERE / f"llama_compressed_{kind}"
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
    form, _, numbers = KINDS[kind]
    text["quantization_config"] = {
        "quant_method": "compressed-tensors", "format": form, "ignore": ["lm_head"],
        "quantization_status": "compressed",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": numbers}}}
    (folder / "config.json").write_text(json.dumps(text, indent=2, sort_keys=True) + "\n")
    model.double()
    if not make.save_golden(model, config, folder, seed, "compressed-tensors"):
        return False
    print(f"{folder.name}: {sum(f.stat().st_size for f in folder.iterdir())} bytes, seed {seed}")
    return True


def main():
    torch.set_num_threads(1)
    for kind in KINDS:
        if not any(make_one(kind, seed) for seed in range(17, 60)):
            raise SystemExit(f"{kind}: no seed leaves a lead in the greedy continuations")


if __name__ == "__main__":
    main()
