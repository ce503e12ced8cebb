"""Speed beside another engine's, run in turn on the same files.

    python Tests/Tools/compare.py --peer llama.cpp=PATH/llama-bench MODEL.gguf ...

Each round runs ours, then each peer; the table has medians over the rounds and ratios of medians. `decode / read` is
the bytes of weights that a token needs times tokens per second, divided by the bytes per second that `qwen bench` reads memory
at in the same runs. Peers are programs with the interface of llama-bench; without one, ours alone. LIBQWEN_ISA=avx2 in the
environment limits ours, beside a peer built for no more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Tuple

ROOT = Path(__file__).resolve().parents[2]


def ours(model: Path, a: argparse.Namespace) -> Tuple[float, float, float]:
    """Tokens per second of prefill and decode, and the part of the rate of reading that decoding reached."""
    command = [a.qwen, "bench", model, "--prompt", a.prompt, "--generate", a.generate, "--threads", a.threads]
    command += ["--depth", a.depth]
    facts = run([*command, "--repetitions", 1, "--json", *a.ours])
    prefill, decode = facts["prefill_tokens_per_second"], facts["decode_tokens_per_second"]
    read = facts["read_bytes_per_second"] or float("nan")
    return prefill, decode, decode * facts["weight_bytes_per_token"] / read


def peer(program: str, model: Path, a: argparse.Namespace) -> Tuple[float, float]:
    """The same of a program like llama-bench."""
    command = [program, "-m", model, "-p", a.prompt, "-n", a.generate, "-t", a.threads, "-r", 1, "-o", "json"]
    command += ["-d", a.depth]
    rows = run(command)
    prefill = next(row["avg_ts"] for row in rows if row["n_prompt"])
    decode = next(row["avg_ts"] for row in rows if row["n_gen"])
    return prefill, decode


def run(command: list):
    """The JSON that a command prints."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return json.loads(done.stdout)


def compare(model: Path, peers: Dict[str, str], a: argparse.Namespace) -> dict:
    """Medians over the rounds."""
    seen: Dict[str, List[Tuple[float, float]]] = {"ours": []}
    fractions: List[float] = []
    for round_ in range(a.rounds):
        print(f"{model.name}: round {round_ + 1} of {a.rounds}", file=sys.stderr)
        prefill, decode, fraction = ours(model, a)
        seen["ours"].append((prefill, decode))
        fractions.append(fraction)
        for name, program in peers.items():
            seen.setdefault(name, []).append(peer(program, model, a))
    medians = {
        name: {
            "prefill": statistics.median(pair[0] for pair in pairs),
            "decode": statistics.median(pair[1] for pair in pairs),
        }
        for name, pairs in seen.items()
    }
    return {
        "model": model.name,
        "tokens_per_second": medians,
        "decode_to_read": statistics.median(fractions),
        "ratios": {
            name: {kind: medians["ours"][kind] / medians[name][kind] for kind in ("prefill", "decode")}
            for name in peers
        },
    }


def table(results: List[dict], peers: Dict[str, str]) -> str:
    """The results as Markdown."""
    heads = ["model", "prefill tok/s", "decode tok/s", "decode / read"]
    for name in peers:
        heads += [f"{name} prefill", f"{name} decode", "prefill ratio", "decode ratio"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for result in results:
        rates = result["tokens_per_second"]
        cells = [result["model"], f"{rates['ours']['prefill']:.0f}", f"{rates['ours']['decode']:.1f}"]
        cells.append(f"{result['decode_to_read']:.2f}")
        for name in peers:
            ratio = result["ratios"][name]
            cells += [f"{rates[name]['prefill']:.0f}", f"{rates[name]['decode']:.1f}"]
            cells += [f"{ratio['prefill']:.2f}", f"{ratio['decode']:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Compares and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PROGRAM")
    parser.add_argument("--qwen", default=str(ROOT / "build" / "bin" / "qwen"))
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--depth", type=int, default=0, help="tokens in the session before")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ours", action="append", default=[], help="an argument more for qwen bench: --ours=--compute")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    peers = dict(entry.split("=", 1) for entry in arguments.peer)
    results = [compare(model, peers, arguments) for model in arguments.models]
    print(json.dumps(results, indent=2) if arguments.json else table(results, peers))


if __name__ == "__main__":
    main()
