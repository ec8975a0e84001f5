#!/usr/bin/env python3
"""Writes GGUF files with ggml's own Python library, and what a reader must find in them.

    pip install gguf==0.19.0 numpy safetensors tokenizers
    python3 tests/golden/formats/make_gguf.py

llama.gguf is the model of tests/golden/models/llama in F32, rows of q and k in ggml's order;
llama_split-00001-of-00003.gguf and the two others are the same in parts of eight tensors.
mixed.gguf has every type of tensor that is read, and two experts a layer; gguf.json holds a hash of the
values that the library makes of each tensor. vocab_llama3.gguf and vocab_spm.gguf are tokenizers alone.
"""

import json
import pathlib

import numpy
import tokenizers
from gguf import GGMLQuantizationType as Type, GGUFReader, GGUFWriter, TokenType, quants
from safetensors.numpy import load_file

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE.parent


def permuted(rows, heads):
    """Values i and i + half of a head become neighbours: the order of convert_hf_to_gguf.py."""
    shape = rows.shape
    return rows.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)



def checksum(values):
    """FNV-1a over the bits of the values, zeros without sign: what the C++ test computes again."""
    h = 0xcbf29ce484222325
    for word in (values.astype(numpy.float32).ravel() + numpy.float32(0)).view(numpy.uint32).tolist():
        h = ((h ^ word) * 0x100000001b3) & 0xffffffffffffffff
    return f"{h:016x}"


