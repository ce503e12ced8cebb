"""Plots as SVG text, without any package: perplexity by context, quality by size, scores.

libqwen plot perplexity.json -o perplexity.svg      # what `qwen perplexity --table --json` printed
"""

from __future__ import annotations

import math
from html import escape
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

__all__ = ["bars", "lines", "perplexity", "points", "quality"]

_COLOURS = ("#4269d0", "#ef8a17", "#3ca951", "#d1495b", "#8d6cab", "#6b7280", "#1fa3b0", "#b08d2e")
_FONT = 'font-family="system-ui, sans-serif"'
_WIDTH, _HEIGHT = 720.0, 440.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 70.0, 24.0, 44.0, 58.0

#: One line of a plot: its name and its points.
Line = Tuple[str, Sequence[Tuple[float, float]]]


def lines(
    series: Sequence[Line],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    log_x: bool = False,
    log_y: bool = False,
) -> str:
    """A plot of lines with a legend.

    Raises:
        ValueError: there is no point, or one can't be drawn: not finite, or not above 0 on a
        logarithmic axis.
    """
    every = [point for _, points_ in series for point in points_]
    frame = _Frame([x for x, _ in every], [y for _, y in every], log_x, log_y)
    parts = frame.axes(title, x_label, y_label)
    for index, (name, points_) in enumerate(series):
        colour = _COLOURS[index % len(_COLOURS)]
        places = [frame.place(x, y) for x, y in points_]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
        y = _TOP + 16 + 18 * index
        parts.append(f'<rect x="{_LEFT + 12}" y="{y - 9}" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(_LEFT + 30, y + 1, name))
    return _svg(parts)


def points(
    named: Sequence[Tuple[str, float, float]],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    log_y: bool = False,
) -> str:
    """A plot of named points; raises as `lines`."""
    frame = _Frame([x for _, x, _ in named], [y for _, _, y in named], False, log_y)
    parts = frame.axes(title, x_label, y_label)
    for index, (name, x_value, y_value) in enumerate(named):
        colour = _COLOURS[index % len(_COLOURS)]
        x, y = frame.place(x_value, y_value)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>')
        end = x > _WIDTH - _RIGHT - 80
        parts.append(_text(x + (-8 if end else 8), y - 6, name, "end" if end else "start"))
    return _svg(parts)


def bars(named: Sequence[Tuple[str, float]], *, title: str = "", unit: str = "") -> str:
    """Horizontal bars from 0 with their values.

    Raises:
        ValueError: there is none, or a value is negative or not finite.
    """
    if not named or any(not math.isfinite(value) or value < 0 for _, value in named):
        raise ValueError("bars want at least one value, each finite and not negative")
    step, left = 30.0, 12.0 + 7.2 * max(len(name) for name, _ in named)
    height = _TOP + step * len(named) + 16
    top = max(value for _, value in named) or 1.0
    room = _WIDTH - left - 90
    parts = [_text(_WIDTH / 2, 26, title, "middle", 16)]
    for index, (name, value) in enumerate(named):
        y, width = _TOP + step * index, room * value / top
        parts.append(_text(left - 8, y + 15, name, "end"))
        parts.append(
            f'<rect x="{left:.1f}" y="{y:.1f}" width="{width:.1f}" height="20" fill="{_COLOURS[0]}"/>'
        )
        parts.append(_text(left + width + 6, y + 15, f"{_short(value)}{unit}"))
    return _svg(parts, height)


def perplexity(table: Mapping[str, Any]) -> str:
    """The release's plot of long contexts from the JSON of `qwen perplexity --table --json`.

    Raises:
        ValueError: it is not that JSON.
    """
    try:
        series: List[Line] = [
            (
                str(row["row"]) or "perplexity",
                [(float(cell["context"]), float(cell["perplexity"])) for cell in row["cells"]],
            )
            for row in table["rows"]
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(f"this is not the JSON of `qwen perplexity --json`: {error!r}") from error
    return lines(
        series,
        title="Perplexity by context",
        x_label="context, tokens",
        y_label="perplexity",
        log_x=True,
        log_y=True,
    )


def quality(
    rows: Sequence[Mapping[str, Any]],
    *,
    name: str = "format",
    x: str = "bits_per_weight",
    y: str = "kl_divergence",
) -> str:
    """Formats by size and loss: a point for each row that has both figures, and a loss above 0.

    A row that names its ways to round and to compute, as those of `qwen quality --json` do, has them behind its name.

    Raises:
        ValueError: no row has them.
    """
    named = [
        (_named(row, name), float(row[x]), float(row[y]))
        for row in rows
        if name in row and row.get(x) is not None and (row.get(y) or 0) > 0
    ]
    if not named:
        raise ValueError(f"no row has {name}, {x} and {y} above 0")
    labels = {"x_label": x.replace("_", " "), "y_label": y.replace("_", " ")}
    return points(named, title="Quality by size", log_y=True, **labels)


def _named(row: Mapping[str, Any], name: str) -> str:
    rounding = f" {row['rounding']}" if row.get("rounding") else ""
    compute = f" ({row['compute']})" if "compute" in row else ""
    return f"{row[name]}{rounding}{compute}"


# ---- Parts of a drawing --------------------------------------------------------------------------


class _Frame:
    """The axes: from values to places."""

    def __init__(self, xs: Sequence[float], ys: Sequence[float], log_x: bool, log_y: bool) -> None:
        for values, log in ((xs, log_x), (ys, log_y)):
            if not values or any(not math.isfinite(v) or (log and v <= 0) for v in values):
                raise ValueError("a plot wants points that are finite, above 0 on logarithmic axes")
        self.x = _Axis(xs, log_x, exact=log_x)
        self.y = _Axis(ys, log_y, exact=False)

    def place(self, x: float, y: float) -> Tuple[float, float]:
        across = _LEFT + 14 + (_WIDTH - _LEFT - _RIGHT - 28) * self.x.part(x)
        down = _HEIGHT - _BOTTOM - 10 - (_HEIGHT - _TOP - _BOTTOM - 20) * self.y.part(y)
        return across, down

    def axes(self, title: str, x_label: str, y_label: str) -> List[str]:
        bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        parts = [_text(_WIDTH / 2, 26, title, "middle", 16)]
        for value in self.x.ticks:
            x, _ = self.place(value, self.y.low)
            parts.append(_line(x, bottom, x, bottom + 5, "#444"))
            parts.append(_text(x, bottom + 20, _short(value), "middle"))
        for value in self.y.ticks:
            _, y = self.place(self.x.low, value)
            parts.append(_line(_LEFT, y, right, y, "#e3e3e3"))
            parts.append(_text(_LEFT - 8, y + 4, _short(value), "end"))
        parts.append(_line(_LEFT, bottom, right, bottom, "#444"))
        parts.append(_line(_LEFT, _TOP, _LEFT, bottom, "#444"))
        parts.append(_text((_LEFT + right) / 2, _HEIGHT - 14, x_label, "middle"))
        turned = f'transform="rotate(-90 18 {_HEIGHT / 2})"'
        parts.append(_text(18, _HEIGHT / 2, y_label, "middle", more=turned))
        return parts


class _Axis:
    """A range of values with marks; with `exact` the marks are the values themselves."""

    def __init__(self, values: Sequence[float], log: bool, exact: bool) -> None:
        self.log = log
        low, high = min(values), max(values)
        if low == high:
            low, high = (low / 2, high * 2) if log else (low - 1, high + 1)
        self.low, self.high = low, high
        if exact:
            self.ticks = sorted(set(values))
        elif log:
            self.ticks = self._decades()
        else:
            step = 10 ** math.floor(math.log10((high - low) / 4))
            step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= 6)
            first = math.ceil(low / step)
            self.ticks = [step * n for n in range(first, math.floor(high / step) + 1)]

    def _decades(self) -> List[float]:
        found: List[float] = []
        for power in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1):
            found += [m * 10.0**power for m in (1, 2, 5)]
        inside = [value for value in found if self.low <= value <= self.high]
        return inside if len(inside) > 1 else [self.low, self.high]

    def part(self, value: float) -> float:
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def _short(value: float) -> str:
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.2f}" if 1 <= abs(value) < 1e4 else f"{value:.3g}"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="1"/>'


