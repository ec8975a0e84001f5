#!/usr/bin/env python3
"""Makes the random tiny checkpoints of every model family, and their golden logits.

The independent implementation is Hugging Face transformers; requirements.txt states the versions.
Each checkpoint is built by transformers' own class, every parameter is filled from a seed (norm
weights and biases too, so that a forgotten one shows), and written by save_pretrained. The golden
logits come from the stored weights, evaluated with the model in float64 and cast to float32.
(transformers itself computes norms and rotary angles in float32; the table that this script prints
says how far the plain float32 run lies from the golden numbers.)

    python3 tests/golden/models/make.py            # rewrites the directories beside this file
    python3 tests/golden/models/make.py --check    # makes them elsewhere and compares
    python3 tests/golden/models/make.py --only llama,opt

README.md describes the file format.
"""

import argparse
import json
import math
import pathlib
import shutil
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).resolve().parent
LENGTHS = (1, 7, 40, 70)
# Positions whose logits are kept: ends, and both sides of the block boundaries of 16 and 32.
KEPT = {
    1: [0],
    7: list(range(7)),
    40: [0, 1, 7, 8, 15, 16, 17, 31, 32, 33, 39],
    70: [0, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 69],
}
GREEDY_TOKENS = 24  # continued greedily after the sequences of length 7 and 40
MIN_GAP = 1e-2      # smallest allowed lead of the best logit in the greedy continuations
MIN_MOVE = 2e-4     # a feature left out must move the logits by twice a tolerance of 1e-4
BOS, EOS = 1, 2


def llama_like(**overrides):
    numbers = dict(
        vocab_size=101, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
        rms_norm_eps=1e-5, tie_word_embeddings=False, bos_token_id=BOS, eos_token_id=EOS,
        pad_token_id=None)
    numbers.update(overrides)
    return numbers


def theta(value):
    return {"rope_type": "default", "rope_theta": value}


LLAMA3_SCALING = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 32}

T = transformers
# name -> (config, options). Options: old_keys rewrites config.json with the spelling of
# transformers 4 (rope_theta, rope_scaling, torch_dtype); shards splits the weights into several
# files; bf16 stores bfloat16; ablate lists config changes that must move the logits.
MODELS = {
    "llama": (
        lambda: T.LlamaConfig(**llama_like(rope_parameters=theta(10000.0))),
        dict(ablate={"rope_theta": {"rope_parameters": theta(500000.0)}})),
    "llama_rope_llama3": (
        lambda: T.LlamaConfig(**llama_like(
            rope_parameters=LLAMA3_SCALING, num_attention_heads=2, num_key_value_heads=1,
            tie_word_embeddings=True)),
        dict(old_keys=True, shards=True,
             ablate={"no scaling": {"rope_parameters": theta(500000.0)}})),
    "llama_bf16": (
        lambda: T.LlamaConfig(**llama_like(
            hidden_size=64, num_attention_heads=2, num_key_value_heads=2,
            rope_parameters=theta(10000.0), dtype=torch.bfloat16)),
        dict(old_keys=True, bf16=True)),
    "llama_bias": (
        lambda: T.LlamaConfig(**llama_like(
            attention_bias=True, mlp_bias=True,
            rope_parameters=theta(10000.0))),
        dict()),
    "mistral": (
        lambda: T.MistralConfig(**llama_like(
            num_attention_heads=2, num_key_value_heads=1, head_dim=16, num_hidden_layers=3,
            sliding_window=16, rope_parameters=theta(10000.0))),
        dict(old_keys=True, ablate={"no window": {"sliding_window": None},
                                    "window 15": {"sliding_window": 15},
                                    "window 17": {"sliding_window": 17}})),
    "qwen2": (
        lambda: T.Qwen2Config(**llama_like(
            rms_norm_eps=1e-6, tie_word_embeddings=True, use_sliding_window=False,
            rope_parameters=theta(1000000.0))),
        dict(old_keys=True, ablate={"rope_theta": {"rope_parameters": theta(10000.0)}})),
    "qwen2_window": (
        lambda: T.Qwen2Config(**llama_like(
            rms_norm_eps=1e-6, use_sliding_window=True, sliding_window=16, max_window_layers=1,
            rope_parameters=theta(1000000.0))),
        dict(ablate={"no window": {"use_sliding_window": False, "sliding_window": None,
                                   "layer_types": ["full_attention"] * 2}})),
    "qwen3": (
        lambda: T.Qwen3Config(**llama_like(
            head_dim=16, rms_norm_eps=1e-6, use_sliding_window=False, sliding_window=None,
            rope_parameters=theta(1000000.0))),
        dict(ablate={"rope_theta": {"rope_parameters": theta(10000.0)}})),
    "mixtral": (
        lambda: T.MixtralConfig(**llama_like(
            num_local_experts=4, num_experts_per_tok=2, intermediate_size=24, sliding_window=None,
            rope_parameters=theta(1000000.0))),
        dict(old_keys=True, ablate={"top 1": {"num_experts_per_tok": 1}})),
    "qwen3_moe": (
        lambda: T.Qwen3MoeConfig(**llama_like(
            head_dim=16, rms_norm_eps=1e-6, num_experts=6, num_experts_per_tok=2,
            moe_intermediate_size=24, norm_topk_prob=True, decoder_sparse_step=1,
            mlp_only_layers=[1], use_sliding_window=False, sliding_window=None,
            rope_parameters=theta(1000000.0))),
        dict(ablate={"no top-k norm": {"norm_topk_prob": False}})),
    "opt": (
        lambda: T.OPTConfig(
            vocab_size=101, hidden_size=32, ffn_dim=96, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=128, word_embed_proj_dim=32,
            do_layer_norm_before=True, dropout=0.0, bos_token_id=BOS, eos_token_id=EOS,
            pad_token_id=0, tie_word_embeddings=True),
        dict(old_keys=True)),
    "opt_post_norm": (
        lambda: T.OPTConfig(
            vocab_size=101, hidden_size=32, ffn_dim=64, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=128, word_embed_proj_dim=16,
            do_layer_norm_before=False, dropout=0.0, bos_token_id=BOS, eos_token_id=EOS,
            pad_token_id=0, tie_word_embeddings=True),
        dict(ablate={"pre-norm": {"do_layer_norm_before": True}})),
    "gpt2": (
        lambda: T.GPT2Config(
            vocab_size=101, n_embd=32, n_layer=2, n_head=4, n_positions=128, n_inner=None,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=BOS, eos_token_id=EOS),
        dict(old_keys=True, ablate={"exact gelu": {"activation_function": "gelu"}})),
}


