"""Plots are SVG that a browser reads."""

from __future__ import annotations

import json
import struct
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any, Dict, List

import pytest

from libqwen import __main__ as command
from libqwen import plot

#: Figures of the release's README, as `qwen perplexity --table --json` writes such a table.
TABLE: Dict[str, Any] = {
    "rows": [
        {
            "row": name,
            "cells": [
                {"context": context, "perplexity": value}
                for context, value in zip((1024, 2048, 4096, 8192, 16384), values)
            ],
        }
        for name, values in (
            ("plain", (4.23, 3.78, 39.35, 469.81, 2645.09)),
            ("+ dynamic_ntk", (4.23, 3.78, 3.59, 3.66, 5.71)),
            ("+ logn & <more>", (4.23, 3.78, 3.58, 3.56, 4.62)),
        )
    ]
}


def texts(svg: str) -> List[str]:
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def numbers(svg: str, tag: str, name: str) -> List[float]:
    root = ElementTree.fromstring(svg)
    return [float(e.attrib[name]) for e in root.iter("{http://www.w3.org/2000/svg}" + tag)]


def test_the_table_of_perplexities() -> None:
    svg = plot.perplexity(TABLE)
    words = texts(svg)
    assert {"plain", "+ dynamic_ntk", "+ logn & <more>", "1024", "16384"} <= set(words)
    heights = numbers(svg, "circle", "cy")
    assert len(heights) == 15
    # Higher perplexities stand higher, which is a smaller y; all inside.
    assert heights[4] < heights[3] < heights[2] < heights[0] < heights[1]
    assert all(0 < height < 440 for height in heights)
    assert all(0 < across < 720 for across in numbers(svg, "circle", "cx"))


def test_formats_by_size() -> None:
    rows = [
        {"format": "q4_0", "bits_per_weight": 4.5, "kl_divergence": 0.05},
        {"format": "q8_0", "bits_per_weight": 8.5, "kl_divergence": 0.0005},
        {"format": "bf16", "bits_per_weight": 16.0, "kl_divergence": 0.0},
    ]
    svg = plot.draw({"rows": rows})
    assert {"q4_0", "q8_0"} <= set(texts(svg)) and "bf16" not in texts(svg)
    assert len(numbers(svg, "circle", "cx")) == 2
    with pytest.raises(ValueError, match="no row"):
        plot.quality(rows[2:])
    # As `qwen quality --json` writes it.
    measured = {"weights": "q4_0", "compute": "auto", "bits_per_weight": 4.5, "mean_kl": 0.03}
    measured |= {"perplexity": 31.2, "rounding": "best"}
    svg = plot.draw({"reference": "stored", "rows": [measured]})
    assert {"q4_0 best (auto)", "mean kl", "bits per weight"} <= set(texts(svg))


def test_bars_are_as_long_as_their_values() -> None:
    svg = plot.bars([("MMLU", 50.0), ("C-Eval", 25.0), ("none", 0.0)], unit="%")
    widths = numbers(svg.replace('width="100%"', 'width="0"'), "rect", "width")[1:]
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2) and widths[2] == 0.0
    assert "50%" in texts(svg)


@pytest.mark.parametrize("values", [[], [("a", [])], [("a", [(1.0, float("nan"))])]])
def test_what_can_not_be_drawn_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match="finite"):
        plot.lines(values)
    with pytest.raises(ValueError, match="above 0"):
        plot.lines([("a", [(1.0, 0.0)])], log_y=True)


def test_one_point_is_enough() -> None:
    assert len(numbers(plot.lines([("a", [(1.0, 2.0)])]), "circle", "cx")) == 1


def test_the_command_writes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "table.json", tmp_path / "table.svg"
    source.write_text(json.dumps(TABLE))
    assert command.main(["plot", str(source), "-o", str(target)]) == 0
    assert "plain" in texts(target.read_text())
    assert command.main(["plot", str(source)]) == 0
    assert capsys.readouterr().out == target.read_text()
    source.write_text("{}")
    assert command.main(["plot", str(source)]) == 1
    assert "libqwen: " in capsys.readouterr().err


def test_the_command_writes_png(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "table.json", tmp_path / "table.png"
    source.write_text(json.dumps(TABLE))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "cairosvg", None)
        assert command.main(["plot", str(source), "-o", str(target)]) == 1
        assert "pip install cairosvg" in capsys.readouterr().err and not target.exists()
    try:
        import cairosvg  # noqa: F401
    except (ImportError, OSError):
        pytest.skip("cairosvg or libcairo2 is not installed")
    assert command.main(["plot", str(source), "-o", str(target)]) == 0
    content = target.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", content[16:24]) == (1440, 880)
