#!/usr/bin/env python3
"""Makes llama_gptq_int4, llama_gptq_int3 and llama_awq_int4: a tiny llama whose linear layers AutoGPTQ 0.7.1 and AutoAWQ
0.2.9 have rounded and packed, and the logits that transformers computes from the weights that those libraries make of
what they packed.

    pip install torch==2.15.0 transformers==5.23.0 safetensors==0.8.0
    pip download --no-deps auto-gptq==0.7.1 autoawq==0.2.9      # unpacked into the folders given
    python3 tests/golden/models/make_gptq_awq.py AUTO_GPTQ AUTOAWQ
    python3 tests/golden/models/make_gptq_awq.py AUTO_GPTQ AUTOAWQ --read DIR   # do they read what was saved in DIR?

Same files as make.py writes. The packages want a GPU when they are imported, so their own classes are taken out of them:
of AutoGPTQ the method (quantization/gptq.py, on inputs that the model itself has on random tokens) and the layer
(nn_modules/qlinear/qlinear_cuda.py); of AutoAWQ the rounding (AwqQuantizer.pseudo_quantize_tensor) and the layer
(WQLinear_GEMM). gptq_int4: groups of 32 with zero points in the order of activations, so that a group's inputs are no
neighbours; gptq_int3: groups of 32, symmetric.
"""

import argparse
import importlib.util
import json
import pathlib
import shutil
import sys
import textwrap
import types

import torch
import transformers
from safetensors.torch import load_file, save_file

import make

HERE = pathlib.Path(__file__).resolve().parent
GROUP = 32
KINDS = {"gptq_int4": dict(bits=4, desc_act=True, sym=False),
         "gptq_int3": dict(bits=3, desc_act=False, sym=True),
         "awq_int4": dict(bits=4)}


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Libraries:
    """The classes of both packages, without what they import for GPUs."""

    def __init__(self, gptq_root, awq_root):
        transformers.Conv1D = transformers.pytorch_utils.Conv1D
        torch.cuda.synchronize = lambda *_: None
        sys.modules["theirs"] = package = types.ModuleType("theirs")
        package.__path__ = []
        quantization = gptq_root / "auto_gptq" / "quantization"
        self.Quantizer = load("theirs.quantizer", quantization / "quantizer.py").Quantizer
        self.Gptq = load("theirs.gptq", quantization / "gptq.py").GPTQ
        self.GptqLayer = load("theirs.qlinear",
                              gptq_root / "auto_gptq/nn_modules/qlinear/qlinear_cuda.py").QuantLinear
        for name in ("awq", "awq.utils"):
            sys.modules[name] = types.ModuleType(name)
        self.packing = load("awq.utils.packing_utils", awq_root / "awq/utils/packing_utils.py")
        source = (awq_root / "awq/modules/linear/gemm.py").read_text()
        gemm = {"get_best_device": lambda: "cpu"}
        exec("import torch\nimport torch.nn as nn\n" + source[source.index("class WQLinear_GEMM"):], gemm)
        self.AwqLayer = gemm["WQLinear_GEMM"]
        source = (awq_root / "awq/quantize/quantizer.py").read_text()
        source = source[source.index("    def pseudo_quantize_tensor"):source.index("    def pseudo_dequantize_tensor")]
        rounding = {"torch": torch}
        exec(textwrap.dedent(source), rounding)
        self.awq_round = rounding["pseudo_quantize_tensor"]

    def gptq(self, options, weight, inputs):
        """Tensors of one layer as AutoGPTQ saves them. inputs: (tokens, weight's columns)"""
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        linear.weight.data = weight.clone()
        method = self.Gptq(linear)
        method.quantizer = self.Quantizer()
        method.quantizer.configure(options["bits"], perchannel=True, sym=options["sym"])
        method.add_batch(inputs, None)
        scale, zero, group_of = method.fasterquant(group_size=GROUP, actorder=options["desc_act"])
        layer = self.GptqLayer(options["bits"], GROUP, weight.shape[1], weight.shape[0], False)
        linear.weight.data = linear.weight.data.half()
        layer.pack(linear, scale, zero, group_of)
        return {part: getattr(layer, part).contiguous() for part in ("qweight", "qzeros", "scales", "g_idx")}

    def gptq_floats(self, options, parts):
        """What AutoGPTQ's layer makes of its tensors, in fp32: the products of the numbers stored."""
        inputs = parts["g_idx"].shape[0]
        layer = self.GptqLayer(options["bits"], GROUP, inputs, parts["scales"].shape[1], False)
        for part, value in parts.items():
            setattr(layer, part, value.float() if part == "scales" else value)
        return layer.forward(torch.eye(inputs)).t().contiguous()

    def awq(self, options, weight):
        rounder = types.SimpleNamespace(group_size=GROUP, zero_point=True, w_bit=options["bits"])
        on_grid, scale, zero = self.awq_round(rounder, weight)
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        linear.weight.data = on_grid
        layer = self.AwqLayer.from_linear(linear, options["bits"], GROUP, scales=scale.t().contiguous(),
                                          zeros=zero.t().contiguous())
        return {part: getattr(layer, part).contiguous() for part in ("qweight", "qzeros", "scales")}

    def awq_floats(self, options, parts):
        return self.packing.dequantize_gemm(parts["qweight"], parts["qzeros"], parts["scales"].float(),
                                            options["bits"], GROUP).t().contiguous()


