"""Seeded texts that are hard on tokenizers: scripts, white space, marks, digits, control texts."""

from __future__ import annotations

import random
from typing import Callable, Iterator, List

#: Ranges of code points, by what they are.
RANGES = {
    "ascii": [(0x20, 0x7F)],
    "controls": [(0x00, 0x20), (0x7F, 0xA1)],
    "latin": [(0xC0, 0x250), (0x1E00, 0x1F00)],
    "greek": [(0x370, 0x3E2), (0x1F00, 0x1FFF)],
    "cyrillic": [(0x400, 0x530)],
    "hebrew": [(0x591, 0x5F5)],
    "arabic": [(0x600, 0x700), (0xFB50, 0xFDD0), (0xFE70, 0xFEFD)],
    "indic": [(0x900, 0xE00)],
    "thai": [(0xE01, 0xE5C)],
    "tibetan": [(0xF00, 0xFDB)],
    "korean": [(0xAC00, 0xD7A4), (0x1100, 0x1200), (0x3131, 0x318F)],
    "kana": [(0x3041, 0x3100), (0xFF65, 0xFFA0)],
    "han": [(0x4E00, 0xA000), (0x3400, 0x4DC0), (0x20000, 0x20100), (0xF900, 0xFAD9)],
    "marks": [(0x300, 0x370), (0x1AB0, 0x1ACF), (0x1DC0, 0x1E00), (0x20D0, 0x20F1)],
    "numbers": [(0x30, 0x3A), (0xB2, 0xBF), (0x660, 0x66A), (0x2150, 0x218A), (0x2460, 0x249C)],
    "symbols": [(0x2010, 0x2070), (0x20A0, 0x20C1), (0x2190, 0x2400), (0x2500, 0x27C0)],
    "emoji": [(0x1F300, 0x1F650), (0x1F900, 0x1FA00), (0x1F1E6, 0x1F200), (0x1F3FB, 0x1F400)],
    "rare": [(0x10000, 0x10400), (0x1D100, 0x1D800), (0xE000, 0xE020), (0xFFF0, 0x10000)],
    "plane14": [(0xE0000, 0xE0080), (0xE0100, 0xE01F0), (0x10FFF0, 0x110000)],
}
SPACES = list(" \t\n\r\x0b\x0c\x85\xa0\u1680\u2000\u2003\u2009\u2028\u2029\u202f\u205f\u3000")
NEARLY_SPACES = list("\u200b\u200c\u200d\u2060\ufeff\u180e\x1c\x1d\x1e\x1f")
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'RE", "'Ll", "'\u017f", "''"]
CONTROL_TEXTS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|extra_0|>",
    "<|extra_20|>",
    "<|extra_204|>",
    "<|extra_205|>",
    "<|im_",
    "<|im_start",
    "|>",
    "<|",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<repo_name>",
    "<reponame>",
    "<file_sep>",
    "<jupyter_code>",
    "<empty_output>",
    "<im_start>",
    "<<|im_end|>>",
    "<|im_<|im_end|>",
    "<|IM_END|>",
]
WORDS = (
    "the of and model weights token Hello World don't I'LL we'VE tokenizer 2023 3.14 1e-6 x_1 "
    "naïve Straße ΣΊΣΥΦΟΣ Привет мир שלום مرحبا नमस्ते สวัสดี 안녕하세요 こんにちは カタカナ 你好 "
    "浙江的省会在哪里 通义千问 🤖 👨‍👩‍👧 🇨🇳 ①② ½ Ⅷ e\u0301 A\u030a \u1e9b\u0323 q\u0307\u0323 "
    "qwen.cpp __init__ C++ != == -> => // /* */ https://example.org/a?b=c&d=%20 a@b.c"
).split(" ")
CODE = [
    "def f(x):\n    return x+1\n",
    'if (a&&b) {\r\n\tprintf("%d\\n", i++);\r\n}\r\n',
    "SELECT * FROM t WHERE id=42;\n",
    '<div class="a">\n  <p>text</p>\n</div>\n\n',
    "let x: [Int32] = [1, 2, 3]\n\n\n",
    '{"role": "user", "content": "…"}',
    "| a | b |\n|---|---|\n| 1 | 2 |\n",
    "$\\sum_{i=0}^{n} x_i^2$",
    "#!/bin/sh\nset -eu\n",
]


def character(random_: random.Random, name: str) -> str:
    """A character of a range; never half a surrogate pair."""
    first, last = random_.choice(RANGES[name])
    return chr(random_.randrange(first, last))


def script(random_: random.Random) -> str:
    """Words of one script with spaces between."""
    name = random_.choice(list(RANGES))
    words = []
    for _ in range(random_.randrange(1, 7)):
        words.append("".join(character(random_, name) for _ in range(random_.randrange(1, 9))))
    return random_.choice([" ", "  ", "", "\n", ", "]).join(words)


def mixture(random_: random.Random) -> str:
    """Characters of all ranges."""
    names = random_.sample(list(RANGES), random_.randrange(2, 6))
    return "".join(
        character(random_, random_.choice(names)) for _ in range(random_.randrange(1, 30))
    )


