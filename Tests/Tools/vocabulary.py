"""Byte-level vocabularies for fixtures: the byte alphabet, a tiny trained table, its files."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import regex
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

#: How Qwen cuts text into pieces before merging.
QWEN_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

#: The control tokens of the first Qwen generation in the order of their ids.
QWEN_SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + [
    f"<|extra_{index}|>" for index in range(205)
]


def byte_alphabet() -> Dict[int, str]:
    """The printable character that stands for each byte in byte-level vocabularies, in id order.

    Printable bytes of Latin-1 stand for themselves, the other 68 for U+0100 and up.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {byte: chr(byte) for byte in printable}
    alphabet.update({byte: chr(0x100 + index) for index, byte in enumerate(others)})
    return alphabet


ALPHABET = byte_alphabet()
BYTE_OF = {character: byte for byte, character in ALPHABET.items()}


def spelled(token: bytes) -> str:
    """A token as byte-level vocabularies spell it."""
    return "".join(ALPHABET[byte] for byte in token)


def unspelled(token: str) -> bytes:
    """The bytes of a token that is spelled that way."""
    return bytes(BYTE_OF[character] for character in token)


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in rank order (256 single bytes first) and the pair each longer one came from."""

    tokens: List[bytes]
    merges: List[Tuple[bytes, bytes]]

    @classmethod
    def train(cls, text: str, merges: int) -> "Vocabulary":
        """Merges the most frequent pair again and again; ties go to the smaller pair."""
        words = Counter(
            tuple(bytes([byte]) for byte in piece.encode("utf-8"))
            for piece in regex.findall(QWEN_PIECES, text)
        )
        tokens, made = [bytes([byte]) for byte in ALPHABET], []
        for _ in range(merges):
            pairs: Counter[Tuple[bytes, bytes]] = Counter()
            for word, count in words.items():
                for pair in zip(word, word[1:]):
                    pairs[pair] += count
            best = min(pairs, key=lambda pair: (-pairs[pair], pair))
            made.append(best)
            tokens.append(best[0] + best[1])
            words = Counter({_merged(word, best): count for word, count in words.items()})
        return cls(tokens, made)

    def write_tiktoken(self, path: Path) -> None:
        """Writes `<base64> <rank>` lines, as in qwen.tiktoken."""
        write_tiktoken(path, self.tokens)

    def tokenizer(self, specials: Sequence[str], plain: Sequence[str], style: str) -> Tokenizer:
        """A Hugging Face tokenizer with control tokens behind the table.

        Args:
            specials: tokens that `skip_special_tokens` removes.
            plain: added tokens that it keeps.
            style: "qwen2" (NFC, Qwen's pieces) or "smollm" (single digits, GPT-2's pieces).
        """
        vocab = {spelled(token): rank for rank, token in enumerate(self.tokens)}
        merges = [(spelled(left), spelled(right)) for left, right in self.merges]
        tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
        dress(tokenizer, style)
        for texts, special in ((specials, True), (plain, False)):
            tokenizer.add_tokens([AddedToken(t, special=special, normalized=False) for t in texts])
        return tokenizer


def dress(tokenizer: Tokenizer, style: str) -> None:
    """Sets normaliser, pre-tokeniser and decoder of a family; see `Vocabulary.tokenizer`."""
    if style == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
        first = pre_tokenizers.Split(Regex(QWEN_PIECES), behavior="isolated")
    else:
        first = pre_tokenizers.Digits(individual_digits=True)
    second = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=style != "qwen2")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([first, second])
    tokenizer.decoder = decoders.ByteLevel()


def write_tiktoken(path: Path, tokens: Sequence[bytes]) -> None:
    """Writes tokens in rank order as `<base64> <rank>` lines."""
    lines = (
        f"{base64.b64encode(token).decode('ascii')} {rank}\n" for rank, token in enumerate(tokens)
    )
    path.write_text("".join(lines), encoding="ascii")


def _merged(word: Tuple[bytes, ...], pair: Tuple[bytes, bytes]) -> Tuple[bytes, ...]:
    """`word` with each occurrence of the pair, from the left, made one token."""
    made: List[bytes] = []
    index = 0
    while index < len(word):
        if word[index : index + 2] == pair:
            made.append(pair[0] + pair[1])
            index += 2
        else:
            made.append(word[index])
            index += 1
    return tuple(made)
