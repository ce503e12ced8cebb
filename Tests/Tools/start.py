"""How long the first token of a model file takes, beside a plain read of the bytes that it touches.

    python Tests/Tools/start.py MODEL.gguf [--command build/bin/qwen] [--rounds 5]

Cold: the file's pages are given back to the system first (which keeps those that another process maps), then a new process
opens the model and writes one token. The pages that are there afterwards are what it touched; they are read with plain
reads of 1 MiB, cold and warm, and the process runs again on warm pages. A start ends with the first byte of the answer; in
brackets stands when the process is gone, its pages given back. Medians of the rounds, in seconds, and their ratios. Reads
go through one thread.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import statistics
import subprocess
import time
from pathlib import Path
from typing import Callable, List, Tuple

LIBC = ctypes.CDLL(None, use_errno=True)
STEP = 1 << 20


def evict(path: Path) -> None:
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def resident(path: Path) -> List[Tuple[int, int]]:
    """Offsets and lengths of the runs of pages that are in memory."""
    size = path.stat().st_size
    pages = -(-size // mmap.PAGESIZE)
    here = (ctypes.c_ubyte * pages)()
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as view:
        # A private mapping is writable, so that its address can be had; nothing is written.
        start = ctypes.addressof(ctypes.c_char.from_buffer(view))
        if LIBC.mincore(ctypes.c_void_p(start), ctypes.c_size_t(size), here) != 0:
            raise OSError(ctypes.get_errno(), "mincore")
    runs: List[Tuple[int, int]] = []
    for page, flag in enumerate(bytes(here)):
        if not flag & 1:
            continue
        offset = page * mmap.PAGESIZE
        if runs and sum(runs[-1]) == offset:
            runs[-1] = (runs[-1][0], runs[-1][1] + mmap.PAGESIZE)
        else:
            runs.append((offset, mmap.PAGESIZE))
    return runs


def read(path: Path, runs: List[Tuple[int, int]]) -> None:
    buffer = bytearray(STEP)
    with path.open("rb", buffering=0) as file:
        for offset, length in runs:
            for start in range(offset, offset + length, STEP):
                view = memoryview(buffer)[: min(STEP, offset + length - start)]
                os.preadv(file.fileno(), [view], start)


def timed(body: Callable[[], None]) -> float:
    start = time.perf_counter()
    body()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--command", default="build/bin/qwen")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    path: Path = arguments.model

    kinds = ("cold start", "cold process", "cold read", "warm read", "warm start", "warm process")
    seconds: dict = {name: [] for name in kinds}

    def start(kind: str) -> None:
        command = [arguments.command, "generate", str(path), "Hello", "--max-new-tokens", "1", "--do-sample", "false"]
        begin = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            os.read(process.stdout.fileno(), 1)
            seconds[f"{kind} start"].append(time.perf_counter() - begin)
            if process.wait() != 0:
                raise SystemExit(f"{arguments.command} ended with {process.returncode}")
        seconds[f"{kind} process"].append(time.perf_counter() - begin)

    touched = 0
    for _ in range(arguments.rounds):
        evict(path)
        start("cold")
        runs = resident(path)
        touched = sum(length for _, length in runs)
        evict(path)
        seconds["cold read"].append(timed(lambda: read(path, runs)))
        seconds["warm read"].append(timed(lambda: read(path, runs)))
        start("warm")
    median = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{path.name}: {touched / 1e9:.2f} GB touched of {path.stat().st_size / 1e9:.2f}")
    for kind in ("cold", "warm"):
        first, plain = median[f"{kind} start"], median[f"{kind} read"]
        whole = median[f"{kind} process"]
        print(f"{kind}: first token {first:.3f} s ({whole:.3f}), plain read {plain:.3f} s, ratio {first / plain:.2f}")


if __name__ == "__main__":
    main()
