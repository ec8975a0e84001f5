#!/usr/bin/env python3
"""Writes ggml.json: Q8_0 and Q4_0 blocks as the gguf package makes them, and Q4_K, Q5_K and Q6_K blocks of random
bytes as it reads them.

    pip install gguf numpy
    python3 tests/golden/formats/make_ggml.py
"""

import json
import pathlib

import numpy
from gguf import GGMLQuantizationType as Type, quants

HERE = pathlib.Path(__file__).resolve().parent


def main():
    random = numpy.random.default_rng(1)
    values = (random.standard_normal(256) * 3).astype(numpy.float32)
    values[64:96] = 0
    values[96:128] = -0.75
    out = {"values": values.tolist()}
    for kind in (Type.Q8_0, Type.Q4_0):
        blocks = quants.quantize(values, kind)
        out[kind.name] = {"bytes": blocks.flatten().tolist(),
                          "dequantised": quants.dequantize(blocks, kind).flatten().tolist()}
    for kind, size, halves in ((Type.Q4_K, 144, (0, 2)), (Type.Q6_K, 210, (208,)),
                               (Type.Q5_K, 176, (0, 2))):
        block = random.integers(0, 256, (2, size), dtype=numpy.uint8)
        for at in halves:  # scales that are numbers
            scale = random.standard_normal(2).astype(numpy.float16).view(numpy.uint8)
            block[:, at:at + 2] = scale.reshape(2, 2)
        out[kind.name] = {"bytes": block.flatten().tolist(),
                          "dequantised": quants.dequantize(block, kind).flatten().tolist()}
    (HERE / "ggml.json").write_text(json.dumps(out) + "\n")


if __name__ == "__main__":
    main()
