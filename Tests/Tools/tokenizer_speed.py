"""Megabytes per second of encoding, ours beside tiktoken's and quicktok-v1's where that is installed, one thread.

    python Tests/Tools/tokenizer_speed.py CASES --library libqwen.so [--text FILE ...]

CASES is a folder that tokenizer_cases.py wrote. The texts: the files named, or what comes with Python, its
documentation and its code, and a few Chinese sentences over and over. Encoded in parts of 16,384 characters; medians of
interleaved runs, in time of the processor, so that others who use it disturb less.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import sysconfig
import time
from pathlib import Path
from pydoc_data.topics import topics
from typing import Callable, Dict, Optional

import tiktoken
from tiktoken.load import load_tiktoken_bpe

from tokenizer_cases import Library
from vocabulary import QWEN_PIECES, QWEN_SPECIALS

SIZE, RUNS, PART = 4 << 20, 7, 16384
CHINESE = "通义千问是一个大规模语言模型，它可以回答问题、创作文字。浙江的省会在哪里？今天天气很好，我们去公园散步吧。"


def cut(text: str) -> str:
    return text.encode("utf-8")[:SIZE].decode("utf-8", "ignore")


def texts() -> Dict[str, str]:
    library = Path(sysconfig.get_paths()["stdlib"])
    code = "".join(path.read_text(encoding="utf-8") for path in sorted(library.glob("[a-m]*.py")))
    return {
        "english": cut("\n\n".join(topics[name] for name in sorted(topics))),
        "code": cut(code),
        "chinese": cut(CHINESE * 7000),
    }


def quicktok() -> Optional[Callable[[str], int]]:
    try:
        import quicktok as package
    except ImportError:
        return None
    encoding = package.get_encoding("qwen3")
    return lambda text: len(encoding.encode(text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--text", type=Path, action="append", default=[])
    parser.add_argument("--library", type=Path, required=True)
    arguments = parser.parse_args()
    ranks = load_tiktoken_bpe(str(arguments.folder / "qwen" / "qwen.tiktoken"))
    specials = {text: len(ranks) + index for index, text in enumerate(QWEN_SPECIALS)}
    theirs = tiktoken.Encoding("qwen", pat_str=QWEN_PIECES, mergeable_ranks=ranks, special_tokens=specials)
    library = Library(arguments.library, arguments.folder / "qwen")
    ids = (ctypes.c_int32 * (4 * PART))()

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
    if (other := quicktok()) is not None:
        encoders["quicktok"] = other
    print(f"{'text':10}" + "".join(f"{name + ' MB/s':>16}" for name in encoders) + f"{'ratio':>8}")
    chosen = {path.stem: cut(path.read_text(encoding="utf-8")) for path in arguments.text} or texts()
    for kind, text in chosen.items():
        parts = [text[start : start + PART] for start in range(0, len(text), PART)]
        seconds: Dict[str, list] = {name: [] for name in encoders}
        assert len({sum(map(encode, parts)) for encode in encoders.values()}) == 1
        for _ in range(RUNS):
            for name, encode in encoders.items():
                start = time.process_time()
                for part in parts:
                    encode(part)
                seconds[name].append(time.process_time() - start)
        rate = {name: len(text.encode()) / statistics.median(values) / 1e6 for name, values in seconds.items()}
        print(f"{kind:10}" + "".join(f"{value:16.1f}" for value in rate.values()) + f"{rate['ours'] / rate['tiktoken']:8.2f}")


if __name__ == "__main__":
    main()
