"""`BitsAndBytesConfig` and the precision flags of the release's README as options of `libqwen.Model`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Dict, Optional

from ..errors import QwenUnsupportedError
from . import folders

_MISSING = object()


class BitsAndBytesConfig:
    """How weights are quantised while they are loaded, in the words of transformers.

    8 bits are `int8`, 4 bits `nf4`, with double quantisation `nf4-double`; FP4 is answered with NF4, which takes the
    same bits and errs less. Any object or mapping with these members will do as well.
    """

    def __init__(
        self,
        load_in_8bit: bool = False,
        load_in_4bit: bool = False,
        bnb_4bit_use_double_quant: bool = False,
        bnb_4bit_quant_type: str = "nf4",
        **others: Any,
    ) -> None:
        """Keeps the members.

        Args:
            load_in_8bit: LLM.int8() for the matrices of the layers.
            load_in_4bit: 4-bit NormalFloat for them.
            bnb_4bit_use_double_quant: the scales of 4 bits in 8 bits too.
            bnb_4bit_quant_type: "nf4" or "fp4".
            **others: accepted and without effect: ``bnb_4bit_compute_dtype, llm_int8_threshold, ...``.
        """
        self.load_in_8bit = load_in_8bit
        self.load_in_4bit = load_in_4bit
        self.bnb_4bit_use_double_quant = bnb_4bit_use_double_quant
        self.bnb_4bit_quant_type = bnb_4bit_quant_type
        self.__dict__.update(others)


def weight_options(
    folder: str,
    config: Any,
    *,
    load_in_8bit: bool = False,
    load_in_4bit: bool = False,
    flags: Mapping[str, bool],
) -> Dict[str, Any]:
    """The option "weights", or nothing.

    Args:
        folder: the model; precision flags are for folders of floats and change nothing elsewhere.
        config: a `BitsAndBytesConfig`, something like it, or None.
        load_in_8bit: as in `config`.
        load_in_4bit: as in `config`.
        flags: names of formats, and whether each is wished.

    Raises:
        QwenUnsupportedError: a configuration of another kind, or contradicting wishes.
    """
    eight = load_in_8bit or bool(_member(config, "load_in_8bit", False))
    four = load_in_4bit or bool(_member(config, "load_in_4bit", False))
    if config is not None and _member(config, "load_in_8bit", _MISSING) is _MISSING:
        if _member(config, "load_in_4bit", _MISSING) is _MISSING:
            raise _unsupported(f"{type(config).__name__} has neither load_in_8bit nor load_in_4bit")
    if eight and four:
        raise _unsupported("load_in_8bit and load_in_4bit exclude each other")
    if eight:
        return {"weights": "int8"}
    if four:
        kind = _member(config, "bnb_4bit_quant_type", "nf4")
        if kind not in ("nf4", "fp4"):
            raise _unsupported(f"bnb_4bit_quant_type is {kind!r}, not 'nf4'")
        double = bool(_member(config, "bnb_4bit_use_double_quant", False))
        return {"weights": "nf4-double" if double else "nf4"}
    wished = [name for name, wish in flags.items() if wish]
    if len(wished) > 1:
        raise _unsupported(f"{' and '.join(wished)} exclude each other")
    if wished and _is_float_folder(folder):
        return {"weights": wished[0]}
    return {}


def _member(config: Any, name: str, fallback: Any) -> Any:
    if isinstance(config, Mapping):
        return config.get(name, fallback)
    return getattr(config, name, fallback)


def _is_float_folder(folder: str) -> bool:
    config: Optional[Dict[str, Any]] = folders.read_json(folder, "config.json")
    return config is not None and not {"quantization_config", "libqwen"} & config.keys()


def _unsupported(reason: str) -> QwenUnsupportedError:
    details = {"key": "quantization_config"}
    return QwenUnsupportedError(f"quantization_config: {reason}", details=details)
