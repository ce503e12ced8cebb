"""From what `from_pretrained` is given to a path: a folder, a file, or a name in a local cache."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

from ..errors import QwenFormatError, QwenIOError
from . import hubs

PathLike = Union[str, "os.PathLike[str]"]


def resolve(
    name: PathLike,
    *,
    revision: Optional[str] = None,
    cache_dir: Any = None,
    local_files_only: Any = None,
    weights: bool = True,
    gguf_file: Optional[str] = None,
) -> str:
    """The path of a model.

    Args:
        name: a folder, a file, or a name as "Qwen/Qwen-7B-Chat": taken from the cache of Hugging Face
            or ModelScope if it is whole there, else fetched by `huggingface_hub` or `modelscope`,
            whichever is installed.
        revision: branch, tag or commit.
        cache_dir: where to look, and where downloads go, instead of the usual caches.
        local_files_only: never ask a hub. So does HF_HUB_OFFLINE=1 in the environment.
        weights: False if tokenizer and configuration will do.
        gguf_file: the GGUF file to take of it, for a model in parts any of them.

    Raises:
        QwenIOError: it is nowhere; the sentence says where we looked and how to download it.
        QwenOptionError: a repository has several GGUF models, and `gguf_file` names none.
    """
    path = Path(os.fspath(name)).expanduser()
    if path.exists():
        return str(path) if gguf_file is None else _file(path, gguf_file)
    text = str(name)
    if text.count("/") != 1 or text.startswith((".", "/", "~")):
        raise QwenIOError(f"{text}: no such file or folder", details={"path": text})
    candidates = _hugging_face(text, revision, cache_dir) + _modelscope(text, cache_dir)
    candidates = [candidate for candidate in candidates if candidate.is_dir()]
    for candidate in candidates:
        if gguf_file is not None:
            if all((candidate / part).exists() for part in hubs.gguf_parts(gguf_file)):
                return str(candidate / gguf_file)
        elif _is_whole(candidate, weights):
            return str(candidate)
    failures: List[hubs.Failure] = []
    if not local_files_only:
        folder, failures = hubs.download(
            text,
            revision=revision,
            cache_dir=cache_dir,
            weights=weights,
            gguf_file=gguf_file,
        )
        if folder is not None:
            return folder if gguf_file is None else _file(Path(folder), gguf_file)
    if candidates and gguf_file is None:
        # Opening it says what is missing.
        return str(candidates[0])
    said = "".join(f"; {hub} said: {sentence}" for hub, sentence in failures)
    what = "" if gguf_file is None else f" {gguf_file}"
    raise QwenIOError(
        f"{text}: no folder of this name, and not in the caches of Hugging Face and ModelScope{said}; "
        f"get it with `hf download {text}{what}`, or `modelscope download --model {text}`, and pass the "
        "folder, or install huggingface_hub or modelscope, which libqwen then asks",
        details={"path": text},
    )


def _file(folder: Path, name: str) -> str:
    """A GGUF file in a folder that is there."""
    file = folder / name
    if file.exists():
        return str(file)
    there = hubs.gguf_models(found.name for found in folder.iterdir()) if folder.is_dir() else []
    hint = f"; there are {', '.join(there)}" if there else ""
    raise QwenIOError(f"{file}: no such file{hint}", details={"path": str(file)})


def _is_whole(folder: Path, weights: bool) -> bool:
    """Whether a folder of a cache has what opening it needs; its files may still be damaged."""
    names = {file.name for file in folder.iterdir() if file.exists()}
    models = hubs.gguf_models(names)
    if "config.json" not in names and len(models) == 1:
        return names.issuperset(hubs.gguf_parts(models[0]))
    if not weights:
        tokenizers = ("tokenizer.json", "vocab.json", "qwen.tiktoken")
        return "config.json" in names and any(name in names for name in tokenizers)
    if "config.json" not in names:
        return False
    if not _is_whole(folder, False):
        return False
    for single in ("model.safetensors", "pytorch_model.bin"):
        if single in names:
            return True
        index = read_json(folder, single + ".index.json")
        if index is not None:
            shards = (index.get("weight_map") or {}).values()
            return all(shard in names for shard in shards)
    return any(name.endswith(".safetensors") for name in names)


def read_json(path: PathLike, name: str) -> Optional[Dict[str, Any]]:
    """A JSON file of a model's folder, or None if there is none (a GGUF file has none at all).

    Raises:
        QwenFormatError: it is not a JSON object.
    """
    file = Path(path) / name
    if not file.is_file():
        return None
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise QwenFormatError(f"{file}: not JSON: {error}", details={"path": str(file)}) from error
    if not isinstance(value, dict):
        details = {"path": str(file)}
        raise QwenFormatError(f"{file}: not a JSON object; download it again", details=details)
    return value


def _hugging_face(name: str, revision: Optional[str], cache_dir: Any) -> List[Path]:
    """Snapshots that the cache may have: `models--owner--name/snapshots/<commit>`."""
    home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    root = Path(cache_dir or os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()
    folder = root / f"models--{name.replace('/', '--')}"
    wanted = revision or "main"
    found = [folder / "snapshots" / wanted]
    reference = folder / "refs" / wanted
    if reference.is_file():
        commit = reference.read_text(encoding="ascii", errors="replace").strip()
        found.insert(0, folder / "snapshots" / commit)
    return found


def _modelscope(name: str, cache_dir: Any) -> List[Path]:
    """Folders that the cache may have; newer versions put them below `models`."""
    root = cache_dir or os.environ.get("MODELSCOPE_CACHE") or "~/.cache/modelscope/hub"
    folder = Path(root).expanduser()
    plain = [folder / name, folder / "models" / name, folder / "hub" / name]
    # A full stop in a name is written as three underscores.
    return plain + [Path(str(path).replace(".", "___")) for path in plain[:2] if "." in name]
