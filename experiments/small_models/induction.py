#!/usr/bin/env python3
"""Builds a two-layer Llama that performs induction exactly, from a derivation instead of training.

After "... A B ... A" it predicts B. When the cached key and value of B's position are dropped it
predicts the end token instead. The entries that a prediction needs are B's, that of the token
before the query, its own, and that of BOS where nothing matches; any other may be dropped without a
difference. So it tells exactly which cache entry a memory policy lost.

    python3 induction.py --out checkpoints/induction    # write the checkpoint
    python3 induction.py --check                        # bounds, accuracy, margin, ablations

Derivation
----------
Tokens: BOS, EOS and the 256 bytes. Each token t has a code c(t), 32 signs out of the extended BCH
code [32, 11, 12]: c(s).c(t) is 32 for s = t and at most 8 otherwise (distances are 12, 16, 20 or
32).

Residual stream, 128 wide:   0..31 c(current)   32..63 c(previous)   64..95 answer   96 one
                             97 is-BOS       98 is-not-BOS      99..127 zero
Its squared norm is 34 after the embedding, 66 after layer 0 and 98 after layer 1, the same for
every token, so each RMSNorm divides by a constant, which the norm's weight multiplies back.

Rotary embedding turns the pair (i, i + 32) of a head by position * theta^(-i/32), theta = 1e9. A
query (a cos phi, -a sin phi) against a key (a, 0), turned at positions p and r, scores a^2 cos((p -
r) w - phi).

Layer 0, previous-token head. Query and key read only the dimension "one"; on pairs 0..8 with phi =
w_i the score is S * sum_i g_i cos((p - r - 1) w_i), largest at r = p - 1. The gap to every other r
is S * min_d sum_i g_i (1 - cos((d - 1) w_i)) >= 0.15 S for all distances d up to 2,047; S = 100
makes the attention on the previous token one within 1e-6. The value is c(current), written to
32..63. At position 0 the only token is BOS itself.

Layer 1, match head. Pairs 16..31 hardly turn: 2,047 positions turn pair 16 by 0.065 rad and the
others less, so they compare codes: query c(current), key c(previous), score 2 * c.c' = 64 at a
match, at most 16 otherwise, up to the rotation. Pair 15 adds 40 where the key is BOS: the answer
when nothing matches. The gaps, 24 each way less what the rotation takes, leave e^-20 * 2048 < 1e-5
to the rest. The value is c(current), so at the position after A's earlier occurrence it is c(B); it
is written to 64..95.

Output: row t reads the answer with c(t): 32 for the right token, at most 8 for another. The rows of
BOS and EOS are exchanged, so that "no match" reads as EOS. The MLPs are zero.

If A occurred several times, the answers mix in equal parts: the continuation in the majority wins
and an exact tie is decided by rounding. The check, and tests built on the model, use texts in which
every symbol that is asked for has one continuation.
"""

import argparse
import json
import math
import pathlib
import random
import sys

import numpy as np

BOS, EOS, VOCAB = 0, 1, 258
HIDDEN, HEAD, HALF, THETA, POSITIONS, FFN = 128, 64, 32, 1e9, 2048, 8
CURRENT, PREVIOUS, ANSWER, ONE, IS_BOS, NOT_BOS = 0, 32, 64, 96, 97, 98
S, MATCH, SINK = 100.0, 2.0, 40.0
SHARES = np.array([0.56] + [0.055] * 8)  # g_i: the fastest pair tells neighbours apart
CODE_PAIRS = np.arange(16, 32)
EPS = 1e-6
FREQUENCY = THETA ** (-np.arange(HALF) / HALF)


def codes():
    """258 words of the extended BCH code [32, 11, 12] as signs, (258, 32)."""
    generator = int("5423325", 8)  # of BCH [31, 11], designed distance 11
    words = np.zeros((VOCAB, 32))
    for message in range(VOCAB):
        word = 0
        for bit in range(11):
            if message >> bit & 1:
                word ^= generator << bit
        bits = [word >> i & 1 for i in range(31)]
        words[message] = [1 - 2 * b for b in bits + [sum(bits) % 2]]
    products = words @ words.T
    assert np.all(np.diag(products) == 32)
    assert (products - np.diag(np.diag(products))).max() <= 8
    return words


def code_dimensions():
    """Head dimensions of the pairs 16..31: both halves."""
    return np.concatenate([CODE_PAIRS, CODE_PAIRS + HALF])


