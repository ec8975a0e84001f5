#!/usr/bin/env python3
"""Writes include/quire/checkpoint/tokenizer/unicode_tables.hpp.

Needs: pip install tokenizers==0.23.3 unicodedata2==16.0.0 regex
Letters, numbers: Unicode 16.0.0 (what the reference library's pattern engine knows; checked here).
Word characters: the same version, after the definition of the Rust regex crate.
Normalisation form C: Unicode 9.0.0, as in the reference library, whose normaliser is older than its
patterns: marks and decompositions that it does not know are left out here too.
"""
import pathlib
import sys

import regex
import tokenizers
import unicodedata2 as ucd
from tokenizers import Regex, normalizers, pre_tokenizers

POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
OUT = pathlib.Path(__file__).resolve().parents[2] / \
    "include/quire/checkpoint/tokenizer/unicode_tables.hpp"


def ranges(points):
    out = []
    for point in sorted(points):
        if out and out[-1][1] == point - 1:
            out[-1][1] = point
        else:
            out.append([point, point])
    return out


def category(*names):
    return {c for c in POINTS if ucd.category(chr(c)).startswith(names)}


def reference_class(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    return {c for c in POINTS if not split.pre_tokenize_str(chr(c))}


def reference_words():
    """Characters beside which a single_word token is not a word of its own."""
    model = tokenizers.models.BPE({"x": 0}, [], unk_token="x")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.add_tokens([tokenizers.AddedToken("tok", single_word=True, normalized=False)])
    texts = [chr(c) + "tok" for c in POINTS]
    token = tokenizer.token_to_id("tok")
    out = set()
    for at in range(0, len(texts), 50000):
        batch = texts[at:at + 50000]
        for c, encoding in zip(POINTS[at:], tokenizer.encode_batch(batch)):
            if token not in encoding.ids:
                out.add(c)
    return out


def word_class():
    alphabetic = regex.compile(r"[\p{Alphabetic}\p{Join_Control}]")
    assigned = {c for c in POINTS if ucd.category(chr(c)) != "Cn"}
    out = {c for c in assigned if alphabetic.match(chr(c))}
    return out | category("M", "Nd", "Pc")


def normalization():
    """(combining classes, decompositions, compositions) that the reference knows."""
    nfc = normalizers.NFC().normalize_str
    classes = {}
    for c in POINTS:
        # A mark that is known sorts against a mark of class 1 or of class 240.
        if ucd.combining(chr(c)) and any(
                nfc(text) != text
                for text in ("a" + chr(c) + "\u0334", "a\u0345" + chr(c), "\u05d0\u0315" + chr(c))):
            classes[c] = ucd.combining(chr(c))
    # Class 1 itself: known when it moves before a mark of class 9.
    for c in POINTS:
        if ucd.combining(chr(c)) == 1 and nfc("a\u094d" + chr(c)) != "a\u094d" + chr(c):
            classes[c] = 1
    decompositions, compositions = {}, {}
    for c in POINTS:
        text = ucd.decomposition(chr(c))
        if not text or text.startswith("<") or 0xAC00 <= c <= 0xD7A3:
            continue
        parts = [int(p, 16) for p in text.split()]
        full = "".join(map(chr, parts))
        if nfc(chr(c)) == chr(c) and nfc(full) != chr(c):
            continue  # unknown to the reference
        decompositions[c] = parts
        if len(parts) == 2 and nfc(full) == chr(c):
            compositions[tuple(parts)] = c
    return classes, decompositions, compositions


def check_normalization(tables):
    """The algorithm over these tables equals the reference on every character and pair."""
    classes, decompositions, compositions = tables
    nfc = normalizers.NFC().normalize_str

    def decompose(c, out):
        if 0xAC00 <= c <= 0xD7A3:
            s = c - 0xAC00
            out += [0x1100 + s // 588, 0x1161 + s % 588 // 28]
            if s % 28:
                out.append(0x11A7 + s % 28)
        elif c in decompositions:
            for part in decompositions[c]:
                decompose(part, out)
        else:
            out.append(c)

    def compose(a, b):
        if 0x1100 <= a < 0x1113 and 0x1161 <= b < 0x1176:
            return 0xAC00 + ((a - 0x1100) * 21 + b - 0x1161) * 28
        if 0xAC00 <= a <= 0xD7A3 and (a - 0xAC00) % 28 == 0 and 0x11A8 <= b < 0x11C3:
            return a + b - 0x11A7
        return compositions.get((a, b))

    def mine(text):
        points = []
        for ch in text:
            decompose(ord(ch), points)
        at = 0
        while at < len(points):
            end = at
            while end < len(points) and classes.get(points[end], 0):
                end += 1
            points[at:end] = sorted(points[at:end], key=lambda c: classes.get(c, 0))
            at = end + 1
        out, starter, last = [], None, -1
        for c in points:
            k = classes.get(c, 0)
            merged = compose(out[starter], c) if starter is not None and last < k or \
                (starter is not None and last == -1) else None
            if merged is not None:
                out[starter] = merged
                continue
            if k == 0:
                starter, last = len(out), -1
            else:
                last = k
            out.append(c)
        return "".join(map(chr, out))

    wrong = []
    for c in POINTS:
        for text in (chr(c), "a\u0301" + chr(c), "a" + chr(c) + "\u0334", "\u05d0\u0345" + chr(c),
                     "e" + chr(c) + "\u0323\u0301", chr(c) + "\u0300", chr(c) + "\u11a8"):
            if mine(text) != nfc(text):
                wrong.append((hex(c), ascii(text), ascii(mine(text)), ascii(nfc(text))))
    return wrong


def rows(items, form, per_line):
    lines, line = [], []
    for item in items:
        line.append(form(item))
        if len(line) == per_line:
            lines.append("    " + " ".join(line))
            line = []
    if line:
        lines.append("    " + " ".join(line))
    return "\n".join(lines)


def table(name, what, items, kind, form, per_line):
    return (f"/// {what}\ninline constexpr {kind} {name}[] = {{\n{rows(items, form, per_line)}"
            f"\n}};\n")


def main():
    assert ucd.unidata_version == "16.0.0", ucd.unidata_version
    assert tokenizers.__version__ == "0.23.3", tokenizers.__version__
    letters, numbers, words = category("L"), category("N"), word_class()
    for name, mine, theirs in (("letters", letters, reference_class(r"\p{L}")),
                               ("numbers", numbers, reference_class(r"\p{N}")),
                               ("words", words, reference_words())):
        if mine != theirs:
            sys.exit(f"{name} differ from the reference: {sorted(map(hex, mine ^ theirs))[:20]}")
    tables = classes, decompositions, compositions = normalization()
    wrong = check_normalization(tables)
    if wrong:
        sys.exit(f"normalisation differs from the reference {len(wrong)} times: {wrong[:10]}")

    class_ranges = []
    for point in sorted(classes):
        if class_ranges and class_ranges[-1][1] == point - 1 and \
                class_ranges[-1][2] == classes[point]:
            class_ranges[-1][1] = point
        else:
            class_ranges.append([point, point, classes[point]])
    pair = lambda r: f"{{{r[0]:#x}, {r[1]:#x}}},"
    triple = lambda r: f"{{{r[0]:#x}, {r[1]:#x}, {r[2]:#x}}},"
    text = f"""#pragma once

// Generated by tests/golden/make_unicode_tables.py; change that, not this.
// Categories: Unicode 16.0.0. Normalisation: Unicode 9.0.0. Both as in the reference tokenizers.

namespace quire::checkpoint::tokenizer::tables {{

struct Range {{
  char32_t first;
  char32_t last;
}};
struct ClassRange {{
  char32_t first;
  char32_t last;
  char32_t combining_class;
}};
struct Mapping {{
  char32_t a;
  char32_t b;
  char32_t c;
}};

// clang-format off
"""
    text += table("letters", "General categories L*.", ranges(letters), "Range", pair, 5)
    text += "\n" + table("numbers", "General categories N*.", ranges(numbers), "Range", pair, 5)
    text += "\n" + table("words", "Alphabetic, M*, Nd, Pc and Join_Control.", ranges(words),
                         "Range", pair, 5)
    text += "\n" + table("combining_classes", "Canonical combining classes other than 0.",
                         class_ranges, "ClassRange", triple, 4)
    text += "\n" + table("decompositions", "Character a is b and then c (0: nothing) canonically.",
                         [(c, p[0], p[1] if len(p) > 1 else 0)
                          for c, p in sorted(decompositions.items())], "Mapping", triple, 4)
    text += "\n" + table("compositions", "a and then b compose to c.",
                         [(a, b, c) for (a, b), c in sorted(compositions.items())], "Mapping",
                         triple, 4)
    text += "// clang-format on\n\n}  // namespace quire::checkpoint::tokenizer::tables\n"
    OUT.write_text(text)
    print(f"{OUT.name}: {len(text)} bytes, {len(letters)} letters, {len(numbers)} numbers, "
          f"{len(decompositions)} decompositions, {len(compositions)} compositions")


main()
