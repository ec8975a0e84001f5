#!/usr/bin/env python3
"""Trains the small tokenizers in tests/golden/tokenizer and writes the ids they give.

Needs: pip install tokenizers==0.23.3, and the licence texts of Debian in /usr/share/common-licenses
(training text only; nothing of them but frequent letter sequences is kept).

Written files:
  <kind>.json         a tokenizer.json
  strings.jsonl       one string a line: {"t": text}, or {"b": hex} where it is not UTF-8
  <kind>.jsonl        one line a string: {"i": ids without the template, "d": decoded without special
                      tokens, "k": decoded with them}; d and k are left out where they are the text.
                      Then lines {"r": ids, "d": .., "k": ..} of ids drawn at random.
The ids of bytes that are not UTF-8 are those of bytes.decode("utf-8", "replace").
"""
import json
import pathlib
import random
import sys

import tokenizers
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors, trainers)

HERE = pathlib.Path(__file__).resolve().parent / "tokenizer"
LICENCES = pathlib.Path("/usr/share/common-licenses")
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")

OTHER_TEXT = [
    "The quick brown fox doesn't jump; it's the dog who'll sleep. We've seen 1234567 of them!",
    "Der schnelle braune Fuchs springt über den faulen Hund. Größe, Straße, Äpfel, Öl, übrig.",
    "Le cœur déçu mais l'âme plutôt naïve, Louÿs rêva de crapaüter en canoë au delà des îles.",
    "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío, añoraba a su querido.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. Широкая электрификация.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Η γρήγορη καφέ αλεπού πηδάει.",
    "我能吞下玻璃而不伤身体。今天天气很好，我们去公园散步吧。中文分词测试。",
    "いろはにほへと ちりぬるを。私はガラスを食べられます。カタカナとひらがな。",
    "나는 유리를 먹을 수 있어요. 그래도 아프지 않아요. 한국어 문장입니다.",
    "أنا قادر على أكل الزجاج و هذا لا يؤلمني. مرحبا بالعالم",
    "मैं काँच खा सकता हूँ और मुझे उससे कोई चोट नहीं पहुंचती. हिन्दी पाठ।",
    "ฉันกินกระจกได้ แต่มันไม่ทำให้ฉันเจ็บ ภาษาไทย",
    "Tôi có thể ăn thủy tinh mà không hại gì. Tiếng Việt có nhiều dấu.",
    "for (int i = 0; i < n; ++i) {\n    sum += a[i] * b[i];\n}\n\treturn sum; // total\n",
    "def f(x):\n    return x ** 2 + 3.14159e-10\n\nprint(f(10), 'ok')\n",
    "😀 😃 👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 ❤️ ☕ 🧑🏿‍🚀 ✨✨✨",
    "x² + y³ ≤ ∑∞ ½ ⅓ Ⅷ ① ٣٤٥ १२३ 一二三 10,000.00 € £ ¥ ₿ →←↔ ≠≈",
]


def training_text():
    lines = []
    for name in ("Apache-2.0", "GPL-3", "MPL-2.0", "Artistic"):
        lines += (LICENCES / name).read_text().splitlines(keepends=True)
    return lines + OTHER_TEXT * 12


def train(model, pre_tokenizer, size, special, alphabet=(), normalizer=None):
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False,
                                  initial_alphabet=list(alphabet), min_frequency=2)
    tokenizer.train_from_iterator(training_text(), trainer)
    return json.loads(tokenizer.to_str())


def added(file, content, **options):
    """Appends one added token as the library numbers it."""
    vocab = file["model"]["vocab"]
    known = [t["id"] for t in file["added_tokens"]]
    token = {"id": vocab.get(content, max([len(vocab) - 1] + known) + 1), "content": content,
             "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": True}
    token.update(options)
    file["added_tokens"].append(token)


def template(file, before=(), after=()):
    ids = {t["content"]: t["id"] for t in file["added_tokens"]}
    piece = lambda name: {"SpecialToken": {"id": name, "type_id": 0}}
    single = [*map(piece, before), {"Sequence": {"id": "A", "type_id": 0}}, *map(piece, after)]
    return {"type": "TemplateProcessing", "single": single,
            "pair": single + [{"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {name: {"id": name, "ids": [ids[name]], "tokens": [name]}
                               for name in [*before, *after]}}


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
              "use_regex": False}


