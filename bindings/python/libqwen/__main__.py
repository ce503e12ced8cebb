"""The command of the package: ``python -m libqwen``, installed as ``libqwen``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import List, Optional

from .errors import QwenError

__all__ = ["main"]


def main(arguments: Optional[List[str]] = None) -> int:
    """Runs the command; returns its exit status: 0, or 1 for an error, which is one line on stderr."""
    from .eval import command

    parser = argparse.ArgumentParser(
        prog="libqwen", description="Evaluations and plots with libqwen."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command.add_arguments(commands)
    plot = commands.add_parser(
        "plot", help="draw the JSON of an evaluation or a perplexity table as SVG or PNG"
    )
    plot.add_argument("json", help='a file, or "-" for standard input')
    plot.add_argument("-o", "--output", default="-", help='the file, PNG if its name ends so and otherwise SVG, or "-" (default)')
    given = parser.parse_args(arguments)
    try:
        if given.command == "plot":
            return _plot(given)
        return command.run(given)
    except (QwenError, ValueError, OSError) as error:
        print(f"libqwen: {error}", file=sys.stderr)
        return 1


def _plot(given: argparse.Namespace) -> int:
    from .plot import draw

    text = sys.stdin.read() if given.json == "-" else Path(given.json).read_text(encoding="utf-8")
    drawing = draw(json.loads(text))
    if given.output == "-":
        sys.stdout.write(drawing)
    elif given.output.lower().endswith(".png"):
        Path(given.output).write_bytes(_png(drawing))
    else:
        Path(given.output).write_text(drawing, encoding="utf-8")
    return 0


def _png(drawing: str) -> bytes:
    try:
        import cairosvg
    except (ImportError, OSError) as error:
        raise ValueError(
            f"PNG needs cairosvg: pip install cairosvg, and Debian's libcairo2 ({error})"
        ) from error
    return bytes(cairosvg.svg2png(bytestring=drawing.encode(), scale=2))


if __name__ == "__main__":
    sys.exit(main())