def write(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_llama(name, **parts):
    folder = GOLDEN / "models" / "llama"
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = GGUFWriter(HERE / name, "llama", **parts)
    writer.add_name("llama")
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    rope = config.get("rope_parameters", config)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(tensors["model.layers.0.self_attn.q_proj.weight"].shape[0] // heads)
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    inside = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
              "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
              "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
              "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    for name, values in tensors.items():
        stem, kind = name.rsplit(".", 1)
        if stem in names:
            out = names[stem]
        else:
            _, _, layer, rest = stem.split(".", 3)
            out = f"blk.{layer}.{inside[rest]}"
            if rest.endswith("q_proj"):
                values = permuted(values, heads)
            elif rest.endswith("k_proj"):
                values = permuted(values, kv_heads)
        writer.add_tensor(f"{out}.{kind}", values)
    write(writer)


def blocks(random, kind, rows, columns):
    """Random blocks of a type that the library reads and does not write."""
    size, halves = {Type.Q4_K: (144, (0, 2)), Type.Q5_K: (176, (0, 2)), Type.Q6_K: (210, (208,))}[kind]
    data = random.integers(0, 256, (rows, columns // 256, size), dtype=numpy.uint8)
    for at in halves:
        scale = (random.standard_normal((rows, columns // 256)) * 0.002).astype(numpy.float16)
        data[:, :, at:at + 2] = scale[:, :, None].view(numpy.uint8)
    return data.reshape(rows, -1)


def make_mixed():
    random = numpy.random.default_rng(4)
    hidden, head_dim, heads, kv_heads, width, experts, vocab = 256, 16, 2, 1, 32, 2, 40
    writer = GGUFWriter(HERE / "mixed.gguf", "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(hidden)
    writer.add_block_count(1)
    writer.add_feed_forward_length(width)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500000.0)
    writer.add_expert_count(experts)
    writer.add_expert_used_count(1)
    writer.add_eos_token_id(3)
    writer.add_array("quire.test.numbers", [1, 2, 3])

    def normal(*shape):
        return (random.standard_normal(shape) * 0.2).astype(numpy.float32)

    found = {}

    def add(name, values, kind):
        if kind == Type.F32:
            writer.add_tensor(name, values)
            back = values
        else:
            data = values if values.dtype == numpy.uint8 else quants.quantize(values, kind)
            writer.add_tensor(name, data, raw_dtype=kind)
            back = quants.dequantize(data, kind)
        found[name] = {"type": kind.name, "shape": list(back.shape), "checksum": checksum(back),
                       "first": [float(x) for x in back.ravel()[:3]]}

    add("token_embd.weight", normal(vocab, hidden), Type.Q8_0)
    add("output.weight", blocks(random, Type.Q6_K, vocab, hidden), Type.Q6_K)
    add("output_norm.weight", normal(hidden), Type.F32)
    add("rope_freqs.weight", (1 + numpy.arange(head_dim // 2)).astype(numpy.float32), Type.F32)
    add("blk.0.attn_norm.weight", normal(hidden), Type.F32)
    add("blk.0.attn_q.weight", blocks(random, Type.Q4_K, heads * head_dim, hidden), Type.Q4_K)
    add("blk.0.attn_k.weight", blocks(random, Type.Q4_K, kv_heads * head_dim, hidden), Type.Q4_K)
    add("blk.0.attn_v.weight", blocks(random, Type.Q4_K, kv_heads * head_dim, hidden), Type.Q4_K)
    add("blk.0.attn_output.weight", normal(hidden, heads * head_dim), Type.Q4_0)
    add("blk.0.ffn_norm.weight", normal(hidden), Type.F32)
    add("blk.0.ffn_gate_inp.weight", normal(experts, hidden), Type.F32)
    add("blk.0.ffn_gate_exps.weight", normal(experts, width, hidden), Type.BF16)
    add("blk.0.ffn_up_exps.weight", normal(experts, width, hidden), Type.F16)
    add("blk.0.ffn_down_exps.weight", normal(experts, hidden, width), Type.Q8_0)
    add("quire.test.more", blocks(random, Type.Q5_K, 3, hidden), Type.Q5_K)
    write(writer)
    reader = GGUFReader(HERE / "mixed.gguf")
    assert {t.name for t in reader.tensors} == set(found)
    (HERE / "gguf.json").write_text(json.dumps({"gguf": "0.19.0", "mixed": found}, separators=(",", ":")) + "\n")


def make_llama3_vocabulary():
    source = json.loads((GOLDEN / "tokenizer" / "llama3.json").read_text())
    added = {t["id"]: t["content"] for t in source["added_tokens"]}
    pieces = {i: p for p, i in source["model"]["vocab"].items()} | added
    writer = GGUFWriter(HERE / "vocab_llama3.gguf", "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list([pieces[i] for i in range(len(pieces))])
    writer.add_token_types([TokenType.CONTROL if i in added else TokenType.NORMAL
                            for i in range(len(pieces))])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m)
                             for m in source["model"]["merges"]])
    writer.add_bos_token_id(min(added))
    write(writer)


def make_sentence_piece_vocabulary():
    """Scores of pieces, and the ids that the merges make which transformers derives from them."""
    source = json.loads((GOLDEN / "tokenizer" / "sentencepiece.json").read_text())
    vocab = source["model"]["vocab"]
    pieces = sorted(vocab, key=vocab.get)
    kinds, scores = [], []
    for i, piece in enumerate(pieces):
        byte = len(piece) == 6 and piece.startswith("<0x")
        kinds.append(TokenType.UNKNOWN if i == 0 else TokenType.CONTROL if i < 3 else
                     TokenType.BYTE if byte else TokenType.NORMAL)
        scores.append(-float(i // 2))  # pairs of pieces are as good as each other
    # transformers.convert_slow_tokenizer.generate_merges, over the pieces that take part.
    normal = {p: i for i, p in enumerate(pieces) if kinds[i] == TokenType.NORMAL}
    merges = []
    for piece, i in normal.items():
        local = [(piece[:k], piece[k:], scores[i]) for k in range(1, len(piece))
                 if piece[:k] in normal and piece[k:] in normal]
        merges += sorted(local, key=lambda m: (vocab[m[0]], vocab[m[1]]))
    merges.sort(key=lambda m: (m[2], len(m[0]), len(m[1])), reverse=True)
    source["model"]["merges"] = [[left, right] for left, right, _ in merges]
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(source))
    writer = GGUFWriter(HERE / "vocab_spm.gguf", "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(pieces)
    writer.add_token_types(kinds)
    writer.add_token_scores(scores)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    write(writer)
    texts = [json.loads(line) for line in
             (GOLDEN / "tokenizer" / "strings.jsonl").read_text().split("\n") if line]
    texts = [t["t"] for t in texts if "t" in t]
    data = json.loads((HERE / "gguf.json").read_text())
    data["spm"] = [{"text": t, "ids": tokenizer.encode(t).ids} for t in texts if len(t) < 80][:40]
    (HERE / "gguf.json").write_text(json.dumps(data, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    make_llama("llama.gguf")
    make_llama("llama_split.gguf", split_max_tensors=8)
    make_mixed()
    make_llama3_vocabulary()
    make_sentence_piece_vocabulary()
