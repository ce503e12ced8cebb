"""What a model takes in memory in several formats, planned and as measured, one process a format.

    python Tests/Tools/memory_table.py .cache/full-size/Qwen-7B-Chat [--weights bf16,int8,nf4,nf4-double,q4_0]

Peak and steady memory are VmHWM and VmRSS of a process that has opened the model, opened a session of 2048 tokens and
written a few tokens; keys and values of the whole contexts come from the plan, since only what is used is allocated.
LIBQWEN_LIBRARY names the library. Sizes in units of 10^9 bytes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bindings" / "python"))


def status(field: str) -> int:
    """A size of this process in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) << 10
    return 0


def measure(path: str, weights: str) -> Dict[str, Any]:
    """Opens the model and answers; in a process of its own."""
    import libqwen

    plan = libqwen.Model.plan(path, weights=weights, context=2048, contexts=[2048, 8192])
    with libqwen.Model(path, weights=weights) as model:
        loaded = status("VmHWM")
        after = status("VmRSS")
        with model.session(context=2048) as session:
            session.generate("The river had risen", max_new_tokens=2, do_sample=False, stop_ids=[])
            steady = status("VmRSS")
        parts = {part["part"]: part["format"] for part in model.info["parts"]}
    return {
        "weights": weights,
        "formats": parts,
        "weight_bytes": plan["weights"]["bytes"],
        "mapped_bytes": plan["weights"]["mapped_bytes"],
        "kv_bytes": {str(c["context"]): c["kv_bytes"] for c in plan["contexts"]},
        "peak_while_loading": loaded,
        "rss_after_loading": after,
        "rss_answering": steady,
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--weights", default="bf16,int8,nf4,nf4-double,q4_0")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.model, arguments.one)))
        return
    rows = []
    for weights in arguments.weights.split(","):
        command = [sys.executable, __file__, arguments.model, "--one", weights]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            print(f"{weights}: {run.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        else:
            rows.append(json.loads(run.stdout))
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    print("| weights | head | bytes | of a file | KV 2K | KV 8K | peak loading | loaded | answering |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        sizes = [
            row["weight_bytes"], row["mapped_bytes"], row["kv_bytes"]["2048"], row["kv_bytes"]["8192"],
            row["peak_while_loading"], row["rss_after_loading"], row["rss_answering"],
        ]  # fmt: skip
        head = row["formats"].get("head", row["formats"]["embeddings"])
        cells = [row["weights"], head, *(f"{size / 1e9:.2f}" for size in sizes)]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