def gpt2():
    file = train(models.BPE(), pre_tokenizers.ByteLevel(add_prefix_space=False), 1600,
                 ["<|endoftext|>"], pre_tokenizers.ByteLevel.alphabet())
    file["added_tokens"] = []
    added(file, "<|endoftext|>")
    added(file, "<mask>", lstrip=True)
    added(file, "<sep>", rstrip=True)
    added(file, "<both>", lstrip=True, rstrip=True, single_word=True)
    added(file, "word", single_word=True, special=False, normalized=True)
    added(file, "<|end", special=False)
    added(file, "   ", special=False, normalized=True)
    file["decoder"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                       "use_regex": True}
    file["post_processor"] = dict(BYTE_LEVEL, use_regex=True)
    # The older spelling of merges.
    file["model"]["merges"] = [" ".join(m) for m in file["model"]["merges"]]
    file["model"]["continuing_subword_prefix"] = ""
    file["model"]["end_of_word_suffix"] = ""
    return file


def opt():
    file = train(models.BPE(), pre_tokenizers.ByteLevel(add_prefix_space=True), 700,
                 ["<s>", "<pad>", "</s>", "<unk>"], pre_tokenizers.ByteLevel.alphabet())
    file["pre_tokenizer"] = dict(BYTE_LEVEL, add_prefix_space=True, use_regex=True)
    file["decoder"] = dict(BYTE_LEVEL, use_regex=True)
    file["post_processor"] = template(file, before=["</s>"])
    return file


def llama3():
    split = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
                                     pre_tokenizers.ByteLevel(False, use_regex=False)])
    file = train(models.BPE(ignore_merges=True), split, 1500, [],
                 pre_tokenizers.ByteLevel.alphabet())
    vocab = file["model"]["vocab"]
    # Words that no merge reaches, only ignore_merges does.
    for word in ("Ġextraordinary", "ĠðŁĺĢ", "zyzzyva", "999", "ĊĊĊĊĊ"):
        vocab.setdefault(word, len(vocab))
    file["added_tokens"] = []
    for name in ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>",
                 "<|end_header_id|>", "<|eot_id|>"):
        added(file, name)
    file["post_processor"] = {"type": "Sequence", "processors": [
        dict(BYTE_LEVEL, add_prefix_space=True), template(file, before=["<|begin_of_text|>"])]}
    file["decoder"] = dict(BYTE_LEVEL, add_prefix_space=True)
    return file


def qwen2():
    split = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN2), "isolated"),
                                     pre_tokenizers.ByteLevel(False, use_regex=False)])
    file = train(models.BPE(), split, 1300, [], pre_tokenizers.ByteLevel.alphabet(),
                 normalizers.NFC())
    for name in ("<|endoftext|>", "<|im_start|>", "<|im_end|>"):
        added(file, name)
    added(file, "<tool_call>", special=False)
    added(file, "<caf\u00e9>", special=False, normalized=True)
    added(file, "<nai\u0308f>", special=False, normalized=False)
    file["decoder"] = dict(BYTE_LEVEL)
    file["post_processor"] = dict(BYTE_LEVEL)
    return file


BYTE_PIECES = [f"<0x{b:02X}>" for b in range(256)]