def fill(model, seed):
    """Draws every parameter, large enough that attention is sharp and logits spread over units."""
    g = torch.Generator().manual_seed(seed)

    def normal(p, std):
        return torch.randn(p.shape, generator=g) * std

    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if name.endswith("bias"):
                value = normal(p, 0.2)
            elif "norm" in name or "ln_" in name:
                value = 1.0 + normal(p, 0.25)
            elif any(key in name for key in ("embed_positions", "wpe")):
                value = normal(p, 0.4)
            elif any(key in name for key in ("embed_tokens", "wte")):
                # Small, so that a tied output matrix does not merely name the last token again.
                value = normal(p, 0.4)
            else:
                # Linear stores (out, in), Conv1D (in, out); experts are (expert, out, in).
                fan_in = p.shape[0] if "gpt2" in type(model).__name__.lower() else p.shape[-1]
                gain = 1.3
                if any(key in name for key in ("q_proj", "k_proj", "c_attn")):
                    gain = 2.0
                elif name == "lm_head.weight":
                    gain = 2.0
                elif name.endswith("gate.weight") and p.shape[0] < 16:
                    gain = 3.0  # router: clear choices of experts
                value = normal(p, gain / math.sqrt(fan_in))
            p.copy_(value)


def token_sequences(vocab, seed):
    """Draws sequences of LENGTHS uniformly from the ordinary tokens; the longer begin with BOS.

    The last third of the sequence of 70 repeats its beginning, so that tokens far back matter."""
    g = torch.Generator().manual_seed(seed)
    out = []
    for n in LENGTHS:
        ids = torch.randint(3, vocab, (n,), generator=g)
        if n > 1:
            ids[0] = BOS
        if n == 70:
            ids[47:] = ids[1:24]
        out.append(ids)
    return out


def logits_of(model, ids):
    with torch.no_grad():
        return model(ids[None], use_cache=False).logits[0]


def greedy(model, ids, count):
    """Continues greedily without a cache, past EOS; returns also the smallest lead."""
    gap = math.inf
    ids = ids.clone()
    for _ in range(count):
        last = logits_of(model, ids)[-1].double()
        top = last.topk(2)
        gap = min(gap, float(top.values[0] - top.values[1]))
        ids = torch.cat([ids, top.indices[:1]])
    return ids[-count:], gap


def rewrite_config(path, old_keys):
    """Gives config.json the older spelling where asked, and drops what depends on the library."""
    config = json.loads(path.read_text())
    config.pop("transformers_version", None)
    if old_keys:
        rope = config.pop("rope_parameters", None)
        if rope:
            config["rope_theta"] = rope.pop("rope_theta")
            config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
        config["torch_dtype"] = config.pop("dtype", "float32")
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def save_golden(model, config, folder, seed, who):
    """Writes golden.safetensors of a model as it is; False where a greedy continuation has a near tie."""
    tensors, gap = {}, math.inf
    for i, ids in enumerate(token_sequences(config.vocab_size, seed + 1000)):
        logits = logits_of(model, ids)
        kept = torch.tensor(KEPT[len(ids)])
        tensors[f"seq{i}.ids"] = ids.to(torch.int64)
        tensors[f"seq{i}.positions"] = kept.to(torch.int64)
        tensors[f"seq{i}.logits"] = logits[kept].to(torch.float32).contiguous()
        if len(ids) in (7, 40):
            tail, lead = greedy(model, ids, GREEDY_TOKENS)
            gap = min(gap, lead)
            tensors[f"seq{i}.greedy"] = tail.to(torch.int64)
    save_file(tensors, folder / "golden.safetensors",
              metadata={"made_by": f"{who}, transformers {T.__version__}, torch {torch.__version__}",
                        "seed": str(seed), "smallest_greedy_lead": f"{gap:.4g}"})
    for f in folder.iterdir():
        f.chmod(0o644)
    return gap >= MIN_GAP


