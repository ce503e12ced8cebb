"""A plugin for the `llm` command (0.36 is what it is tested with); found by its entry point.

    llm libqwen add qwen /models/Qwen2.5-0.5B-Instruct
    llm -m qwen "What is the capital of France?"

Names and paths are kept in ``libqwen.json`` in llm's folder; LIBQWEN_MODEL names one more, "libqwen".
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import click
import llm
from pydantic import Field

from ..model import Model

__all__ = ["LibQwen", "register_commands", "register_models"]

_open: Dict[str, Model] = {}


def _file() -> Path:
    return Path(llm.user_dir()) / "libqwen.json"


def _named() -> Dict[str, str]:
    """Paths by name."""
    found: Dict[str, str] = {}
    if _file().exists():
        found.update(json.loads(_file().read_text(encoding="utf-8")))
    if os.environ.get("LIBQWEN_MODEL"):
        found.setdefault("libqwen", os.environ["LIBQWEN_MODEL"])
    return found


@llm.hookimpl
def register_models(register: Any) -> None:
    """Tells llm the models."""
    for name, path in _named().items():
        register(LibQwen(name, path))


@llm.hookimpl
def register_commands(cli: Any) -> None:
    """Adds ``llm libqwen add``, ``remove`` and ``list``."""

    @cli.group(name="libqwen")
    def group() -> None:
        """Models that run in this process, with libqwen."""

    @group.command()
    @click.argument("name")
    @click.argument("path", type=click.Path(exists=True))
    def add(name: str, path: str) -> None:
        """Gives the model at PATH (a folder or a .gguf file) a NAME."""
        known = _named()
        known[name] = os.path.abspath(path)
        _file().write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")

    @group.command()
    @click.argument("name")
    def remove(name: str) -> None:
        """Forgets a NAME."""
        known = _named()
        if known.pop(name, None) is None:
            raise click.ClickException(f"there is no model {name}")
        _file().write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")

    @group.command(name="list")
    def listed() -> None:
        """Prints names and paths."""
        for name, path in _named().items():
            click.echo(f"{name}: {path}")


class LibQwen(llm.Model):
    """A model of llm: streams, keeps conversations, calls tools."""

    can_stream = True
    supports_tools = True

    class Options(llm.Options):
        """What ``llm -o NAME VALUE`` takes."""

        max_tokens: Optional[int] = Field(default=None, description="Longest answer in tokens")
        temperature: Optional[float] = Field(default=None, description="0 is greedy")
        top_p: Optional[float] = Field(default=None, description="Nucleus sampling")
        top_k: Optional[int] = Field(default=None, description="Choose among so many tokens")
        seed: Optional[int] = Field(default=None, description="For the same answer again")

    def __init__(self, model_id: str, path: str) -> None:
        self.model_id = model_id
        self.path = path

    def execute(
        self, prompt: Any, stream: bool, response: Any, conversation: Optional[Any]
    ) -> Iterator[str]:
        """Answers; see llm's Model."""
        from .openai import run_options

        if self.path not in _open:
            _open[self.path] = Model(self.path)
        options = run_options({name: value for name, value in prompt.options.model_dump().items()})
        if prompt.tools:
            options["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": one.name,
                        "description": one.description or "",
                        "parameters": one.input_schema or {"type": "object", "properties": {}},
                    },
                }
                for one in prompt.tools
            ]
        with _open[self.path].stream_chat(_talk(prompt, conversation), **options) as run:
            yield from run
            result = run.result
        for call in result.tool_calls:
            made = llm.ToolCall(
                name=call.name, arguments=call.arguments or {}, tool_call_id=call.id
            )
            response.add_tool_call(made)
        response.response_json = {"finish_reason": result.finish_reason, "seed": result.seed}
        usage = result.usage
        response.set_usage(input=usage.get("prompt_tokens"), output=usage.get("completion_tokens"))


def _talk(prompt: Any, conversation: Optional[Any]) -> List[Dict[str, Any]]:
    """The conversation so far and the prompt as messages."""
    talk: List[Dict[str, Any]] = []
    system = prompt.system
    for earlier in conversation.responses if conversation is not None else []:
        system = earlier.prompt.system or system
        talk += _asked(earlier.prompt)
        answer: Dict[str, Any] = {"role": "assistant", "content": earlier.text_or_raise()}
        calls = earlier.tool_calls_or_raise()
        if calls:
            answer["tool_calls"] = [
                {
                    "id": call.tool_call_id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in calls
            ]
        talk.append(answer)
    talk += _asked(prompt)
    return [{"role": "system", "content": system}, *talk] if system else talk


def _asked(prompt: Any) -> List[Dict[str, Any]]:
    found = [
        {"role": "tool", "tool_call_id": result.tool_call_id, "content": str(result.output)}
        for result in prompt.tool_results or []
    ]
    if prompt.prompt or not found:
        found.append({"role": "user", "content": prompt.prompt or ""})
    return found