def quantization_config(kind):
    """As the two libraries write it."""
    options = KINDS[kind]
    if kind.startswith("awq"):
        return {"quant_method": "awq", "bits": options["bits"], "group_size": GROUP, "version": "gemm",
                "zero_point": True, "modules_to_not_convert": None}
    return {"quant_method": "gptq", "bits": options["bits"], "group_size": GROUP, "damp_percent": 0.01,
            "desc_act": options["desc_act"], "static_groups": False, "sym": options["sym"], "true_sequential": True,
            "model_name_or_path": None, "model_file_base_name": "model", "is_marlin_format": False}


def inputs_of(model, seed):
    """What each linear layer is given on 4 x 256 random tokens, by its name. (tokens, columns)"""
    seen, hooks = {}, []
    for name, module in model.named_modules():
        if name.endswith("_proj"):
            hooks.append(module.register_forward_pre_hook(
                lambda _, args, name=name: seen.__setitem__(name, args[0].detach().flatten(0, 1))))
    ids = torch.randint(3, model.config.vocab_size, (4, 256), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        model(ids, use_cache=False)
    for hook in hooks:
        hook.remove()
    return seen


def make_one(libraries, kind, seed):
    config = transformers.LlamaConfig(**make.llama_like(
        hidden_size=64, intermediate_size=128, rope_parameters=make.theta(10000.0)))
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    make.fill(model, seed)
    folder = HERE / f"llama_{kind}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    inputs = inputs_of(model, seed + 2000)
    stored = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith("_proj.weight"):
                stored[name] = parameter.detach().clone()
                continue
            layer, weight = name[:-len(".weight")], parameter.detach().float()
            if kind.startswith("awq"):
                parts = libraries.awq(KINDS[kind], weight)
                back = libraries.awq_floats(KINDS[kind], parts)
            else:
                parts = libraries.gptq(KINDS[kind], weight, inputs[layer])
                back = libraries.gptq_floats(KINDS[kind], parts)
            error = float((back - weight).norm() / weight.norm())
            assert 0.01 < error < 0.4, (layer, error)  # rounded, and not torn
            stored.update({f"{layer}.{part}": value for part, value in parts.items()})
            parameter.copy_(back)
    save_file({key: value.contiguous() for key, value in stored.items()},
              folder / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder)
    make.rewrite_config(folder / "config.json", False)
    text = json.loads((folder / "config.json").read_text())
    text["quantization_config"] = quantization_config(kind)
    (folder / "config.json").write_text(json.dumps(text, indent=2, sort_keys=True) + "\n")
    model.double()
    if not make.save_golden(model, config, folder, seed, "AutoAWQ 0.2.9" if kind.startswith("awq") else "AutoGPTQ 0.7.1"):
        return False
    print(f"{folder.name}: {sum(f.stat().st_size for f in folder.iterdir())} bytes, seed {seed}")
    return True


def read(libraries, folder):
    """Reads a directory that Quire saved, with the layers of the library that its config.json names."""
    said = json.loads((folder / "config.json").read_text())["quantization_config"]
    global GROUP
    GROUP = said["group_size"]
    tensors = load_file(folder / "model.safetensors")
    if said.get("checkpoint_format") == "gptq_v2":
        raise SystemExit("AutoGPTQ 0.7.1 reads its first layout alone")
    for key in sorted(tensors):
        if not key.endswith(".qweight"):
            continue
        name = key[:-len(".qweight")]
        parts = {k[len(name) + 1:]: v for k, v in tensors.items() if k.startswith(name + ".")}
        floats = libraries.awq_floats if said["quant_method"] == "awq" else libraries.gptq_floats
        values = floats(dict(bits=said["bits"]), parts)
        print(f"{name}: {tuple(values.shape)}, mean magnitude {values.abs().mean():.6f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("auto_gptq", type=pathlib.Path)
    parser.add_argument("autoawq", type=pathlib.Path)
    parser.add_argument("--read", type=pathlib.Path, metavar="DIR")
    args = parser.parse_args()
    torch.set_num_threads(1)
    libraries = Libraries(args.auto_gptq, args.autoawq)
    if args.read:
        return read(libraries, args.read)
    for kind in KINDS:
        if not any(make_one(libraries, kind, seed) for seed in range(17, 60)):
            raise SystemExit(f"{kind}: no seed leaves a lead in the greedy continuations")


if __name__ == "__main__":
    main()
