"""What an evaluation found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List

__all__ = ["Part", "Score"]


@dataclass
class Part:
    """Right answers of one file.

    Attributes:
        right: how many.
        total: of how many.
    """

    right: int = 0
    total: int = 0

    @property
    def percent(self) -> float:
        """Right answers in a hundred; 0 for none at all."""
        return 100.0 * self.right / self.total if self.total else 0.0

    def add(self, is_right: bool) -> None:
        """Counts one answer."""
        self.right += int(is_right)
        self.total += 1


@dataclass
class Score:
    """The result of a benchmark.

    Attributes:
        task: its name here.
        title: what the release calls it.
        metrics: the main figures by name, in the release's order and unit (percent, BLEU, 0 to 1).
        groups: percent by group of subjects.
        parts: right answers by subject.
        missing: subjects whose files are not there.
        notes: what a reader must know to compare the figures.
        records: each item with what the model said.
    """

    task: str
    title: str
    metrics: Dict[str, float] = field(default_factory=dict)
    groups: Dict[str, float] = field(default_factory=dict)
    parts: Dict[str, Part] = field(default_factory=dict)
    missing: List[str] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)
    records: List[Dict[str, Any]] = field(default_factory=list)

    @property
    def average(self) -> float:
        """The first of the main figures."""
        return next(iter(self.metrics.values()), 0.0)

    def to_dict(self, records: bool = False) -> Dict[str, Any]:
        """Everything as JSON values; the records only if asked for."""
        values = asdict(self)
        for name, part in self.parts.items():
            values["parts"][name]["percent"] = part.percent
        if not records:
            del values["records"]
        return values