def build():
    """Name -> float32 array, in the Hugging Face layout (out, in)."""
    c = codes()
    embedding = np.zeros((VOCAB, HIDDEN))
    embedding[:, CURRENT:CURRENT + 32] = c
    embedding[:, ONE] = 1
    embedding[BOS, IS_BOS] = 1
    embedding[np.arange(VOCAB) != BOS, NOT_BOS] = 1
    head = np.zeros((VOCAB, HIDDEN))
    head[:, ANSWER:ANSWER + 32] = c
    head[[BOS, EOS]] = head[[EOS, BOS]]

    root = math.sqrt(math.sqrt(HEAD))  # undoes the division by sqrt(head_dim)
    dims = code_dimensions()
    q0, k0 = np.zeros((HEAD, HIDDEN)), np.zeros((HEAD, HIDDEN))
    for i, share in enumerate(SHARES):
        a = math.sqrt(S * share) * root
        q0[i, ONE], q0[i + HALF, ONE] = a * math.cos(FREQUENCY[i]), -a * math.sin(FREQUENCY[i])
        k0[i, ONE] = a
    q1, k1 = np.zeros((HEAD, HIDDEN)), np.zeros((HEAD, HIDDEN))
    q1[dims, CURRENT + np.arange(32)] = math.sqrt(MATCH) * root
    k1[dims, PREVIOUS + np.arange(32)] = math.sqrt(MATCH) * root
    q1[15, ONE] = math.sqrt(SINK) * root
    k1[15, IS_BOS] = math.sqrt(SINK) * root
    value = np.zeros((HEAD, HIDDEN))
    value[np.arange(32), CURRENT + np.arange(32)] = 1

    def output(to):
        o = np.zeros((HIDDEN, HEAD))
        o[to + np.arange(32), np.arange(32)] = 1
        return o

    tensors = {"model.embed_tokens.weight": embedding, "lm_head.weight": head,
               "model.norm.weight": np.full(HIDDEN, math.sqrt(98 / HIDDEN + EPS))}
    for layer, (q, k, o, before, after) in enumerate(
            ((q0, k0, output(PREVIOUS), 34, 66), (q1, k1, output(ANSWER), 66, 98))):
        p = f"model.layers.{layer}."
        tensors |= {
            p + "self_attn.q_proj.weight": q, p + "self_attn.k_proj.weight": k,
            p + "self_attn.v_proj.weight": value, p + "self_attn.o_proj.weight": o,
            p + "mlp.gate_proj.weight": np.zeros((FFN, HIDDEN)),
            p + "mlp.up_proj.weight": np.zeros((FFN, HIDDEN)),
            p + "mlp.down_proj.weight": np.zeros((HIDDEN, FFN)),
            p + "input_layernorm.weight": np.full(HIDDEN, math.sqrt(before / HIDDEN + EPS)),
            p + "post_attention_layernorm.weight": np.full(HIDDEN, math.sqrt(after / HIDDEN + EPS))}
    return {k: v.astype(np.float32) for k, v in tensors.items()}


def write(folder):
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    folder.mkdir(parents=True, exist_ok=True)
    save_file(build(), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": False,
        "mlp_bias": False, "attention_dropout": 0.0, "hidden_act": "silu",
        "initializer_range": 0.02, "tie_word_embeddings": False, "rope_scaling": None,
        "rope_theta": THETA, "rms_norm_eps": EPS, "torch_dtype": "float32", "use_cache": True,
        "bos_token_id": BOS, "eos_token_id": EOS, "vocab_size": VOCAB, "hidden_size": HIDDEN,
        "intermediate_size": FFN, "num_hidden_layers": 2, "num_attention_heads": 1,
        "num_key_value_heads": 1, "head_dim": HEAD, "max_position_embeddings": POSITIONS}
    # Bytes in the order of their value: token 2 + b is byte b.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    character, extra = {}, 0
    for b in range(256):
        if b in printable:
            character[b] = chr(b)
        else:
            character[b] = chr(256 + extra)
            extra += 1
    vocabulary = {"<|begin|>": BOS, "<|end|>": EOS}
    vocabulary |= {character[b]: 2 + b for b in range(256)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.add_special_tokens(["<|begin|>", "<|end|>"])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", pair="<|begin|> $A $B", special_tokens=[("<|begin|>", BOS)])
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, content in (
            ("config.json", config),
            ("generation_config.json", {"bos_token_id": BOS, "eos_token_id": EOS}),
            ("tokenizer_config.json", {
                "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin|>",
                "eos_token": "<|end|>", "add_bos_token": True, "model_max_length": POSITIONS,
                "clean_up_tokenization_spaces": False})):
        (folder / name).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


# -- check ----------------------------------------------------------------------------------------
def bounds():
    """Worst gaps over all distances and pairs of tokens: previous, its leak, sink, match."""
    distance = np.arange(0, POSITIONS)
    angle = (distance[:, None] - 1) * FREQUENCY[: len(SHARES)]
    loss = (1 - np.cos(angle)) @ SHARES * S
    previous = np.delete(loss, 1).min()
    leak = np.exp(-np.delete(loss, 1)).sum()
    c = codes()
    low_match, high_other = math.inf, -math.inf
    for d in distance:
        cos, sin = np.cos(d * FREQUENCY[CODE_PAIRS]), np.sin(d * FREQUENCY[CODE_PAIRS])
        # The query at distance d, turned relative to the key.
        x, y = c[:, :16], c[:, 16:]
        turned = np.concatenate([x * cos - y * sin, x * sin + y * cos], axis=1)
        scores = MATCH * turned @ c.T
        low_match = min(low_match, np.diag(scores).min())
        np.fill_diagonal(scores, -math.inf)
        high_other = max(high_other, scores.max())
    low_sink = SINK * np.cos((POSITIONS - 1) * FREQUENCY[15])
    return previous, leak, low_sink - high_other, low_match - SINK


def forward(t, ids, drop=(), dtype=np.float64):
    """Logits after the last token, whose query does not see the positions in `drop`."""
    n = len(ids)
    p = np.arange(n)[:, None] * FREQUENCY
    cos = np.concatenate([np.cos(p)] * 2, 1).astype(dtype)
    sin = np.concatenate([np.sin(p)] * 2, 1).astype(dtype)

    def norm(x, w):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + dtype(EPS)) * w.astype(dtype)

    def turn(x):
        return x * cos + np.concatenate([-x[:, HALF:], x[:, :HALF]], 1) * sin

    mask = np.triu(np.full((n, n), -np.inf, dtype), 1)
    mask[-1, list(drop)] = -np.inf
    x = t["model.embed_tokens.weight"].astype(dtype)[ids]
    for layer in range(2):
        a = f"model.layers.{layer}.self_attn."
        h = norm(x, t[f"model.layers.{layer}.input_layernorm.weight"])
        q, k, v = (h @ t[a + w + "_proj.weight"].T.astype(dtype) for w in "qkv")
        s = turn(q) @ turn(k).T / dtype(math.sqrt(HEAD)) + mask
        s = np.exp(s - s.max(1, keepdims=True))
        x = x + (s / s.sum(1, keepdims=True)) @ v @ t[a + "o_proj.weight"].T.astype(dtype)
    return norm(x, t["model.norm.weight"])[-1] @ t["lm_head.weight"].T.astype(dtype)


