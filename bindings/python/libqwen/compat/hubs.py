"""Downloads through the hubs' own packages, when installed; libqwen itself opens no connection."""

from __future__ import annotations

import os
import re
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from ..errors import QwenError, QwenOptionError

#: Endings of what a model needs besides weights. Code is never fetched: nothing would run it.
_SMALL = (".json", ".txt", ".tiktoken", ".jinja")
#: Endings of weights, best first: only files of the first ending that a repository has are fetched.
_WEIGHTS = (".safetensors", ".bin", ".gguf")

#: Name of a part of a GGUF model: stem, number, count.
_PART = re.compile(r"(.*)-([0-9]{5})-of-([0-9]{5})\.gguf")

#: Hub, and what became of the attempt.
Failure = Tuple[str, str]


def download(
    name: str,
    *,
    revision: Optional[str],
    cache_dir: Any,
    weights: bool,
    gguf_file: Optional[str] = None,
) -> Tuple[Optional[str], List[Failure]]:
    """The folder of a model, brought up to date by `huggingface_hub`, else by `modelscope`.

    With `gguf_file` only that file is fetched, and the other parts of the same model.

    Returns:
        The folder, or None, and what each hub that is installed said.
    """
    failures: List[Failure] = []
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return None, failures
    hubs: Dict[str, Callable[..., str]] = {
        "huggingface_hub": _hugging_face,
        "modelscope": _modelscope,
    }
    for hub, fetch in hubs.items():
        try:
            folder = fetch(name, revision, cache_dir, weights, gguf_file)
        except ImportError:
            continue
        except QwenError:
            raise
        except Exception as error:  # whatever its network library raises
            failures.append(
                (hub, str(error).strip().splitlines()[0] if str(error) else repr(error))
            )
            continue
        return folder, failures
    return None, failures


def gguf_parts(file: str) -> List[str]:
    """Names of all files of the model that `file` belongs to: itself, or its parts in order."""
    match = _PART.fullmatch(file)
    if match is None:
        return [file]
    stem, _, count = match.groups()
    return [f"{stem}-{number:05}-of-{count}.gguf" for number in range(1, int(count) + 1)]


def gguf_models(files: Iterable[str]) -> List[str]:
    """The first file of each GGUF model among these names."""
    return sorted({gguf_parts(file)[0] for file in files if file.endswith(".gguf")})


def wanted(files: Iterable[str], weights: bool) -> List[str]:
    """Of a repository's files those that a model needs, in its top folder.

    Raises:
        QwenOptionError: they are several GGUF models.
    """
    plain = [file for file in files if "/" not in file]
    chosen = [file for file in plain if file.endswith(_SMALL) and not file.endswith(".index.json")]
    if weights or "config.json" not in plain:
        for ending in _WEIGHTS:
            found = [file for file in plain if file.endswith(ending)]
            if ending == ".gguf" and len(gguf_models(found)) > 1:
                raise choose(gguf_models(found))
            if found:
                return chosen + found + [f for f in plain if f.endswith(ending + ".index.json")]
    return chosen


def choose(models: List[str]) -> QwenOptionError:
    """The error of a place with several GGUF models; none are known where `models` is empty."""
    names = ", ".join(models[:12]) + (", ..." if len(models) > 12 else "")
    there = f"{len(models)} GGUF models are there ({names})" if models else "GGUF models are there"
    sentence = f'{there}; say which one: gguf_file="{models[0] if models else "..."}"'
    return QwenOptionError(sentence, details={"key": "gguf_file"})


def _hugging_face(
    name: str, revision: Optional[str], cache_dir: Any, weights: bool, gguf_file: Optional[str]
) -> str:
    import huggingface_hub

    if gguf_file is None:
        files = wanted(huggingface_hub.HfApi().list_repo_files(name, revision=revision), weights)
    else:
        files = gguf_parts(gguf_file)
    folder = huggingface_hub.snapshot_download(
        name,
        revision=revision,
        cache_dir=cache_dir,
        allow_patterns=files,
        library_name="libqwen",
    )
    return str(folder)


def _modelscope(
    name: str, revision: Optional[str], cache_dir: Any, weights: bool, gguf_file: Optional[str]
) -> str:
    from modelscope import snapshot_download

    if gguf_file is None and name.upper().endswith("GGUF"):
        raise choose([])
    given = {
        "revision": revision,
        "cache_dir": cache_dir,
        "allow_patterns": None if gguf_file is None else gguf_parts(gguf_file),
    }
    keywords = {key: value for key, value in given.items() if value is not None}
    return str(snapshot_download(name, **keywords))
