"""Scores as the release prints them: its README's tables, and the lines of its scripts."""

from __future__ import annotations

from typing import Dict, List, Mapping, Sequence, Tuple

from .scores import Score

__all__ = ["report"]

#: A table: title, columns as (heading, task, metric, how a figure is written), and the release's
#: own row.
_Column = Tuple[str, str, str, str]
_TABLES: List[Tuple[str, List[_Column], Mapping[str, str]]] = [
    (
        "Performance",
        [
            ("MMLU", "mmlu", "average", "{:.1f}"),
            ("C-Eval", "ceval", "average", "{:.1f}"),
            ("GSM8K", "gsm8k", "accuracy", "{:.1f}"),
            ("HumanEval", "humaneval", "pass@1", "{:.1f}"),
            ("WMT22 (en-zh)", "wmt22", "en-zh", "{:.1f}"),
            ("WMT22 (zh-en)", "wmt22", "zh-en", "{:.1f}"),
            ("CMMLU", "cmmlu", "average", "{:.1f}"),
        ],
        {
            "MMLU": "56.7",
            "C-Eval": "60.8",
            "GSM8K": "51.6",
            "HumanEval": "24.4",
            "WMT22 (en-zh)": "30.6",
            "WMT22 (zh-en)": "24.3",
        },
    ),
    (
        "Chat",
        [
            ("C-Eval (val)", "ceval-chat", "average", "{:.1f}"),
            ("MMLU", "mmlu-chat", "average", "{:.1f}"),
            ("HumanEval", "humaneval-chat", "pass@1", "{:.1f}"),
            ("GSM8K (0-shot)", "gsm8k-chat", "accuracy", "{:.1f}"),
            ("GSM8K (4-shot)", "gsm8k-chat-4shot", "accuracy", "{:.1f}"),
        ],
        {
            "C-Eval (val)": "54.2",
            "MMLU": "53.9",
            "HumanEval": "24.4",
            "GSM8K (0-shot)": "41.1",
            "GSM8K (4-shot)": "43.5",
        },
    ),
    (
        "Tool Usage",
        [
            ("Tool Selection (Acc.↑)", "plugins", "tool_selection", "{:.0f}%"),
            ("Tool Input (Rouge-L↑)", "plugins", "tool_input_rouge_l", "{:.2f}"),
            ("False Positive Error↓", "plugins", "false_positive", "{:.1f}%"),
        ],
        {
            "Tool Selection (Acc.↑)": "99%",
            "Tool Input (Rouge-L↑)": "0.89",
            "False Positive Error↓": "8.5%",
        },
    ),
    (
        "HuggingFace Agent",
        [
            ("Tool Selection↑", "hf-agent", "tool_selection", "{:.2f}"),
            ("Tool Used↑", "hf-agent", "tool_used", "{:.2f}"),
            ("Code↑", "hf-agent", "code", "{:.2f}"),
        ],
        {},
    ),
]


def report(scores: Sequence[Score], model: str) -> str:
    """Everything for people: the tables with the release's row below, then details and notes."""
    by_task = {score.task: score for score in scores}
    parts = []
    for title, columns, release in _TABLES:
        shown = [column for column in columns if column[1] in by_task]
        shown = [column for column in shown if column[2] in by_task[column[1]].metrics]
        if shown:
            parts.append(f"{title}\n\n{_table(shown, by_task, model, release)}")
    for score in scores:
        details = _details(score)
        if details:
            parts.append("\n".join([f"{score.title}", *details]))
    return "\n\n".join(parts) + "\n"


def _table(
    columns: Sequence[_Column], scores: Mapping[str, Score], model: str, release: Mapping[str, str]
) -> str:
    own = [form.format(scores[task].metrics[metric]) for _, task, metric, form in columns]
    rows = [["Model", *(heading for heading, *_ in columns)], [model, *own]]
    if release:
        name = (
            "Qwen-7B-Chat" if columns[0][1] in ("ceval-chat", "mmlu-chat", "plugins") else "Qwen-7B"
        )
        rows.append([f"{name} (as released)", *(release.get(h, "-") for h, *_ in columns)])
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths)) + " |" for row in rows]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _details(score: Score) -> List[str]:
    lines = []
    word = "ACC" if score.task.startswith("mmlu") else "acc"
    for group, value in score.groups.items():
        lines.append(f"{group} {word}: {value:.2f}")
    if score.groups:
        names: Dict[str, str] = {"hard": f"Hard {word}", "average": f"AVERAGE {word}"}
        for metric in ("hard", "average"):
            if metric in score.metrics:
                lines.append(f"{names[metric]}: {score.metrics[metric]:.2f}")
    if score.missing:
        count = len(score.missing) + len(score.parts)
        lines.append(f"without {len(score.missing)} of {count} files: {_listed(score.missing)}")
    items = sum(part.total for part in score.parts.values())
    if items:
        lines.append(f"items: {items}")
    return lines + [f"note: {note}" for note in score.notes]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (" ..." if len(names) > 4 else "")