def _text(
    x: float, y: float, text: str, anchor: str = "start", size: int = 13, more: str = ""
) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f'<text {place} {_FONT} fill="#222" {more}>{escape(text)}</text>'


def _svg(parts: Sequence[str], height: Optional[float] = None) -> str:
    tall = _HEIGHT if height is None else height
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH:.0f}" height="{tall:.0f}" '
        f'viewBox="0 0 {_WIDTH:.0f} {tall:.0f}">'
    )
    ground = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, ground, *parts, "</svg>"]) + "\n"


def draw(value: Mapping[str, Any]) -> str:
    """The plot that a JSON text of this project is for: perplexities, formats, or evaluations.

    Raises:
        ValueError: it is none of them.
    """
    rows: Any = value.get("rows")
    if isinstance(rows, list) and rows and "cells" in rows[0]:
        return perplexity(value)
    if "scores" in value:
        found: Dict[str, float] = {}
        for score in value["scores"]:
            for metric, figure in score["metrics"].items():
                found[f"{score['title']} {metric}"] = float(figure)
        return bars(list(found.items()), title=str(value.get("model", "Evaluation")))
    if isinstance(rows, list) and rows:
        figures = rows[0].keys()
        y = next((k for k in ("kl_divergence", "mean_kl", "kl", "perplexity") if k in figures), "")
        name = next((k for k in ("format", "weights", "name") if k in figures), "")
        x = next((k for k in ("bits_per_weight", "bits", "bytes") if k in figures), "")
        return quality(rows, name=name, x=x, y=y)
    raise ValueError("this JSON is no table of perplexities, formats or evaluations")
