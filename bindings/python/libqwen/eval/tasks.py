"""The protocols of the first release by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Sequence, Union

from .chat_choices import ceval_chat, mmlu_chat
from .choices import ceval, cmmlu, mmlu
from .data import DataFolder
from .gsm8k import gsm8k, gsm8k_chat, gsm8k_chat_4shot
from .hf_agent import hf_agent
from .humaneval import humaneval, humaneval_chat
from .plugins import plugins
from .runner import Runner
from .scores import Score
from .wmt import wmt22

__all__ = ["TASKS", "Task", "run_task"]


@dataclass(frozen=True)
class Task:
    """A protocol: its function, where its files are looked for, and which they are."""

    run: Callable[[Runner, DataFolder], Score]
    within: Sequence[str]
    files: str


_MMLU = "Hendrycks' data.tar, or dev/ and test/ of it"
_CEVAL = "ceval-exam.zip, or dev/ and val/ of it"
_GSM8K = "test.jsonl (or Hugging Face's main/test-00000-of-00001.parquet)"
_HUMAN = "HumanEval.jsonl or HumanEval.jsonl.gz"

TASKS: Dict[str, Task] = {
    "mmlu": Task(mmlu, ("mmlu",), _MMLU),
    "ceval": Task(ceval, ("ceval",), _CEVAL),
    "cmmlu": Task(cmmlu, ("cmmlu",), "cmmlu_v1_0_1.zip, or dev/ and test/ of it"),
    "gsm8k": Task(gsm8k, ("gsm8k",), _GSM8K + " and gsm8k_prompt.txt of the release"),
    "humaneval": Task(humaneval, ("humaneval",), _HUMAN),
    "wmt22": Task(wmt22, ("wmt22",), "generaltest2022.* of both directions and examples.*"),
    "mmlu-chat": Task(mmlu_chat, ("mmlu",), _MMLU),
    "ceval-chat": Task(ceval_chat, ("ceval",), _CEVAL),
    "gsm8k-chat": Task(gsm8k_chat, ("gsm8k",), _GSM8K),
    "gsm8k-chat-4shot": Task(gsm8k_chat_4shot, ("gsm8k",), _GSM8K + " and gsm8k_chat_prompt.txt"),
    "humaneval-chat": Task(humaneval_chat, ("humaneval",), _HUMAN),
    "plugins": Task(plugins, ("plugins",), "exam_plugin_v20231206_react_*.jsonl (or v1)"),
    "hf-agent": Task(hf_agent, ("hf_agent",), "run_prompt_template.txt and hf_agent_problems.json"),
}


def run_task(name: str, runner: Runner, data: Union[str, Path]) -> Score:
    """Runs one protocol.

    Args:
        name: one of `TASKS`.
        runner: the model.
        data: the folder with the files, or with a subfolder of the benchmark's name that has them.

    Raises:
        KeyError: no such task.
        DataError: its files are missing or broken.
    """
    task = TASKS[name]
    return task.run(runner, DataFolder(data, within=task.within))
