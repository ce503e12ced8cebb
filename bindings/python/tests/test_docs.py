"""Every block of docs/release-examples.md, run with a small real model; wants LIBQWEN_SMOLLM2."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from conftest import FIXTURES

import libqwen
from libqwen.agent import Sandbox

ROOT = FIXTURES.parents[1]
PAGE = ROOT / "docs" / "release-examples.md"
#: Headings, languages and codes of the page's blocks.
BLOCKS: List[Tuple[str, str, str]] = []
_heading = ""
for _found in re.finditer(
    r"^## ([^\n]+)$|^```(\w+)\n(.*?)^```$",
    PAGE.read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
):
    _heading = _found.group(1) or _heading
    if _found.group(2) in ("python", "sh"):
        BLOCKS.append((_heading, _found.group(2), _found.group(3)))


@pytest.fixture(scope="module")
def folder(library: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The small model as a folder of the first Qwen generation."""
    if not os.environ.get("LIBQWEN_SMOLLM2"):
        pytest.skip("LIBQWEN_SMOLLM2 is not set")
    for name in ("gguf", "numpy", "tokenizers"):
        pytest.importorskip(name, reason=f"{name} is not installed, which writes the folder")
    made = tmp_path_factory.mktemp("docs") / "Qwen-7B-Chat"
    tool = ROOT / "Tests" / "Tools" / "smollm2.py"
    command = [sys.executable, str(tool), "express", "--as", "qwen", "--dtype", "f16", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def names() -> Dict[str, Any]:
    """What the blocks of the page define, one after the other."""
    return {"__name__": "__main__"}


def run_shell(code: str, folder: Path, here: Path) -> str:
    """Runs lines of a shell: `libqwen` is this package's, `qwen` the one beside the library."""
    binary = Path(os.environ["LIBQWEN_LIBRARY"]).resolve().parents[1] / "bin" / "qwen"
    if re.search(r"^qwen ", code, re.MULTILINE) and not binary.exists():
        pytest.skip(f"{binary} is not built")
    code = re.sub(r"^qwen ", f"{binary} ", code, flags=re.MULTILINE)
    code = re.sub(r"^libqwen ", f"{sys.executable} -m libqwen ", code, flags=re.MULTILINE)
    text = FIXTURES / "text" / "english.txt"
    code = code.replace(" TEXT ", f" {text} ")
    env = {**os.environ, "PYTHONPATH": str(Path(libqwen.__file__).parents[1])}
    done = subprocess.run(
        ["bash", "-euc", code], cwd=here, env=env, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + "".join(path.read_text() for path in here.glob("*.svg"))


@pytest.mark.parametrize("index", range(len(BLOCKS)))
def test_blocks_run_in_order(
    index: int,
    folder: Path,
    names: Dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    heading, language, code = BLOCKS[index]
    for package in ("smolagents", "langchain_core"):
        if f"from {package}" in code and importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    if "CodeInterpreter" in code and Sandbox().why_not() is not None:
        pytest.skip(Sandbox().why_not() or "")
    code = code.replace("Qwen/Qwen-7B-Chat", str(folder)).replace("DATA", str(FIXTURES / "eval"))
    if language == "sh":
        printed = run_shell(code, folder, tmp_path)
    else:
        exec(compile(code, f"{PAGE.name}: {heading}", "exec"), names)
        printed = capsys.readouterr().out
    with capsys.disabled():
        if os.environ.get("LIBQWEN_SHOW_DOCS"):
            print(f"\n== {heading}\n{printed[:1500]}")
    assert printed.strip() or "print" not in code
