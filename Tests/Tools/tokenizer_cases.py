#!/usr/bin/env python3
"""Compares token ids with tiktoken and tokenizers on many seeded texts.

    pip install tiktoken tokenizers gguf unicodedata2==16.0.0
    python Tests/Tools/tokenizer_cases.py write OUT --tiktoken qwen.tiktoken --gguf SmolLM2.gguf
    LIBQWEN_TOKENIZER_CASES=OUT swift test --filter TokenizerCaseTests
    python Tests/Tools/tokenizer_cases.py compare OUT --library libqwen.so

`write` makes OUT/<vocabulary>/ (the files a model folder has, or a link to the GGUF file) and
OUT/<vocabulary>.cases: texts with the ids that the reference gives. `compare` asks the library for
the ids of the same texts through its C interface. The vocabularies:

- `qwen`: the ranks with tiktoken, after NFC;
- `qwen2`: tokenizer.json of merges derived from the ranks, with tokenizers;
- `vocab`: the same as vocab.json, merges.txt and tokenizer_config.json;
- `smollm2`: tokens and merges of the GGUF file, with tokenizers.

A case is: byte 1 if control texts are recognised, else 0; text and ids, each with a 32-bit count
before it, all little-endian.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import random
import struct
import sys
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Sequence, Tuple

import tiktoken
import unicodedata2
from gguf import GGUFReader
from tiktoken.load import load_tiktoken_bpe
from tokenizers import AddedToken, Tokenizer, models, normalizers

from tokenizer_texts import texts
from vocabulary import QWEN_PIECES, QWEN_SPECIALS, dress, spelled

#: Added tokens of Qwen3 from id 151643 on: hidden by decoding ...
QWEN3_CONTROLS = (
    "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> "
    "<|box_end|> <|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> "
    "<|image_pad|> <|video_pad|>"
).split()
#: ... and shown by it.
QWEN3_SHOWN = (
    "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> "
    "<|repo_name|> <|file_sep|> <tool_response> </tool_response> <think> </think>"
).split()

Encode = Callable[[str, bool], List[int]]
Case = Tuple[bool, str, List[int]]


def derived_merges(ranks: Dict[bytes, int]) -> List[Tuple[bytes, bytes]]:
    """The two parts that each token of several bytes is merged from, in rank order."""
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        parts = [token[index : index + 1] for index in range(len(token))]
        while len(parts) > 2:
            found = [ranks.get(a + b, rank) for a, b in zip(parts, parts[1:])]
            best = min(range(len(found)), key=lambda index: (found[index], index))
            if found[best] >= rank:
                break
            parts[best : best + 2] = [parts[best] + parts[best + 1]]
        if len(token) > 1:
            assert len(parts) == 2, token
            merges.append((parts[0], parts[1]))
    return merges


def qwen(path: Path, out: Path) -> Encode:
    """The first generation; leaves its files in `out`."""
    ranks = load_tiktoken_bpe(str(path))
    specials = {text: len(ranks) + index for index, text in enumerate(QWEN_SPECIALS)}
    encoding = tiktoken.Encoding(
        "qwen", pat_str=QWEN_PIECES, mergeable_ranks=ranks, special_tokens=specials
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "qwen.tiktoken").write_bytes(path.read_bytes())
    config = Path(__file__).parents[1] / "Fixtures" / "tiny" / "qwen-ntk" / "config.json"
    values = json.loads(config.read_text()) | {"vocab_size": 151936}
    (out / "config.json").write_text(json.dumps(values))

    def encode(text: str, special: bool) -> List[int]:
        text = unicodedata2.normalize("NFC", text)
        allowed = "all" if special else set()
        return encoding.encode(text, allowed_special=allowed, disallowed_special=())

    return encode


def qwen2(path: Path, out: Path, vocab: Path) -> Encode:
    """Later generations; leaves tokenizer.json in `out`, vocab.json and merges.txt in `vocab`."""
    ranks = load_tiktoken_bpe(str(path))
    tokens = {spelled(token): rank for token, rank in ranks.items()}
    merges = [(spelled(left), spelled(right)) for left, right in derived_merges(ranks)]
    plain = Tokenizer(models.BPE(vocab=tokens, merges=merges))
    dress(plain, "qwen2")
    data = json.loads(plain.to_str())
    data["added_tokens"] = [
        {"id": len(ranks) + index, "content": text, "special": text in QWEN3_CONTROLS}
        | {"normalized": False, "lstrip": False, "rstrip": False, "single_word": False}
        for index, text in enumerate(QWEN3_CONTROLS + QWEN3_SHOWN)
    ]
    whole = json.dumps(data, ensure_ascii=False)
    config = Path(__file__).parents[1] / "Fixtures" / "tiny" / "qwen3" / "config.json"
    values = json.loads(config.read_text()) | {"vocab_size": 151936}
    for folder in (out, vocab):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(values))
    (out / "tokenizer.json").write_text(whole, encoding="utf-8")
    (vocab / "vocab.json").write_text(json.dumps(tokens, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (vocab / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    added = {str(entry["id"]): entry for entry in data["added_tokens"]}
    (vocab / "tokenizer_config.json").write_text(
        json.dumps({"added_tokens_decoder": added, "tokenizer_class": "Qwen2Tokenizer"})
    )
    return both(plain, Tokenizer.from_str(whole))


def smollm2(path: Path, out: Path) -> Encode:
    """SmolLM2 from its GGUF file, which `out` then links to."""
    fields = GGUFReader(str(path)).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(line.split(" ")) for line in fields["tokenizer.ggml.merges"].contents()]
    vocab = {token: index for index, token in enumerate(tokens)}
    plain, whole = (Tokenizer(models.BPE(vocab=vocab, merges=merges)) for _ in range(2))
    for tokenizer in (plain, whole):
        dress(tokenizer, "smollm")
    controls = [token for token, kind in zip(tokens, kinds) if kind == 3]
    whole.add_special_tokens([AddedToken(text, normalized=False) for text in controls])
    out.mkdir(parents=True, exist_ok=True)
    link = out / "model.gguf"
    link.unlink(missing_ok=True)
    link.symlink_to(path.resolve())
    return both(plain, whole)


def both(plain: Tokenizer, whole: Tokenizer) -> Encode:
    """Encodes with added tokens or without."""
    return lambda text, special: (whole if special else plain).encode(text).ids


def same_nfc(text: str) -> bool:
    """Whether tokenizers normalises a text as Unicode 16 does; 120 newer marks it does not know."""
    return normalizers.NFC().normalize_str(text) == unicodedata2.normalize("NFC", text)


def write_cases(path: Path, encode: Encode, count: int, seed: int) -> None:
    """Writes `count` cases; every third recognises control texts."""
    accept = same_nfc if path.stem in ("qwen2", "vocab") else lambda text: True
    shuffler = random.Random(seed)
    with path.open("wb") as file:
        for number, text in enumerate(texts(shuffler, count, accept)):
            special = number % 3 == 0
            ids = encode(text, special)
            data = text.encode("utf-8")
            file.write(struct.pack("<BI", special, len(data)) + data)
            file.write(struct.pack(f"<I{len(ids)}i", len(ids), *ids))


def read_cases(path: Path) -> Iterator[Case]:
    """The cases of a file."""
    data, place = path.read_bytes(), 0
    while place < len(data):
        special, size = struct.unpack_from("<BI", data, place)
        text = data[place + 5 : place + 5 + size].decode("utf-8")
        place += 5 + size
        (count,) = struct.unpack_from("<I", data, place)
        ids = list(struct.unpack_from(f"<{count}i", data, place + 4))
        place += 4 + 4 * count
        yield bool(special), text, ids


class Library:
    """One model's tokenizer behind the C interface."""

    def __init__(self, library: Path, model: Path) -> None:
        self.call = ctypes.CDLL(str(library.resolve()))
        self.call.qwen_last_error.restype = ctypes.c_char_p
        self.call.qwen_model_close.argtypes = [ctypes.c_void_p]
        self.model = ctypes.c_void_p()
        options = b'{"load": "vocabulary"}'
        self.check(
            self.call.qwen_model_open(
                ctypes.byref(self.model), str(model).encode(), options, None, None
            )
        )

    def check(self, status: int) -> None:
        if status != 0:
            raise RuntimeError(self.call.qwen_last_error().decode())

    def encode(self, text: str, special: bool) -> List[int]:
        data = text.encode("utf-8")
        ids = (ctypes.c_int32 * (4 * len(data) + 8))()
        count = ctypes.c_size_t()
        options = b'{"special": "all"}' if special else None
        self.check(
            self.call.qwen_tokenize(
                self.model,
                data,
                ctypes.c_size_t(len(data)),
                options,
                ids,
                ctypes.c_size_t(len(ids)),
                ctypes.byref(count),
            )
        )
        return ids[: count.value]