def example(rng, length):
    """BOS, noise, A B, noise, A: noise never contains A. Returns tokens, B and B's position."""
    a = 2 + int(rng.random() * 256)
    others = [t for t in range(2, VOCAB) if t != a]
    ids = [BOS] + [others[int(rng.random() * 255)] for _ in range(length - 2)] + [a]
    at = 1 + int(rng.random() * (length - 3))
    ids[at] = a
    return ids, ids[at + 1], at + 1


def margin_of(logits, right):
    others = np.delete(logits, right)
    return float(logits[right] - others.max())


def check():
    previous, leak, other, match = bounds()
    print(f"bounds up to {POSITIONS} positions: previous-token gap {previous:.2f} "
          f"(leak {leak:.1e}), sink over mismatch {other:.2f}, match over sink {match:.2f}")
    ok = leak < 1e-6 and min(other, match) > math.log(POSITIONS) + 10
    t = build()
    rng = random.Random(5)
    for dtype in (np.float64, np.float32):
        for length in (8, 64, 256, 1024, 2048):
            trials = 200 if length <= 256 else 25
            right = dropped_wrong = says_end = spared = 0
            least = math.inf
            for _ in range(trials):
                ids, b, position = example(rng, length)
                m = margin_of(forward(t, ids, dtype=dtype), b)
                right, least = right + (m > 0), min(least, m)
                without = forward(t, ids, [position], dtype)
                says_end += int(without.argmax()) == EOS
                dropped_wrong += int(without.argmax()) != b
                # Drop every position but BOS, B's, the one before the query and its own.
                rest = [i for i in range(1, length - 2) if i != position]
                spared += int(forward(t, ids, rest, dtype).argmax()) == b
            print(f"{np.dtype(dtype).name} length {length:4}: right {right}/{trials}, least margin "
                  f"{least:.2f}; B's entry dropped: wrong {dropped_wrong}/{trials}, says end "
                  f"{says_end}/{trials}; only BOS, B and the last two kept: right "
                  f"{spared}/{trials}")
            ok &= right == dropped_wrong == says_end == spared == trials and least > 20
    # A repeated segment of distinct bytes is continued without an error, at every position.
    segment = list(range(2, 2 + 256))
    random.Random(1).shuffle(segment)
    ids = [BOS] + segment * 4
    asked = range(258, 1024, 51)
    wrong = sum(int(forward(t, ids[:n]).argmax()) != ids[n] for n in asked)
    print(f"256 distinct bytes repeated four times: {wrong} wrong of {len(asked)}")
    ok &= wrong == 0
    print("all as derived" if ok else "NOT as derived")
    return 0 if ok else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if args.out:
        write(args.out)
    return check() if args.check else 0


if __name__ == "__main__":
    sys.exit(main())