def make(name, root, seed):
    """Writes one directory; False where this seed leaves a near tie or hides a feature."""
    config, options = MODELS[name][0](), MODELS[name][1]
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    model = T.AutoModelForCausalLM.from_config(config).eval()
    fill(model, seed)
    model.to(torch.bfloat16 if options.get("bf16") else torch.float32)

    folder = root / name
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    total = sum(p.numel() * p.element_size() for p in model.parameters())
    shard = total * 6 // 10 if options.get("shards") else "1GB"
    model.save_pretrained(folder, max_shard_size=shard)
    rewrite_config(folder / "config.json", options.get("old_keys"))
    generation = folder / "generation_config.json"
    if generation.exists():
        rewrite_config(generation, False)

    # Fused expert products refuse float64.
    experts = "moe" in name or name == "mixtral"
    eager_experts = {"experts_implementation": "eager"} if experts else {}

    # The golden run starts from the files, by way of the library's own loader.
    def load(dtype, **changes):
        return T.AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, attn_implementation="eager", **eager_experts, **changes).eval()

    exact, single = load(torch.float64), load(torch.float32)
    tensors, worst, spread, gap, variety = {}, 0.0, [], math.inf, math.inf
    for i, ids in enumerate(token_sequences(config.vocab_size, seed + 1000)):
        logits = logits_of(exact, ids)
        near = logits_of(single, ids).double()
        worst = max(worst, float((near - logits).abs().max() / logits.abs().max()))
        spread.append(float(logits.std()))
        kept = torch.tensor(KEPT[len(ids)])
        tensors[f"seq{i}.ids"] = ids.to(torch.int64)
        tensors[f"seq{i}.positions"] = kept.to(torch.int64)
        tensors[f"seq{i}.logits"] = logits[kept].to(torch.float32).contiguous()
        if len(ids) in (7, 40):
            tail, lead = greedy(exact, ids, GREEDY_TOKENS)
            gap = min(gap, lead)
            variety = min(variety, len(set(tail.tolist())))
            tensors[f"seq{i}.greedy"] = tail.to(torch.int64)

    # Every feature that the checkpoint is about must show in the kept logits.
    seen = []
    reference = tensors[f"seq{len(LENGTHS) - 1}.logits"].double()
    ids = tensors[f"seq{len(LENGTHS) - 1}.ids"]
    for what, changes in options.get("ablate", {}).items():
        other = load(torch.float64, **changes)
        moved = (logits_of(other, ids)[KEPT[len(ids)]] - reference).abs().max()
        moved /= reference.abs().max()
        seen.append(f"{what} moves {float(moved):.2g}")
        if moved < MIN_MOVE:
            return False
    if gap < MIN_GAP or worst > 2e-5 or min(spread[1:]) < 0.5 or variety < 6:
        return False
    save_file(tensors, folder / "golden.safetensors",
              metadata={"made_by": f"transformers {T.__version__}, torch {torch.__version__}",
                        "seed": str(seed), "smallest_greedy_lead": f"{gap:.4g}"})
    for f in folder.iterdir():
        f.chmod(0o644)
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{name:18} {size / 1024:6.0f} KiB  std {spread[-1]:5.2f}  float32 error {worst:.1e}  "
          f"greedy lead {gap:.3f}  distinct {variety}  seed {seed}  {'; '.join(seen)}", flush=True)
    return True


def same(a, b):
    """Compares two directories: tensors to 1e-6 of their largest entry, other files by bytes."""
    names = sorted(f.name for f in a.iterdir())
    if names != sorted(f.name for f in b.iterdir()):
        return False
    for n in names:
        if n.endswith(".safetensors"):
            x, y = load_file(a / n), load_file(b / n)
            if x.keys() != y.keys():
                return False
            for k in x:
                p, q = x[k].double(), y[k].double()
                if p.shape != q.shape or (p - q).abs().max() > 1e-6 * max(1.0, p.abs().max()):
                    return False
        elif (a / n).read_bytes() != (b / n).read_bytes():
            return False
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--only", default=",".join(MODELS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    T.logging.set_verbosity_error()
    T.logging.disable_progress_bar()
    names = args.only.split(",")
    for n in names:
        if n not in MODELS:
            parser.error(f"no model '{n}'; there are {', '.join(MODELS)}")
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch) if args.check else HERE
        for n in names:
            if not any(make(n, root, seed) for seed in range(17, 60)):
                raise SystemExit(f"{n}: no seed gives logits that show every feature")
        if args.check:
            different = [n for n in names if not same(root / n, HERE / n)]
            print("different: " + ", ".join(different) if different else "all equal")
            return 1 if different else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