def compare(library: Path, folder: Path, names: Sequence[str]) -> int:
    """Prints equal and unequal counts of each vocabulary; the number of unequal ones."""
    wrong = 0
    for name in names:
        model = folder / name
        tokenizer = Library(library, model / "model.gguf" if name == "smollm2" else model)
        differences = total = 0
        for special, text, ids in read_cases(folder / f"{name}.cases"):
            total += 1
            found = tokenizer.encode(text, special)
            if found != ids:
                differences += 1
                if differences <= 5:
                    print(f"{name}: {text!r} special={special}\n  {found}\n  {ids}")
        print(f"{name}: {total - differences} of {total} texts have equal ids")
        wrong += differences
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mode", choices=["write", "compare"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tiktoken", type=Path)
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=20230803)
    options = parser.parse_args()
    out = options.folder
    if options.mode == "compare":
        names = [path.stem for path in sorted(out.glob("*.cases"))]
        return 1 if compare(options.library, out, names) else 0
    encoders: Dict[str, Encode] = {}
    if options.tiktoken:
        encoders["qwen"] = qwen(options.tiktoken, out / "qwen")
        encoders["qwen2"] = encoders["vocab"] = qwen2(
            options.tiktoken, out / "qwen2", out / "vocab"
        )
    if options.gguf:
        encoders["smollm2"] = smollm2(options.gguf, out / "smollm2")
    for name, encode in encoders.items():
        write_cases(out / f"{name}.cases", encode, options.count, options.seed)
        print(f"{out / name}.cases: {options.count} texts")
    return 0


if __name__ == "__main__":
    sys.exit(main())