def spaces(random_: random.Random) -> str:
    """Runs of white space between pieces of everything."""
    kinds = random_.sample(SPACES, random_.randrange(1, 4)) + random_.sample(NEARLY_SPACES, 1)
    parts: List[str] = []
    for _ in range(random_.randrange(1, 8)):
        parts.append("".join(random_.choice(kinds) for _ in range(random_.randrange(0, 6))))
        parts.append(random_.choice(["a", "B.", "1", "!", "中", "'s", "é", "", "...", "½"]))
    return "".join(parts)


def lines(random_: random.Random) -> str:
    """CR and LF in every mixture."""
    ends = ["\n", "\r", "\r\n", "\n\r", " \n", "\n ", "\t\r\n", "!\r\n", ".\n\n", "  "]
    return "".join(
        random_.choice(WORDS + ["", "", ""]) + random_.choice(ends)
        for _ in range(random_.randrange(1, 10))
    )


def contractions(random_: random.Random) -> str:
    """Apostrophes before everything."""
    tails = ["", "a", "T", "ab", " ", "1", "é", "中", "'", "\n", "!"]
    return "".join(
        random_.choice(["it", " I", "", " ", "9", "WE", "’"])
        + random_.choice(CONTRACTIONS)
        + random_.choice(tails)
        for _ in range(random_.randrange(1, 7))
    )


def marks(random_: random.Random) -> str:
    """Combining marks in any order behind letters and alone."""
    out = []
    for _ in range(random_.randrange(1, 12)):
        base = random_.choice(["a", "E", "ϕ", "ᄀ", "가", "か", "क", "ا", " ", "1", "Å", "ǖ", ""])
        out.append(base)
        for _ in range(random_.randrange(0, 5)):
            out.append(
                random_.choice(
                    [
                        character(random_, "marks"),
                        chr(random_.choice([0x301, 0x308, 0x323, 0x327])),
                        random_.choice("ᅡᆨ\u3099\u309a\u093c\u0654\u0345\u0f71\u0f72\u05b7\u05bc"),
                    ]
                )
            )
    return "".join(out)


def digits(random_: random.Random) -> str:
    """Numbers with and without separators."""
    return "".join(
        random_.choice(["", " ", "  ", ",", ".", "-", "$", "\n", "x", "第"])
        + "".join(random_.choice("0123456789٣५２②Ⅷ½") for _ in range(random_.randrange(1, 8)))
        for _ in range(random_.randrange(1, 8))
    )


def controls(random_: random.Random) -> str:
    """Control texts, broken ones, and text around them."""
    return "".join(
        random_.choice(CONTROL_TEXTS)
        + random_.choice(["", "", " ", "\n", "user\n", "e", "\u0301"])
        + random_.choice(["", random_.choice(WORDS)])
        for _ in range(random_.randrange(1, 7))
    )


def prose(random_: random.Random) -> str:
    """Words of all scripts, punctuated."""
    return "".join(
        random_.choice(WORDS) + random_.choice([" ", " ", " ", ", ", ". ", "\n", "", "! "])
        for _ in range(random_.randrange(1, 40))
    )


def code(random_: random.Random) -> str:
    """Lines of program text, indented."""
    return "".join(
        random_.choice(["", "    ", "\t", "  "]) * random_.randrange(0, 4) + random_.choice(CODE)
        for _ in range(random_.randrange(1, 6))
    )


def repeats(random_: random.Random) -> str:
    """One thing many times, so that long pieces are merged by the heap."""
    thing = random_.choice(
        [
            "a",
            "ab",
            "A",
            "=",
            "-",
            " ",
            "\n",
            "\t",
            "é",
            "中",
            "的",
            "क",
            "Z\u0301",
            "^",
            "_",
            "0",
            "ha",
            "aab",
            "<|",
            "🤖",
            "\u200d",
            "\u0301",
            "ا",
        ]
    )
    tail = random_.choice(["", " ", "b", "\n", "!"])
    return thing * random_.randrange(1, 400) + tail


def letters(random_: random.Random) -> str:
    """A long word of random letters."""
    alphabet = random_.choice(["ab", "abcdefghijklmnopqrstuvwxyz", "ACGT", "абв", "的一是"])
    return "".join(random_.choice(alphabet) for _ in range(random_.randrange(1, 300)))


def everything(random_: random.Random) -> str:
    """Several kinds one after the other."""
    return "".join(random_.choice(KINDS)(random_) for _ in range(random_.randrange(2, 5)))


KINDS: List[Callable[[random.Random], str]] = [
    script,
    script,
    mixture,
    spaces,
    lines,
    contractions,
    marks,
    digits,
    controls,
    prose,
    code,
    repeats,
    letters,
]


def texts(
    random_: random.Random, count: int, accept: Callable[[str], bool] = lambda text: True
) -> Iterator[str]:
    """`count` texts that `accept` takes, the empty one first, then each kind in turn."""
    kinds = [*KINDS, everything]
    yield ""
    for number in range(count - 1):
        text = kinds[number % len(kinds)](random_)
        while not accept(text):
            text = kinds[number % len(kinds)](random_)
        yield text
