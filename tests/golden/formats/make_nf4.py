#!/usr/bin/env python3
"""Writes nf4.json: NF4 with and without double quantisation as bitsandbytes makes it on a processor.

    pip install bitsandbytes==0.50.2 torch==2.15.0
    python3 tests/golden/formats/make_nf4.py
"""

import json
import pathlib

import torch
from bitsandbytes import functional

HERE = pathlib.Path(__file__).resolve().parent


def main():
    cases = []
    generator = torch.Generator().manual_seed(1)
    for name, values in (
            ("normal", torch.randn(4, 256, generator=generator)),
            ("heavy", torch.randn(2, 128, generator=generator) ** 3 * 10),
            ("constant and zero", torch.cat([torch.full((1, 128), -0.75), torch.zeros(1, 128)]))):
        for kind in ("nf4", "fp4"):
            packed, plain = functional.quantize_4bit(
                values, blocksize=64, compress_statistics=False, quant_type=kind)
            _, double = functional.quantize_4bit(
                values, blocksize=64, compress_statistics=True, quant_type=kind)
            cases.append({
                "name": name, "kind": kind, "values": values.flatten().tolist(),
                "packed": packed.flatten().tolist(), "absmax": plain.absmax.tolist(),
                "dequantised": functional.dequantize_4bit(packed, plain).flatten().tolist(),
                "quantised_absmax": double.absmax.tolist(), "offset": float(double.offset),
                "absmax_of_absmax": double.state2.absmax.tolist(),
                "code": plain.code.tolist()})
    dynamic = functional.create_dynamic_map(signed=True).tolist()
    (HERE / "nf4.json").write_text(json.dumps({"dynamic_map": dynamic, "cases": cases}) + "\n")


if __name__ == "__main__":
    main()
