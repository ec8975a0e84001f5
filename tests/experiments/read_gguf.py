#!/usr/bin/env python3
"""Reads files that `quire convert` writes with ggml's own Python library: tensors by that library's
dequantisation against the safetensors, keys and tokens. Exit code 77 where the library is not installed.

    pip install gguf
    python3 tests/experiments/read_gguf.py build/experiments/quire/quire
"""

import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import gguf
    import numpy
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
         "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down"}


def permuted(rows, heads):
    shape = rows.shape
    return rows.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def bf16(bits):
    return (bits.astype(numpy.uint32) << 16).view(numpy.float32)


def tensors_of(folder):
    """By ggml's names; numpy has no bfloat16, so the bytes are taken."""
    text = (folder / "model.safetensors").read_bytes()
    size = int.from_bytes(text[:8], "little")
    config = json.loads((folder / "config.json").read_text())
    for name, entry in json.loads(text[8:8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + at for at in entry["data_offsets"])
        if entry["dtype"] == "BF16":
            values = bf16(numpy.frombuffer(text[begin:end], numpy.uint16))
        else:
            values = numpy.frombuffer(text[begin:end], numpy.float32)
        values = values.reshape(entry["shape"])
        stem, kind = name.rsplit(".", 1)
        if stem not in NAMES:
            _, _, layer, stem = stem.split(".", 3)
            if stem in ("self_attn.q_proj", "self_attn.k_proj"):
                heads = "num_attention_heads" if "q_proj" in stem else "num_key_value_heads"
                values = permuted(values, config[heads])
            yield f"blk.{layer}.{NAMES[stem]}.{kind}", values
        else:
            yield f"{NAMES[stem]}.{kind}", values


def main():
    quire = sys.argv[1]
    models = [(ROOT / "experiments/small_models/checkpoints/stories", ("bf16", "q8_0", "q4_0")),
              (ROOT / "tests/golden/models/llama", ("f32", "f16", "q8_0"))]
    # Largest error over the largest value of the tensor.
    bounds = {"f32": 0, "bf16": 0, "f16": 1e-3, "q8_0": 0.005, "q4_0": 0.126}
    with tempfile.TemporaryDirectory() as folder:
        for model, types in models:
            for kind in types:
                path = f"{folder}/{model.name}-{kind}.gguf"
                subprocess.run([quire, "convert", str(model), path, "--type", kind], check=True)
                reader = gguf.GGUFReader(path)
                found = {t.name: t for t in reader.tensors}
                wanted = dict(tensors_of(model))
                assert set(found) == set(wanted), set(found) ^ set(wanted)
                for name, values in wanted.items():
                    t = found[name]
                    if t.tensor_type == gguf.GGMLQuantizationType.BF16:
                        back = bf16(t.data.view(numpy.uint16))
                    else:
                        back = gguf.dequantize(t.data, t.tensor_type)
                    back = back.reshape(values.shape)
                    assert values.ndim == 1 or t.tensor_type.name.lower() == kind, name
                    error = numpy.abs(back - values).max() / numpy.abs(values).max()
                    assert error <= (bounds[kind] if values.ndim == 2 else 0), (name, kind, error)
                arch = reader.fields["general.architecture"].contents()
                config = json.loads((model / "config.json").read_text())
                assert arch == "llama"
                assert reader.fields["llama.block_count"].contents() == config["num_hidden_layers"]
                assert reader.fields["llama.embedding_length"].contents() == config["hidden_size"]
                if (model / "tokenizer.json").exists():
                    vocab = json.loads((model / "tokenizer.json").read_text())["model"]["vocab"]
                    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
                    assert all(tokens[i] == piece for piece, i in vocab.items())
                    assert reader.fields["tokenizer.ggml.model"].contents() == "gpt2"
                print(f"{model.name} {kind}: {len(wanted)} tensors")


if __name__ == "__main__":
    main()
