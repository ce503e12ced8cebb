"""`convert`: a model written in other storage formats."""

from __future__ import annotations

import os
from typing import Any, Callable, Optional, Union

from . import _native
from .interrupts import interruptible

__all__ = ["convert"]


def convert(
    path: Union[str, "os.PathLike[str]"],
    out_path: Union[str, "os.PathLike[str]"],
    *,
    progress: Optional[Callable[[str, float], Optional[bool]]] = None,
    **options: Any,
) -> None:
    """Writes a model in other storage formats, a slab of a tensor at a time.

        libqwen.convert("/models/Qwen-7B-Chat", "qwen-7b-q4_0.gguf", weights="q4_0")

    Args:
        path: as in `Model`.
        out_path: a GGUF file if it ends in .gguf, else a folder that maps in without any conversion. It has
            its name only when it is whole.
        progress: as in `Model`; False stops. So does Ctrl-C.
        **options: ``weights, head, embeddings, overwrite, container, threads``: section "convert" of
            `libqwen.describe("options")`.

    Raises:
        QwenIOError: the model can't be read, or `out_path` exists or can't be written.
        QwenUnsupportedError: a GGUF file can't say what the model needs.
        QwenCancelledError: `progress` returned False.
        QwenError: as `Model`.
    """
    library, settings = _native.library(), _native.encode_options(options)
    names = os.fsencode(os.fspath(path)), os.fsencode(os.fspath(out_path))

    def handle(step: Any) -> int:
        stage, fraction = step
        return int(progress is not None and progress(stage.decode("utf-8"), fraction) is False)

    def work(receive: Callable[[Any], int]) -> None:
        callback = _native.ProgressCallback(lambda stage, part, user: receive((stage, part)))
        library.call("qwen_model_convert", *names, settings, callback, None)

    interruptible(work, handle, 1, lambda: None)