def sentencepiece():
    file = train(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True),
                 pre_tokenizers.Metaspace(), 1300, ["<unk>", "<s>", "</s>"] + BYTE_PIECES)
    file["added_tokens"] = file["added_tokens"][:3]
    file["pre_tokenizer"] = None
    file["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    file["post_processor"] = template(file, before=["<s>"])
    file["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    return file


def metaspace():
    file = train(models.BPE(unk_token="<unk>"), pre_tokenizers.Metaspace(), 900,
                 ["<unk>", "<s>", "</s>"])
    # Rare characters are left out of the vocabulary, so that the unknown token occurs.
    file["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first",
                             "split": True}
    file["decoder"] = dict(file["pre_tokenizer"])
    file["post_processor"] = template(file, before=["<s>"], after=["</s>"])
    return file


KINDS = {"gpt2": gpt2, "opt": opt, "llama3": llama3, "qwen2": qwen2,
         "sentencepiece": sentencepiece, "metaspace": metaspace}

SPACES = [" ", "  ", "   ", "    ", "\t", "\n", "\r\n", "\r", "\n\n", " \n", "\n ", "\t\t ", "\u00a0",
          "\u3000", "\u2003", "\u2028", "\u0085", "\u200b", "\u1680", "\v", "\f", "\ufeff", "\u180e"]
SIGNS = list("!?.,;:'\"()[]{}<>-_=+*/\\|@#$%^&~`") + \
    ["...", "--", "->", "==", "§", "°", "€", "“", "”", "’", "—", "…", "«", "»", "、", "。", "！",
     "‿", "⁀", "\u200d", "\u200c", "▁", "_▁"]
WORDS = ["the", "The", "THE", "word", "words", "password", "extraordinary", "zyzzyva", "hello",
         "Software", "distribution", "licensee", "naïve", "cafe\u0301", "café", "<cafe\u0301>",
         "<café>", "<nai\u0308f>", "<naïf>", "Ångström", "A\u030angstro\u0308m", "Straße", "ſo",
         "ﬁne", "İstanbul", "ǅ", "Ελλάδα", "Привет", "йод", "и\u0306од", "שלום", "שָׁלוֹם", "مرحبا",
         "नमस्ते", "ไทย", "中文", "日本語", "ガラス", "カ\u3099ラス", "한국어", "\u1112\u1161\u11ab",
         "\u1100\u1161", "𝕳𝖊𝖑𝖑𝖔", "𐍈", "𠀋", "Ｆｕｌｌ", "ªº", "ʰ", "ᵃ", "\U0001e900"]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'Ve", "'M", "'lL",
                "'D", "'ſ", "'x", "''s", "’s", "'", "'r", "'v", "'l", "'le", "'ﬆ", "'ſt", "'LĹ"]
NUMBERS = ["0", "7", "42", "999", "1234", "12345", "1234567", "3.14", "1e-9", "1,000,000", "²", "½",
           "Ⅷ", "①", "٣", "٣٤٥٦", "१२३४", "၁၂၃", "𝟘𝟙𝟚", "〇", "㊿", "௧", "𑁦", "\U0001fbf0"]
EMOJI = ["😀", "😃", "👍", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇫🇷🇯🇵", "❤️", "☕", "🧑🏿‍🚀", "✨", "#️⃣", "🏴\U000e0067\U000e007f"]
MARKS = ["\u0301", "\u0300", "\u0323", "\u0308", "\u0345", "\u0334", "\u05b0", "\u064b", "\u3099",
         "\u094d", "\u20d0", "\u1ab0", "\u0897", "\U0001e8d0", "\u0f71", "\u0f72", "\u0f74"]
CONTROLS = ["\0", "\x01", "\x07", "\x08", "\x1b", "\x1f", "\x7f", "\x80", "\x9f", "\ufffd", "\uffff",
            "\ufdd0", "\U0010ffff", "\ue000", "\u202e", "\u2066"]
SPECIALS = ["<|endoftext|>", "<|end", "<mask>", "<sep>", "<both>", "<s>", "</s>", "<unk>", "<pad>",
            "<|begin_of_text|>", "<|eot_id|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "<0x41>",
            "<|endoftext", "<s", "word"]
POOLS = [SPACES, SPACES, SIGNS, WORDS, WORDS, CONTRACTIONS, NUMBERS, EMOJI, MARKS, CONTROLS,
         SPECIALS]
BAD_BYTES = [b"\x80", b"\xbf", b"\xc0\xaf", b"\xc3", b"\xe2\x82", b"\xe2", b"\xf0\x9f\x98", b"\xf0\x9f",
             b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xff",
             b"\xfe", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xc3(", b"\xe2\x28\xa1"]


def strings():
    rng = random.Random(20240717)
    out = ["", " ", "  ", "\n", "a", "'", "'s", " 's", "\u0301", "é", "e\u0301", "word", " word ",
           "password", "word word", "<s>", "<s></s>", "  <s>  x  </s>  ", "▁", "▁▁a", " ▁ ", "a▁b"]
    out += [w for pool in (SPACES, SIGNS, WORDS, CONTRACTIONS, NUMBERS, EMOJI, MARKS, CONTROLS,
                           SPECIALS) for w in pool]
    out += OTHER_TEXT
    out += ["a" * 3000, "ab" * 2000, "the" * 1500, " " * 2000, "\n" * 700, "é" * 900, "中" * 700,
            "1" * 1000, "!" * 1000, "a\u0301\u0323" * 300, "\u0301" * 500 + "\u0323" * 500,
            "👍🏽" * 150, "<mask>" * 100 + " " * 50, "x" + " \n" * 200 + "y", "'s" * 300,
            "".join(rng.choice("abcdefgh") for _ in range(4000)),
            "".join(rng.choice("etaoinshrdlu ") for _ in range(4000))]
    lines = [line for line in (LICENCES / "GPL-3").read_text().splitlines() if len(line) > 20]
    out += rng.sample(lines, 150)
    for _ in range(1250):  # mixtures
        parts = []
        for _ in range(rng.randint(1, 9)):
            parts.append(rng.choice(rng.choice(POOLS)))
            if rng.random() < 0.5:
                parts.append(" ")
        out.append("".join(parts))
    for _ in range(150):  # any characters at all
        points = []
        for _ in range(rng.randint(1, 14)):
            point = rng.choice([rng.randrange(0x250), rng.randrange(0x3000), rng.randrange(0x10000),
                                rng.randrange(0x20000), rng.randrange(0x110000)])
            points.append(point if not 0xD800 <= point < 0xE000 else 0x20)
        out.append("".join(map(chr, points)))
    for _ in range(250):  # bytes that are not UTF-8
        parts = []
        for _ in range(rng.randint(1, 6)):
            parts.append(rng.choice(rng.choice(POOLS)).encode())
            parts.append(rng.choice(BAD_BYTES))
        data = b"".join(parts)
        out.append(data[:rng.randint(1, len(data))])
    for _ in range(50):
        out.append(bytes(rng.randrange(256) for _ in range(rng.randint(1, 40))))
    unique = list(dict.fromkeys(out))
    return unique


def write_lines(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")


def decoded(tokenizer, ids, text, row):
    for key, skip in (("d", True), ("k", False)):
        result = tokenizer.decode(ids, skip_special_tokens=skip)
        if result != text:
            row[key] = result
    return row


def main():
    if tokenizers.__version__ != "0.23.3":
        sys.exit(f"tokenizers 0.23.3 is needed, this is {tokenizers.__version__}")
    HERE.mkdir(exist_ok=True)
    inputs = strings()
    rows = []
    for item in inputs:
        valid = isinstance(item, str)
        if not valid:
            try:
                item, valid = item.decode("utf-8"), True
            except UnicodeDecodeError:
                pass
        rows.append({"t": item} if valid else {"b": item.hex()})
    write_lines(HERE / "strings.jsonl", rows)
    texts = [s if isinstance(s, str) else s.decode("utf-8", "replace") for s in inputs]
    for kind, make in KINDS.items():
        path = HERE / f"{kind}.json"
        path.write_text(json.dumps(make(), ensure_ascii=False, separators=(",", ":")) + "\n",
                        encoding="utf-8")
        tokenizer = Tokenizer.from_file(str(path))
        file = json.loads(path.read_text(encoding="utf-8"))
        for token in file["added_tokens"]:
            assert tokenizer.token_to_id(token["content"]) == token["id"], token
        empty = tokenizer.encode("").ids
        rng = random.Random(kind)
        rows = []
        for text in texts:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            around = tokenizer.encode(text).ids
            if kind == "metaspace":
                assert around == empty[:1] + ids + empty[1:]
            else:
                assert around == empty + ids
            rows.append(decoded(tokenizer, ids, text, {"i": ids}))
        size = tokenizer.get_vocab_size()
        for _ in range(200):
            ids = [rng.randrange(size) for _ in range(rng.randint(1, 25))]
            if kind == "sentencepiece":  # runs of byte pieces, valid and not
                for data in rng.choices([b"\xe4\xb8\xad", b"\xf0\x9f\x98\x80", b"\xff", b"\xe2\x82",
                                         b"A"], k=2):
                    at = rng.randint(0, len(ids))
                    ids[at:at] = [tokenizer.token_to_id(f"<0x{b:02X}>") for b in data]
            rows.append(decoded(tokenizer, ids, None, {"r": ids}))
        write_lines(HERE / f"{kind}.jsonl", rows)
        print(kind, size, "tokens,", len(texts), "strings,", sum(len(r.get("i", ())) for r in rows),
              "ids")


main()
