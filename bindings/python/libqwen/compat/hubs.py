"""Downloads through the hubs' own packages, when installed; libqwen itself opens no connection."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

#: Endings of what a model needs besides weights. Code is never fetched: nothing would run it.
_SMALL = (".json", ".txt", ".tiktoken", ".jinja")
#: Endings of weights, best first: only files of the first ending that a repository has are fetched.
_WEIGHTS = (".safetensors", ".bin", ".gguf")

#: Hub, and what became of the attempt.
Failure = Tuple[str, str]


def download(
    name: str, *, revision: Optional[str], cache_dir: Any, weights: bool
) -> Tuple[Optional[str], List[Failure]]:
    """The folder of a model, brought up to date by `huggingface_hub`, else by `modelscope`.

    Returns:
        The folder, or None, and what each hub that is installed said.
    """
    failures: List[Failure] = []
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return None, failures
    hubs: Dict[str, Callable[..., Optional[str]]] = {
        "huggingface_hub": _hugging_face,
        "modelscope": _modelscope,
    }
    for hub, fetch in hubs.items():
        try:
            folder = fetch(name, revision, cache_dir, weights)
        except ImportError:
            continue
        except Exception as error:  # whatever its network library raises
            failures.append(
                (hub, str(error).strip().splitlines()[0] if str(error) else repr(error))
            )
            continue
        if folder is not None:
            return folder, failures
    return None, failures


def wanted(files: Iterable[str], weights: bool) -> List[str]:
    """Of a repository's files those that a model needs, in its top folder."""
    plain = [file for file in files if "/" not in file]
    chosen = [file for file in plain if file.endswith(_SMALL) and not file.endswith(".index.json")]
    if weights:
        for ending in _WEIGHTS:
            found = [file for file in plain if file.endswith(ending)]
            if found:
                return chosen + found + [f for f in plain if f.endswith(ending + ".index.json")]
    return chosen


def _hugging_face(
    name: str, revision: Optional[str], cache_dir: Any, weights: bool
) -> Optional[str]:
    import huggingface_hub

    files = huggingface_hub.HfApi().list_repo_files(name, revision=revision)
    folder = huggingface_hub.snapshot_download(
        name,
        revision=revision,
        cache_dir=cache_dir,
        allow_patterns=wanted(files, weights),
        library_name="libqwen",
    )
    return str(folder)


def _modelscope(name: str, revision: Optional[str], cache_dir: Any, weights: bool) -> Optional[str]:
    from modelscope import snapshot_download

    given = {"revision": revision, "cache_dir": cache_dir}
    keywords = {key: value for key, value in given.items() if value is not None}
    return str(snapshot_download(name, **keywords))
