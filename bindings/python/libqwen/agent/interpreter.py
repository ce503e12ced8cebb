"""The code interpreter: a tool that runs the Python code which a model writes, in the sandbox."""

from __future__ import annotations

import os
from typing import List, Optional, Union

from .sandbox import Limits, Sandbox
from .tools import Tool

__all__ = ["CodeInterpreter"]


class CodeInterpreter:
    """Runs code cell by cell. What earlier cells defined is there again: they are run again, silently.

    A cell that fails or passes a limit is forgotten. Files are kept only in `folder`.
    """

    def __init__(
        self,
        limits: Optional[Limits] = None,
        *,
        folder: "Optional[Union[str, os.PathLike[str]]]" = None,
        keep: bool = True,
        unsafe: bool = False,
    ) -> None:
        """Describes it; nothing runs yet.

        Args:
            limits: of each run, see `Limits`.
            folder: a folder of the host as working folder, for files that go in or out.
            keep: whether a cell sees what earlier ones defined.
            unsafe: without bubblewrap, with the rights of this process; see `Sandbox`.
        """
        self.sandbox = Sandbox(limits, folder=folder, unsafe=unsafe)
        self.keep = keep
        self.cells: List[str] = []

    def run(self, code: str) -> str:
        """Runs a cell and returns what a person would see: output, value of the last line, errors.

        Raises:
            SandboxError: nothing here can confine it.
        """
        outcome = self.sandbox.run(code, echo=True, before=self.cells if self.keep else ())
        if outcome.ok and self.keep:
            self.cells.append(code)
        return outcome.text() or "(no output)"

    def reset(self) -> None:
        """Forgets earlier cells."""
        self.cells.clear()

    def tool(self) -> Tool:
        """The tool that models know by the name of ``code_interpreter``."""
        parameters = [
            {
                "name": "code",
                "description": "Python code",
                "required": True,
                "schema": {"type": "string"},
            }
        ]
        return Tool(
            "code_interpreter",
            "Runs Python code and returns what it prints. It has no network.",
            parameters,
            lambda code: self.run(code),
            "Code Interpreter",
            "code",
        )
