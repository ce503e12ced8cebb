"""Tools: functions with a description that a model reads."""

from __future__ import annotations

import inspect
import json
import re
import typing
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Union

from .json5 import JSON5Error, loads_tolerant

__all__ = ["Tool", "ToolError", "tool"]

#: Parameters as a JSON schema, or as the release's list of {"name", "description", "required",
#: "schema"}.
Parameters = Union[Mapping[str, Any], Sequence[Mapping[str, Any]]]

_TYPES = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}


class ToolError(Exception):
    """What went wrong in a tool, in words for the model; the run goes on with it as the result."""


@dataclass(frozen=True)
class Tool:
    """A function that a model may call.

    Attributes:
        name: ``name_for_model``: letters, digits, ``_`` and ``-``.
        description: ``description_for_model``.
        parameters: a JSON schema of an object, or the release's list.
        function: called with the arguments by name; what it returns becomes text.
        human_name: ``name_for_human``; the name by default.
        args_format: "json", or "code" for one argument that is a fenced block of code.
    """

    name: str
    description: str
    parameters: Parameters
    function: Callable[..., Any]
    human_name: str = ""
    args_format: str = "json"

    def __post_init__(self) -> None:
        """Checks the name and the format of arguments."""
        if not re.fullmatch(r"[\w-]{1,64}", self.name):
            raise ValueError(f"tool name {self.name!r}: letters, digits, _ and - only, up to 64")
        if self.args_format not in ("json", "code"):
            raise ValueError(
                f"args_format of {self.name} is {self.args_format!r}, not json or code"
            )

    @property
    def schema(self) -> Dict[str, Any]:
        """The parameters as a JSON schema."""
        if isinstance(self.parameters, Mapping):
            return dict(self.parameters)
        members, required = {}, []
        for one in self.parameters:
            members[one["name"]] = {
                **dict(one.get("schema") or {"type": "string"}),
                "description": one.get("description", ""),
            }
            if one.get("required"):
                required.append(one["name"])
        return {"type": "object", "properties": members, "required": required}

    @property
    def parameter_names(self) -> List[str]:
        """The names of the parameters in order."""
        if isinstance(self.parameters, Mapping):
            return list(self.parameters.get("properties", {}))
        return [one["name"] for one in self.parameters]

    def to_openai(self) -> Dict[str, Any]:
        """The tool in OpenAI's form."""
        function = {"name": self.name, "description": self.description, "parameters": self.schema}
        return {"type": "function", "function": function}

    def to_qwen(self) -> Dict[str, Any]:
        """The tool in the form of the first Qwen release."""
        parameters: Any = self.parameters
        return {
            "name_for_human": self.human_name or self.name,
            "name_for_model": self.name,
            "description_for_model": self.description,
            "parameters": dict(parameters) if isinstance(parameters, Mapping) else list(parameters),
            "args_format": self.args_format,
        }

    def call(self, arguments: Any, text: str = "") -> str:
        """Calls the function and makes its result text.

        Args:
            arguments: the arguments by name, or None when they could not be read.
            text: what the model wrote.

        Raises:
            ToolError: the arguments don't fit; the sentence is for the model.
        """
        if self.args_format == "code":
            names = self.parameter_names or ["code"]
            if not isinstance(arguments, Mapping) or names[0] not in arguments:
                arguments = {names[0]: unfenced(text)}
            else:
                arguments = {names[0]: unfenced(str(arguments[names[0]]))}
        if arguments is None:
            try:
                arguments = loads_tolerant(text) if text.strip() else {}
            except JSON5Error as error:
                raise ToolError(f"the arguments are not JSON: {error}") from error
        if not isinstance(arguments, Mapping):
            raise ToolError("the arguments must be a JSON object")
        try:
            inspect.signature(self.function).bind(**arguments)
        except (TypeError, ValueError) as error:
            wanted = ", ".join(self.parameter_names)
            raise ToolError(f"{error}; {self.name} takes: {wanted or 'nothing'}") from error
        return as_text(self.function(**arguments))

    @classmethod
    def from_langchain(cls, wrapped: Any, *, human_name: str = "") -> "Tool":
        """A LangChain tool, or anything with ``name``, ``description`` and ``run`` or ``invoke``.

        A tool without a schema of its own takes one text, ``query``, as in the release's example.
        """
        schema = getattr(wrapped, "args", None)
        run = getattr(wrapped, "invoke", None) or wrapped.run
        if isinstance(schema, Mapping) and schema and set(schema) != {"tool_input"}:
            kept = dict(schema)
            required = [name for name, one in kept.items() if "default" not in one]
            parameters: Parameters = {
                "type": "object",
                "properties": kept,
                "required": required,
            }
            return cls(
                wrapped.name,
                wrapped.description,
                parameters,
                lambda **arguments: run(arguments),
                human_name,
            )
        single = [
            {"name": "query", "description": "", "required": True, "schema": {"type": "string"}}
        ]
        return cls(wrapped.name, wrapped.description, single, lambda query: run(query), human_name)


def tool(
    function: Optional[Callable[..., Any]] = None,
    *,
    name: Optional[str] = None,
    description: Optional[str] = None,
) -> Any:
    """Makes a tool of a function, by its annotations and its docstring; also a decorator.

    The description is the docstring before ``Args:``; a line ``name: text`` behind it describes a
    parameter.
    """

    def made(target: Callable[..., Any]) -> Tool:
        doc = inspect.getdoc(target) or ""
        head, _, rest = doc.partition("Args:")
        described = dict(re.findall(r"^\s*(\w+)(?:\s*\([^)]*\))?:\s*(.+)$", rest, re.MULTILINE))
        hints = typing.get_type_hints(target)
        members, required = {}, []
        for parameter in inspect.signature(target).parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            members[parameter.name] = _member(hints.get(parameter.name, str))
            if parameter.name in described:
                members[parameter.name]["description"] = described[parameter.name].strip()
            if parameter.default is parameter.empty:
                required.append(parameter.name)
        schema = {"type": "object", "properties": members, "required": required}
        title = name or str(getattr(target, "__name__", "tool"))
        return Tool(title, description or " ".join(head.split()), schema, target)

    return made if function is None else made(function)


def _member(hint: Any) -> Dict[str, Any]:
    """A JSON schema of a type; a text when it has no plain one."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Union:
        kinds = [one for one in arguments if one is not type(None)]
        return _member(kinds[0]) if kinds else {"type": "string"}
    if origin is typing.Literal:
        return {"type": _TYPES.get(type(arguments[0]), "string"), "enum": list(arguments)}
    if origin is list and arguments:
        return {"type": "array", "items": _member(arguments[0])}
    return {"type": _TYPES.get(origin or hint, "string")}


def as_text(value: Any) -> str:
    """A result as a model should read it: text as it is, other values as JSON where they have one."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(value)


def unfenced(text: str) -> str:
    """Code without the fence around it."""
    fence = re.search(r"```[\w-]*[ \t]*\n(.*?)(?:```|$)", text, re.DOTALL)
    if fence:
        return fence.group(1)
    return text.strip().strip("`").strip()
