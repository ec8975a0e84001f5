#!/usr/bin/env python3
"""Writes tensors.pb, tensors_in_pieces.pb and tensors.flatbuffers with the formats' own compilers.

    apt-get install protobuf-compiler flatbuffers-compiler      # 3.21.12 and 2.0.8 in Debian 12
    python3 tests/golden/formats/make_tensor_files.py

All hold "a", F32 (2, 3): 0.5 to 5.5; "scalar", I64: -2; "none", BF16 (0, 5).
"""

import json
import pathlib
import struct
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
A = struct.pack("<6f", *(i + 0.5 for i in range(6)))
SCALAR = struct.pack("<q", -2)


def octal(data):
    return '"' + "".join(f"\\{byte:03o}" for byte in data) + '"'


def protoc(text):
    return subprocess.run(["protoc", "--encode=quire.Weights", "-I", HERE, HERE / "tensors.proto"],
                          input=text.encode(), check=True, capture_output=True).stdout


def flatc(index):
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "index.json").write_text(json.dumps(index))
        subprocess.run(["flatc", "--binary", "--size-prefixed", "-o", folder, HERE / "tensors.fbs",
                        pathlib.Path(folder) / "index.json"], check=True)
        return (pathlib.Path(folder) / "index.bin").read_bytes()


def padded(data):
    return data + bytes(-len(data) % 64)


OTHERS = f"""
tensors {{ name: "scalar" dtype: "I64" data: {octal(SCALAR)} }}
tensors {{ name: "none" dtype: "BF16" shape: [0, 5] }}
"""
(HERE / "tensors.pb").write_bytes(protoc(
    f'tensors {{ name: "a" dtype: "F32" shape: [2, 3] data: {octal(A)} }}' + OTHERS + "pieces: 3"))
(HERE / "tensors_in_pieces.pb").write_bytes(protoc(
    f'tensors {{ name: "a" dtype: "F32" shape: [2, 3] data: {octal(A[:10])} }}'
    f'tensors {{ data: {octal(A[10:])} }}' + OTHERS + "pieces: 4"))
(HERE / "tensors.flatbuffers").write_bytes(padded(flatc({"tensors": [
    {"name": "a", "dtype": "F32", "shape": [2, 3], "begin": 0, "bytes": 24},
    {"name": "scalar", "dtype": "I64", "begin": 64, "bytes": 8},
    {"name": "none", "dtype": "BF16", "shape": [0, 5], "begin": 72, "bytes": 0}]}))
    + padded(A) + SCALAR)
