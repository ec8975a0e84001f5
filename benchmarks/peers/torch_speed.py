"""A llama in PyTorch's own operations, timed as llama-bench is: the peer of benchmarks/peers/run --torch.

    python benchmarks/peers/torch_speed.py -m DIR --weights bf16 -p 512 -n 32 -d 0,1024 -t 2 -r 1

Weights are those of the Hugging Face folder; keys and values lie contiguous in the type of the weights.
"""

import argparse
import json
import pathlib
import time

import torch
import torch.nn.functional as F

TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
STORED = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def load(folder, dtype):
    text = bytearray((folder / "model.safetensors").read_bytes())
    size = int.from_bytes(text[:8], "little")
    weights = {}
    for name, entry in json.loads(text[8:8 + size].decode()).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        flat = torch.frombuffer(text, dtype=STORED[entry["dtype"]], offset=8 + size + begin,
                                count=(end - begin) // STORED[entry["dtype"]].itemsize)
        weights[name] = flat.reshape(entry["shape"]).to(dtype, copy=True)
    return weights


class Llama:
    def __init__(self, folder, dtype, longest):
        config = json.loads((folder / "config.json").read_text())
        self.layers, self.eps = config["num_hidden_layers"], config["rms_norm_eps"]
        self.heads, self.kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.dim = config.get("head_dim") or config["hidden_size"] // self.heads
        w = load(folder, dtype)
        self.embedding, self.norm = w["model.embed_tokens.weight"], w["model.norm.weight"]
        self.output = w.get("lm_head.weight", self.embedding)
        self.blocks = []
        for i in range(self.layers):
            def of(name):
                return w[f"model.layers.{i}.{name}.weight"]
            self.blocks.append((
                of("input_layernorm"),
                torch.cat([of("self_attn.q_proj"), of("self_attn.k_proj"), of("self_attn.v_proj")]),
                of("self_attn.o_proj"), of("post_attention_layernorm"),
                torch.cat([of("mlp.gate_proj"), of("mlp.up_proj")]), of("mlp.down_proj")))
        theta = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
        turns = theta ** (-torch.arange(0, self.dim, 2, dtype=torch.float64) / self.dim)
        angles = torch.arange(longest, dtype=torch.float64)[:, None] * turns[None, :]
        both = torch.cat([angles, angles], dim=1)
        self.cos, self.sin = both.cos().to(dtype), both.sin().to(dtype)
        self.cache = torch.zeros(self.layers, 2, self.kv_heads, longest, self.dim, dtype=dtype)

    def rotate(self, x, begin):
        cos, sin = self.cos[begin:begin + x.shape[1]], self.sin[begin:begin + x.shape[1]]
        half = self.dim // 2
        return x * cos + torch.cat([-x[..., half:], x[..., :half]], dim=-1) * sin

    def step(self, tokens, begin):
        count, end = len(tokens), begin + len(tokens)
        mask = None
        if count > 1 and begin > 0:
            mask = torch.ones(count, end, dtype=torch.bool).tril(begin)
        x = self.embedding[tokens]
        for i, (norm1, qkv, out, norm2, gate_up, down) in enumerate(self.blocks):
            y = F.linear(F.rms_norm(x, norm1.shape, norm1, self.eps), qkv)
            y = y.reshape(count, self.heads + 2 * self.kv_heads, self.dim).transpose(0, 1)
            q = self.rotate(y[:self.heads], begin)
            keys, values = self.cache[i]
            keys[:, begin:end] = self.rotate(y[self.heads:self.heads + self.kv_heads], begin)
            values[:, begin:end] = y[self.heads + self.kv_heads:]
            a = F.scaled_dot_product_attention(
                q[None], keys[None, :, :end], values[None, :, :end], attn_mask=mask,
                is_causal=count > 1 and begin == 0, enable_gqa=self.heads != self.kv_heads)
            x = x + F.linear(a[0].transpose(0, 1).reshape(count, -1), out)
            gate, up = F.linear(F.rms_norm(x, norm2.shape, norm2, self.eps), gate_up).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, down)
        return F.linear(F.rms_norm(x[-1:], self.norm.shape, self.norm, self.eps), self.output)

    def run(self, depth, prompt, generate):
        tokens = torch.randint(len(self.embedding), (depth + prompt + generate,))
        begin = time.perf_counter()
        for at in range(depth, depth + prompt, 512):
            self.step(tokens[at:min(at + 512, depth + prompt)], at)
        for at in range(depth + prompt, depth + prompt + generate):
            self.step(tokens[at:at + 1], at)
        return time.perf_counter() - begin


def main():
    def counts(text):
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--model", required=True, type=pathlib.Path)
    parser.add_argument("--weights", required=True, choices=TYPES)
    parser.add_argument("-p", type=counts, default=[512])
    parser.add_argument("-n", type=counts, default=[32])
    parser.add_argument("-d", type=counts, default=[0])
    parser.add_argument("-t", type=int, default=1)
    parser.add_argument("-r", type=int, default=5)
    o = parser.parse_args()
    torch.set_num_threads(o.t)
    torch.manual_seed(1)
    reports = []
    with torch.inference_mode():
        longest = max(o.d) + max(o.p + o.n)
        model = Llama(o.model, TYPES[o.weights], longest)
        model.run(0, longest, 0)
        for depth in o.d:
            for prompt, generate in [(p, 0) for p in o.p if p] + [(0, n) for n in o.n if n]:
                model.run(depth, prompt, min(generate, 1))
                seconds = [model.run(depth, prompt, generate) for _ in range(o.r)]
                reports.append({
                    "model_filename": str(o.model), "model_type": o.weights, "n_threads": o.t,
                    "backends": "PyTorch " + torch.__version__, "n_prompt": prompt,
                    "n_gen": generate, "n_depth": depth,
                    "samples_ns": [round(1e9 * s) for s in seconds],
                    "samples_ts": [(prompt + generate) / s for s in seconds]})
    print(json.dumps(reports))


if __name__ == "__main__":
    main()
