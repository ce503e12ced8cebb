"""Evaluations: the first release's own protocols, tool use, and the community's harness.

    libqwen eval --model PATH --data FOLDER --tasks mmlu,ceval,gsm8k,humaneval
    libqwen eval --model PATH --harness --tasks mmlu,gsm8k

Or from Python:

    from libqwen.eval import Runner, run_task
    with libqwen.Model("/models/Qwen-7B") as model, Runner(model) as runner:
        score = run_task("mmlu", runner, "/data")
        print(score.average, score.groups)

No data set is in this package or fetched by it; `TASKS` says which published files each one reads.
"""

from __future__ import annotations

from .data import DataError, DataFolder
from .runner import Runner
from .scores import Score
from .tasks import TASKS, run_task

__all__ = ["DataError", "DataFolder", "Runner", "Score", "TASKS", "run_task"]
