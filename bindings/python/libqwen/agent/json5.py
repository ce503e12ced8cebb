"""Reads the JSON that models write: JSON5, and, when asked, what is cut off or fenced."""

from __future__ import annotations

import math
import re
from typing import Any, Dict, List, Tuple

__all__ = ["JSON5Error", "loads", "loads_tolerant"]

_SPACE = re.compile(r"(?:[\s\ufeff]|//[^\n\r\u2028\u2029]*|/\*.*?\*/)*", re.DOTALL)
_NAME = re.compile(r"(?:[^\W\d]|[$_])(?:\w|[$\u200c\u200d])*")
_NUMBER = re.compile(
    r"([+-]?)(?:(0[xX][0-9a-fA-F]+)|(Infinity)|(NaN)|((?:0|[1-9]\d*)(?:\.\d*)?(?:[eE][+-]?\d+)?"
    r"|\.\d+(?:[eE][+-]?\d+)?))(?![\w$])"
)
_PLAIN = {
    "'": re.compile(r"[^'\\\n\r]*"),
    '"': re.compile(r'[^"\\\n\r]*'),
}
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "0": "\0"}
_DEEPEST = 100


class JSON5Error(ValueError):
    """The text is not JSON5; the message has the position."""


def loads(text: str) -> Any:
    """The value of a JSON5 text.

    Raises:
        JSON5Error: it is none, or has something behind it, or is nested more than 100 deep.
    """
    reader = _Reader(text)
    value, at = reader.value(reader.space(0), 0)
    at = reader.space(at)
    if at != len(text):
        raise reader.wrong(at, "something stands behind the value")
    return value


def loads_tolerant(text: str) -> Any:
    """The value of what a model meant as JSON: JSON5 without a fence, completed if it was cut.

    Raises:
        JSON5Error: that does not help either.
    """
    body = text.strip()
    fence = re.match(r"```[\w-]*[ \t]*\n?(.*?)(?:```|$)", body, re.DOTALL)
    if fence:
        body = fence.group(1).strip()
    try:
        return loads(body)
    except JSON5Error as error:
        for candidate in _completions(body):
            try:
                return loads(candidate)
            except JSON5Error:
                continue
        raise error from None


def _completions(text: str) -> List[str]:
    """Texts that close what is open in `text`, and the first whole value in it."""
    closers: List[str] = []
    quote, at, end = "", 0, 0
    while at < len(text):
        letter = text[at]
        if quote:
            if letter == "\\":
                at += 1
            elif letter == quote:
                quote = ""
        elif letter in "\"'":
            quote = letter
        elif letter in "{[":
            closers.append("}" if letter == "{" else "]")
        elif letter in "}]" and closers:
            closers.pop()
            if not closers and not end:
                end = at + 1
        at += 1
    found = [text[:end]] if end else []
    if closers or quote:
        tail = "".join(reversed(closers))
        whole = text[:-1] if quote and text.endswith("\\") else text
        found.append(whole + quote + tail)
        # A member that has a name and nothing else yet goes.
        shorter = re.sub(r"[,{]\s*(?:\"[^\"]*\"?|'[^']*'?|\w*)\s*:?\s*$", _kept, whole)
        found.append(shorter.rstrip().rstrip(",") + tail)
    return found


def _kept(match: "re.Match[str]") -> str:
    return "{" if match.group().startswith("{") else ""


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text

    def wrong(self, at: int, reason: str) -> JSON5Error:
        return JSON5Error(f"character {at}: {reason}")

    def space(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        return match.end() if match else at

    def value(self, at: int, depth: int) -> Tuple[Any, int]:
        if depth > _DEEPEST:
            raise self.wrong(at, "nested too deep")
        letter = self.text[at : at + 1]
        if letter == "{":
            return self.members(at + 1, depth)
        if letter == "[":
            return self.elements(at + 1, depth)
        if letter and letter in "\"'":
            return self.string(at)
        number = _NUMBER.match(self.text, at)
        if number:
            return _number(number), number.end()
        word = _NAME.match(self.text, at)
        words: Dict[str, Any] = {"true": True, "false": False, "null": None}
        if word and word.group() in words:
            return words[word.group()], word.end()
        raise self.wrong(at, "a value is expected")

    def members(self, at: int, depth: int) -> Tuple[Dict[str, Any], int]:
        found: Dict[str, Any] = {}
        while True:
            at = self.space(at)
            letter = self.text[at : at + 1]
            if letter == "}":
                return found, at + 1
            if letter and letter in "\"'":
                name, at = self.string(at)
            else:
                word = _NAME.match(self.text, at)
                if not word:
                    raise self.wrong(at, "a name is expected")
                name, at = word.group(), word.end()
            at = self.space(at)
            if self.text[at : at + 1] != ":":
                raise self.wrong(at, "a colon is expected")
            found[name], at = self.value(self.space(at + 1), depth + 1)
            at = self.separator(at, "}")

    def elements(self, at: int, depth: int) -> Tuple[List[Any], int]:
        found: List[Any] = []
        while True:
            at = self.space(at)
            if self.text[at : at + 1] == "]":
                return found, at + 1
            value, at = self.value(at, depth + 1)
            found.append(value)
            at = self.separator(at, "]")

    def separator(self, at: int, closer: str) -> int:
        at = self.space(at)
        letter = self.text[at : at + 1]
        if letter == ",":
            return at + 1
        if letter == closer:
            return at
        raise self.wrong(at, f"a comma or {closer} is expected")

    def string(self, at: int) -> Tuple[str, int]:
        quote = self.text[at]
        parts: List[str] = []
        at += 1
        while True:
            plain = _PLAIN[quote].match(self.text, at)
            assert plain
            parts.append(plain.group())
            at = plain.end()
            letter = self.text[at : at + 1]
            if letter == quote:
                return "".join(parts), at + 1
            if letter != "\\" or at + 1 >= len(self.text):
                raise self.wrong(at, "a string does not end")
            part, at = self.escape(at + 1)
            parts.append(part)

    def escape(self, at: int) -> Tuple[str, int]:
        letter = self.text[at]
        if letter in "\n\u2028\u2029":
            return "", at + 1
        if letter == "\r":
            return "", at + (2 if self.text[at + 1 : at + 2] == "\n" else 1)
        digits = {"x": 2, "u": 4}.get(letter)
        if digits is None:
            if letter.isdigit() and letter != "0":
                raise self.wrong(at, "an escape of digits")
            return _ESCAPES.get(letter, letter), at + 1
        code = self.text[at + 1 : at + 1 + digits]
        if not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", code):
            raise self.wrong(at, "hexadecimal digits are expected")
        value, at = int(code, 16), at + 1 + digits
        low = re.match(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})", self.text[at : at + 6])
        if 0xD800 <= value < 0xDC00 and low:
            value = 0x10000 + ((value - 0xD800) << 10) + int(low.group(1), 16) - 0xDC00
            at += 6
        return chr(value), at


def _number(match: "re.Match[str]") -> Any:
    sign = -1 if match.group(1) == "-" else 1
    _, hexadecimal, infinite, nan, decimal = match.groups()
    if hexadecimal:
        return sign * int(hexadecimal, 16)
    if infinite:
        return sign * math.inf
    if nan:
        return math.nan
    # Python reads no more than some thousand digits as an integer.
    return sign * (int(decimal) if decimal.isdigit() and len(decimal) < 1000 else float(decimal))
