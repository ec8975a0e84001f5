#!/usr/bin/env python3
"""Writes gptq_awq.safetensors: linear layers as AutoGPTQ 0.7.1 and AutoAWQ 0.2.9 pack them, and the
floats that each library makes of them.

    pip install torch transformers safetensors
    pip download --no-deps auto-gptq==0.7.1 autoawq==0.2.9      # unpacked into the folders given
    python3 tests/golden/formats/make_gptq_awq.py AUTO_GPTQ AUTOAWQ

Only the two libraries' layer files are loaded: the packages themselves want a GPU.
"""

import importlib.util
import pathlib
import sys
import types

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent
INPUTS, OUTPUTS, GROUP = 64, 32, 32


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def grid(weight, bits):
    """Scales and zero points of groups, (outputs, groups), and the weight on that grid."""
    groups = weight.reshape(OUTPUTS, -1, GROUP)
    low = groups.amin(-1).clamp(max=0)
    high = groups.amax(-1).clamp(min=0)
    scale = ((high - low) / (2**bits - 1)).half().float()
    zero = (-low / scale).round().clamp(1, 2**bits - 1)
    codes = ((groups / scale[..., None]).round() + zero[..., None]).clamp(0, 2**bits - 1)
    on_grid = (codes - zero[..., None]) * scale[..., None]
    return scale, zero, on_grid.reshape(OUTPUTS, INPUTS)


def main():
    gptq_root, awq_root = map(pathlib.Path, sys.argv[1:3])
    qlinear = load("qlinear", gptq_root / "auto_gptq/nn_modules/qlinear/qlinear_cuda_old.py")
    for name in ("awq", "awq.utils"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["awq.utils.packing_utils"] = packing = load(
        "awq.utils.packing_utils", awq_root / "awq/utils/packing_utils.py")
    source = (awq_root / "awq/modules/linear/gemm.py").read_text()
    gemm = types.ModuleType("gemm")
    # The class alone: what stands before it imports kernels.
    exec("import torch\nimport torch.nn as nn\n" + source[source.index("class WQLinear_GEMM"):],
         gemm.__dict__)
    gemm.get_best_device = lambda: "cpu"
    random = torch.Generator().manual_seed(1)
    out = {}
    for bits in (2, 3, 4, 8):
        weight = torch.randn(OUTPUTS, INPUTS, generator=random)
        scale, zero, on_grid = grid(weight, bits)
        linear = torch.nn.Linear(INPUTS, OUTPUTS, bias=False)
        linear.weight.data = on_grid.half()
        layer = qlinear.QuantLinear(bits, GROUP, INPUTS, OUTPUTS, False)
        layer.pack(linear, scale, zero.clone(), None)
        # An identity gives the weights that forward() makes.
        eye = torch.eye(INPUTS).half()
        made = layer.forward(eye).t().float().contiguous()
        for part in ("qweight", "qzeros", "scales", "g_idx"):
            out[f"gptq{bits}.{part}"] = getattr(layer, part).contiguous()
        out[f"gptq{bits}.floats"] = made
    weight = torch.randn(OUTPUTS, INPUTS, generator=random)
    scale, zero, on_grid = grid(weight, 4)
    linear = torch.nn.Linear(INPUTS, OUTPUTS, bias=False)
    linear.weight.data = on_grid
    layer = gemm.WQLinear_GEMM.from_linear(linear, 4, GROUP, scales=scale.t().contiguous(),
                                           zeros=zero.t().contiguous())
    for part in ("qweight", "qzeros", "scales"):
        out[f"awq4.{part}"] = getattr(layer, part).contiguous()
    made = packing.dequantize_gemm(layer.qweight, layer.qzeros, layer.scales, 4, GROUP)
    out["awq4.floats"] = made.t().float().contiguous()
    save_file(out, HERE / "gptq_awq.safetensors")


if __name__ == "__main__":
    main()
