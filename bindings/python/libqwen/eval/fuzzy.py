"""How alike two texts are, from 0 to 100: the weighted ratio of fuzzy matching.

The measure that the release's chat scripts fall back on: the best of whole texts, sorted words,
sets of words,
and, when one text is much longer, of the best window. Two texts are alike as far as the length of
their longest common subsequence goes: ``200 * lcs / (len(a) + len(b))``.
"""

from __future__ import annotations

import re
from typing import Sequence

__all__ = ["nearest", "weighted_ratio"]


def nearest(text: str, choices: Sequence[str]) -> int:
    """The index of the choice that is most like the text; the first of several."""
    scores = [weighted_ratio(text, choice) for choice in choices]
    return scores.index(max(scores))


def weighted_ratio(first: str, second: str) -> float:
    """The likeness of two texts, without regard to case and to signs."""
    a, b = _plain(first), _plain(second)
    if not a or not b:
        return 0.0
    lengths = max(len(a), len(b)) / min(len(a), len(b))
    best = _ratio(a, b)
    if lengths < 1.5:
        return max(best, 0.95 * _token_ratio(a, b))
    scale = 0.9 if lengths <= 8.0 else 0.6
    best = max(best, scale * _partial(a, b))
    return max(best, 0.95 * scale * _partial_token_ratio(a, b))


def _plain(text: str) -> str:
    return re.sub(r"[\W_]", " ", text).lower().strip()


def _common(a: str, b: str) -> int:
    """The length of the longest common subsequence, a column of the table in one integer."""
    places: "dict[str, int]" = {}
    for index, letter in enumerate(a):
        places[letter] = places.get(letter, 0) | (1 << index)
    full = (1 << len(a)) - 1
    row = full
    for letter in b:
        met = row & places.get(letter, 0)
        row = ((row + met) | (row - met)) & full
    return len(a) - bin(row).count("1")


def _ratio(a: str, b: str) -> float:
    total = len(a) + len(b)
    return 200.0 * _common(a, b) / total if total else 100.0


def _partial(a: str, b: str) -> float:
    """The best ratio of the shorter text with a window of the longer one, as long or cut by an end."""
    if len(a) > len(b):
        a, b = b, a
    if not a:
        return 0.0
    width, best = len(a), 0.0
    for start in range(1 - width, len(b)):
        window = b[max(start, 0) : start + width]
        if window[0] in a or window[-1] in a:
            best = max(best, _ratio(a, window))
            if best == 100.0:
                break
    if len(a) == len(b) and best < 100.0:
        for start in range(1 - width, len(a)):
            best = max(best, _ratio(b, a[max(start, 0) : start + width]))
    return best


def _token_ratio(a: str, b: str) -> float:
    words_a, words_b = sorted(a.split()), sorted(b.split())
    best = _ratio(" ".join(words_a), " ".join(words_b))
    shared, rest_a, rest_b = _sets(words_a, words_b)
    if shared and not (rest_a and rest_b):
        return 100.0
    common, left, right = " ".join(shared), " ".join(rest_a), " ".join(rest_b)
    joined = len(common) + (1 if common else 0)
    # The shared words stand first in both, so they count whole.
    both = joined + _common(left, right)
    best = max(best, 200.0 * both / (2 * joined + len(left) + len(right)))
    if common:
        for rest in (left, right):
            whole = len(common) + 1 + len(rest)
            best = max(best, 200.0 * len(common) / (len(common) + whole))
    return best


def _partial_token_ratio(a: str, b: str) -> float:
    words_a, words_b = sorted(a.split()), sorted(b.split())
    shared, rest_a, rest_b = _sets(words_a, words_b)
    if shared:
        return 100.0
    best = _partial(" ".join(words_a), " ".join(words_b))
    if len(words_a) == len(rest_a) and len(words_b) == len(rest_b):
        return best
    return max(best, _partial(" ".join(rest_a), " ".join(rest_b)))


def _sets(a: Sequence[str], b: Sequence[str]) -> "tuple[list[str], list[str], list[str]]":
    one, two = set(a), set(b)
    return sorted(one & two), sorted(one - two), sorted(two - one)
