"""`GenerationConfig` and `AutoConfig`: the JSON files of a model as objects with attributes."""

from __future__ import annotations

import copy
import json
from typing import Any, Dict, Mapping, Optional, Type, TypeVar

from . import folders

_Self = TypeVar("_Self", bound="Config")


class Config:
    """A JSON object whose members are attributes; what is not in it is missing, as in any object."""

    _file = "config.json"

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    @classmethod
    def from_pretrained(
        cls: Type[_Self],
        path: folders.PathLike,
        *,
        revision: Optional[str] = None,
        cache_dir: Any = None,
        local_files_only: Any = None,
        trust_remote_code: bool = False,
        **changes: Any,
    ) -> _Self:
        """Reads the file of a model.

        Args:
            path: as in `AutoModelForCausalLM.from_pretrained`.
            revision: branch, tag or commit of a name.
            cache_dir: where to look, and where downloads go, instead of the usual caches.
            local_files_only: never ask a hub.
            trust_remote_code: accepted and without effect: no code of a folder is ever run.
            **changes: members to replace or add.

        Raises:
            QwenIOError: no such model.
            QwenFormatError: the file is not JSON.
        """
        folder = folders.resolve(
            path,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            weights=False,
        )
        return cls(**{**(folders.read_json(folder, cls._file) or {}), **changes})

    @classmethod
    def from_dict(cls: Type[_Self], values: Mapping[str, Any]) -> _Self:
        """Makes one of a dictionary."""
        return cls(**values)

    def to_dict(self) -> Dict[str, Any]:
        """A copy as a dictionary."""
        return copy.deepcopy(self.__dict__)

    def update(self, **changes: Any) -> None:
        """Replaces or adds members."""
        self.__dict__.update(changes)

    def __eq__(self, other: object) -> bool:
        """Equal when all members are."""
        return isinstance(other, Config) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        """Says what is missing; there for type checkers, which can't know the members."""
        raise AttributeError(f"{type(self).__name__} has no {name!r}")

    def __repr__(self) -> str:
        """The JSON, for people."""
        return f"{type(self).__name__} {json.dumps(self.__dict__, indent=2, default=repr)}"


class AutoConfig(Config):
    """config.json of a model."""


class GenerationConfig(Config):
    """generation_config.json of a model, or settings of your own.

    Assign it to ``model.generation_config`` or pass it to `chat` and `generate`. Only what differs from
    the model's own file is sent to the engine, which reads that file by itself.
    """

    _file = "generation_config.json"
