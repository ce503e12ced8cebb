"""``libqwen eval``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

from ..model import Model
from ..plot import draw
from .runner import Runner
from .scores import Score
from .tables import report
from .tasks import TASKS, run_task

__all__ = ["add_arguments", "run"]


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommand."""
    files = "\n".join(f"  {name:18} {task.files}" for name, task in TASKS.items())
    parser = commands.add_parser(
        "eval",
        help="evaluate a model by the release's protocols or by the community's harness",
        description="Evaluates a model by the protocols of the first release (--data) or with "
        "lm-eval (--harness). Tasks of the release and the published files they read, in FOLDER "
        "or in a subfolder of the benchmark's name:\n" + files,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", required=True, help="a folder or a .gguf file")
    parser.add_argument("--tasks", required=True, help="names with commas between; see above")
    parser.add_argument("--data", metavar="FOLDER", help="where the data files are")
    parser.add_argument("--limit", type=int, help="only the first so many items of each file")
    parser.add_argument(
        "--max-new-tokens", type=int, default=512, help="longest answer (default 512)"
    )
    parser.add_argument(
        "--context", type=int, help="positions of the session (default: the model's)"
    )
    parser.add_argument(
        "--compute", choices=["auto", "float32", "bfloat16"], help="see `qwen describe options`"
    )
    parser.add_argument("--kv-cache", help="see `qwen describe options`")
    parser.add_argument("--threads", type=int, help="of the processor (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--records", metavar="FILE", help="write each item with its answer as JSON lines"
    )
    parser.add_argument("--svg", metavar="FILE", help="write the figures as a plot")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    harness = parser.add_argument_group(
        "with the community's harness (pip install lm_eval==0.4.13)"
    )
    harness.add_argument("--harness", action="store_true", help="tasks are those of lm-eval")
    harness.add_argument("--include-path", metavar="FOLDER", help="task files of your own")
    harness.add_argument("--num-fewshot", type=int, help="examples in a prompt")
    harness.add_argument("--batch-size", type=int, default=1, help="sessions at once (default 1)")
    harness.add_argument("--apply-chat-template", action="store_true", help="ask as in a chat")
    harness.add_argument("--system-instruction", help="the system text of such a chat")


def run(given: argparse.Namespace) -> int:
    """Evaluates and prints; returns the exit status."""
    names = [name for name in given.tasks.split(",") if name]
    options = {"compute": given.compute, "threads": given.threads}
    with Model(given.model, **options) as model:
        if given.harness:
            from .harness import evaluate

            return evaluate(model, names, given)
        unknown = [name for name in names if name not in TASKS]
        if unknown or not names:
            raise ValueError(f"no task {', '.join(unknown)}; there are {', '.join(TASKS)}")
        if not given.data:
            raise ValueError("--data FOLDER is missing: where the data files are")
        progress = None if given.quiet else _Progress()
        settings = {"context": given.context, "kv_cache": given.kv_cache}
        with Runner(
            model,
            max_new_tokens=given.max_new_tokens,
            limit=given.limit,
            progress=progress,
            **settings,
        ) as runner:
            scores = [run_task(name, runner, given.data) for name in names]
        if progress is not None:
            progress.clear()
    _write(given, scores)
    return 0


def _write(given: argparse.Namespace, scores: List[Score]) -> None:
    name = Path(given.model).name
    value: Dict[str, Any] = {"model": name, "scores": [score.to_dict() for score in scores]}
    if given.limit is not None:
        value["limit"] = given.limit
    if given.json:
        print(json.dumps(value, ensure_ascii=False, indent=2))
    else:
        print(report(scores, name), end="")
    if given.svg:
        Path(given.svg).write_text(draw(value), encoding="utf-8")
    if given.records:
        with open(given.records, "w", encoding="utf-8") as file:
            for score in scores:
                for record in score.records:
                    line = json.dumps({"task": score.task, **record}, ensure_ascii=False)
                    file.write(line + "\n")


class _Progress:
    """One line on stderr that is written over, at most ten times a second."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, label: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done == total or now - self._last > 0.1:
            self._last = now
            print(f"\r\x1b[K{label} {done}/{total}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Removes the line."""
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
