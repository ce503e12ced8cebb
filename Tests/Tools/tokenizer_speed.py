"""Megabytes per second of encoding, ours beside tiktoken's (and quicktok's where it is installed), one thread.

    python Tests/Tools/tokenizer_speed.py CASES --library libqwen.so

CASES is a folder that tokenizer_cases.py wrote. The texts: a megabyte of each kind; medians of interleaved runs.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import time
from pathlib import Path
from typing import Callable, Dict

import tiktoken
from tiktoken.load import load_tiktoken_bpe

from tokenizer_cases import Library
from vocabulary import QWEN_PIECES, QWEN_SPECIALS

SIZE, RUNS = 1 << 20, 7


def texts() -> Dict[str, str]:
    root = Path(__file__).resolve().parents[2]
    english = (root / "Tests" / "Fixtures" / "text" / "english.txt").read_text(encoding="utf-8")
    code = "".join(path.read_text(encoding="utf-8") for path in sorted(root.glob("Sources/Qwen*/*.swift")))
    chinese = "通义千问是一个大规模语言模型，它可以回答问题、创作文字。浙江的省会在哪里？今天天气很好，我们去公园散步吧。"

    def long(text: str) -> str:
        return (text * (SIZE // len(text.encode()) + 1)).encode()[:SIZE].decode("utf-8", "ignore")

    return {"english": long(english), "code": long(code), "chinese": long(chinese)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--library", type=Path, required=True)
    arguments = parser.parse_args()
    ranks = load_tiktoken_bpe(str(arguments.folder / "qwen" / "qwen.tiktoken"))
    specials = {text: len(ranks) + index for index, text in enumerate(QWEN_SPECIALS)}
    theirs = tiktoken.Encoding("qwen", pat_str=QWEN_PIECES, mergeable_ranks=ranks, special_tokens=specials)
    library = Library(arguments.library, arguments.folder / "qwen")
    ids = (ctypes.c_int32 * (SIZE + 8))()

    def ours(text: str) -> int:
        data, count = text.encode("utf-8"), ctypes.c_size_t()
        library.check(
            library.call.qwen_tokenize(
                library.model, data, ctypes.c_size_t(len(data)), None, ids, ctypes.c_size_t(len(ids)),
                ctypes.byref(count),
            )
        )
        return count.value

    encoders: Dict[str, Callable[[str], int]] = {
        "ours": ours,
        "tiktoken": lambda text: len(theirs.encode_ordinary(text)),
    }
    print(f"{'text':10}" + "".join(f"{name + ' MB/s':>16}" for name in encoders) + f"{'ratio':>8}")
    for kind, text in texts().items():
        seconds: Dict[str, list] = {name: [] for name in encoders}
        assert len({encode(text) for encode in encoders.values()}) == 1
        for _ in range(RUNS):
            for name, encode in encoders.items():
                start = time.perf_counter()
                encode(text)
                seconds[name].append(time.perf_counter() - start)
        rate = {name: len(text.encode()) / statistics.median(values) / 1e6 for name, values in seconds.items()}
        print(f"{kind:10}" + "".join(f"{value:16.1f}" for value in rate.values()) + f"{rate['ours'] / rate['tiktoken']:8.2f}")


if __name__ == "__main__":
    main()
