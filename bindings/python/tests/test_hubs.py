"""Names instead of paths: caches, downloads through the hubs' packages, ModelScope's pipeline."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, Dict, List

import pytest
from conftest import GREEDY, tiny_path
from hub import COMMIT, Hub

import libqwen
from libqwen import AutoModelForCausalLM, Model, pipeline
from libqwen.compat import folders, hubs

SOURCE = tiny_path("qwen-ntk")


@pytest.fixture
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "scope"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path


def in_another_process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs code where the hub's package reads these variables when it is imported."""
    package = str(Path(libqwen.__file__).parents[1])
    settings = {**os.environ, **environment, "PYTHONPATH": package, "HF_HUB_DISABLE_XET": "1"}
    settings.pop("HF_HUB_OFFLINE", None)
    return subprocess.run(
        [sys.executable, "-c", code], env=settings, capture_output=True, text=True, timeout=120
    )


def test_a_name_is_fetched_from_the_hub_once(library: None, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    repository = tmp_path / "repository"
    shutil.copytree(SOURCE, repository)
    (repository / "modeling_qwen.py").write_text("raise SystemExit(7)\n", encoding="ascii")
    (repository / "pytorch_model.bin").write_bytes(b"not wanted beside safetensors")
    code = (
        "import libqwen\n"
        "with libqwen.Model.from_pretrained('Qwen/Tiny') as model:\n"
        "    print(model.path); print(model.info['family'])\n"
    )
    caches = {"HF_HUB_CACHE": str(tmp_path / "hub"), "MODELSCOPE_CACHE": str(tmp_path / "scope")}
    with Hub("Qwen/Tiny", repository) as hub:
        run = in_another_process(code, HF_ENDPOINT=hub.url, **caches)
        assert run.returncode == 0, run.stderr
        folder, family = run.stdout.split()
        assert family == "qwen"
        assert Path(folder) == tmp_path / "hub" / "models--Qwen--Tiny" / "snapshots" / COMMIT
        names = {file.name for file in Path(folder).iterdir()}
        assert "config.json" in names and "model-00001-of-00002.safetensors" in names
        assert not any(name.endswith((".py", ".bin")) for name in names)
        hub.requests.clear()
        again = in_another_process(code, HF_ENDPOINT=hub.url, **caches)
        assert again.stdout == run.stdout and hub.requests == []
        missing = in_another_process(
            "import libqwen; libqwen.Model.from_pretrained('Qwen/Other')",
            HF_ENDPOINT=hub.url,
            **caches,
        )
        assert "huggingface_hub said" in missing.stderr
        assert "hf download Qwen/Other" in missing.stderr


def test_one_gguf_file_of_a_repository_is_fetched(library: None, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    repository = tmp_path / "repository"
    repository.mkdir()
    for name in ("tiny-f16.gguf", "tiny-q4_0.gguf"):
        shutil.copy(tiny_path("qwen2-gguf"), repository / name)
    (repository / "README.md").write_text("not wanted", encoding="ascii")
    given = "'Qwen/Tiny-GGUF', gguf_file='tiny-q4_0.gguf'"
    code = (
        "import libqwen\n"
        f"tokenizer = libqwen.AutoTokenizer.from_pretrained({given})\n"
        f"model = libqwen.AutoModelForCausalLM.from_pretrained({given})\n"
        "print(tokenizer.model.path); print(model.model.path)\n"
        "print(libqwen.Model.from_pretrained('Qwen/Tiny-GGUF').path)\n"
    )
    caches = {"HF_HUB_CACHE": str(tmp_path / "hub"), "MODELSCOPE_CACHE": str(tmp_path / "scope")}
    with Hub("Qwen/Tiny-GGUF", repository) as hub:
        unnamed = in_another_process(
            "import libqwen; libqwen.Model.from_pretrained('Qwen/Tiny-GGUF')",
            HF_ENDPOINT=hub.url,
            **caches,
        )
        assert "QwenOptionError" in unnamed.stderr
        assert "2 GGUF models are there (tiny-f16.gguf, tiny-q4_0.gguf)" in unnamed.stderr
        assert 'gguf_file="tiny-f16.gguf"' in unnamed.stderr
        run = in_another_process(code, HF_ENDPOINT=hub.url, **caches)
        assert run.returncode == 0, run.stderr
    snapshot = tmp_path / "hub" / "models--Qwen--Tiny-GGUF" / "snapshots" / COMMIT
    # What is in the cache is the only one now.
    assert run.stdout.split() == [str(snapshot / "tiny-q4_0.gguf")] * 2 + [str(snapshot)]
    assert [file.name for file in snapshot.iterdir()] == ["tiny-q4_0.gguf"]


def test_gguf_files_of_folders_and_caches(
    library: None, empty_caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("huggingface_hub", "modelscope"):
        monkeypatch.setitem(sys.modules, package, None)
    folder = empty_caches / "scope" / "Qwen" / "Tiny-GGUF"
    folder.mkdir(parents=True)
    for name in ("a.gguf", "b-00001-of-00002.gguf"):
        shutil.copy(tiny_path("qwen2-gguf"), folder / name)
    with Model.from_pretrained("Qwen/Tiny-GGUF", gguf_file="a.gguf") as model:
        assert model.path == str(folder / "a.gguf")
    with Model.from_pretrained(folder, gguf_file="a.gguf") as model:
        assert model.path == str(folder / "a.gguf")
    with pytest.raises(
        libqwen.QwenIOError, match=r"no such file; there are a.gguf, b-00001-of-00002.gguf"
    ):
        Model.from_pretrained(folder, gguf_file="c.gguf")
    # Without its other part the second is not whole.
    with pytest.raises(
        libqwen.QwenIOError, match=r"hf download Qwen/Tiny-GGUF b-00001-of-00002.gguf"
    ):
        Model.from_pretrained("Qwen/Tiny-GGUF", gguf_file="b-00001-of-00002.gguf")


def test_a_whole_cache_needs_no_package(
    library: None, empty_caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("huggingface_hub", "modelscope"):
        monkeypatch.setitem(sys.modules, package, None)
    snapshot = empty_caches / "hub" / "models--Qwen--Tiny" / "snapshots" / "abc"
    blobs = empty_caches / "hub" / "models--Qwen--Tiny" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for file in SOURCE.iterdir():
        shutil.copy(file, blobs / file.name)
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
    refs = empty_caches / "hub" / "models--Qwen--Tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc", encoding="ascii")
    with Model.from_pretrained("Qwen/Tiny") as model:
        assert model.path == str(snapshot)
    with Model(refs.parent) as model:
        assert model.info["family"] == "qwen"
    (blobs / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(libqwen.QwenIOError, match="model-00002-of-00002.safetensors: is a link"):
        Model.from_pretrained("Qwen/Tiny")


def test_modelscope_is_asked_if_it_is_there(
    library: None, empty_caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: List[Dict[str, Any]] = []
    patterns: List[str] = []

    def snapshot_download(
        model_id: str, revision: Any = None, cache_dir: Any = None, allow_patterns: Any = None
    ) -> str:
        if allow_patterns is not None:
            patterns.extend(allow_patterns)
            shutil.copy(tiny_path("qwen2-gguf"), empty_caches / patterns[0])
            return str(empty_caches)
        asked.append({"model_id": model_id, "revision": revision, "cache_dir": cache_dir})
        target = empty_caches / "scope" / "QWen" / "tiny"
        shutil.copytree(SOURCE, target)
        (target / "configuration.json").write_text('{"framework": "pytorch"}', encoding="ascii")
        (target / ".msc").write_bytes(b"\x80\x04]\x94.")
        return str(target)

    fake = types.ModuleType("modelscope")
    fake.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setitem(sys.modules, "modelscope", fake)
    for _ in range(2):
        with AutoModelForCausalLM.from_pretrained("QWen/tiny", revision="v1.0.0") as model:
            assert model.model.path == str(empty_caches / "scope" / "QWen" / "tiny")
    assert asked == [{"model_id": "QWen/tiny", "revision": "v1.0.0", "cache_dir": None}]
    with Model.from_pretrained("QWen/tiny-GGUF", gguf_file="a.gguf") as tiny:
        assert tiny.path == str(empty_caches / "a.gguf")
    assert patterns == ["a.gguf"]
    with pytest.raises(libqwen.QwenOptionError, match="say which one: gguf_file="):
        Model.from_pretrained("QWen/other-GGUF")


def test_nobody_is_asked_offline(empty_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: Any, **keywords: Any) -> Any:
        raise AssertionError("a hub was asked")

    monkeypatch.setattr(hubs, "_hugging_face", never)
    monkeypatch.setattr(hubs, "_modelscope", never)
    with pytest.raises(libqwen.QwenIOError, match="hf download Qwen/Tiny"):
        folders.resolve("Qwen/Tiny", local_files_only=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(libqwen.QwenIOError, match="hf download Qwen/Tiny"):
        folders.resolve("Qwen/Tiny")


def test_only_what_a_model_needs_is_wanted() -> None:
    files = ["README.md", "config.json", "qwen.tiktoken", "modeling_qwen.py", "assets/a.json"]
    shards = ["model-00001-of-00001.safetensors", "model.safetensors.index.json"]
    torch_files = ["pytorch_model.bin", "pytorch_model.bin.index.json"]
    small = ["config.json", "qwen.tiktoken"]
    assert hubs.wanted(files + torch_files + shards, False) == small
    assert hubs.wanted(files + torch_files + shards, True) == small + shards
    assert hubs.wanted(files + torch_files, True) == small + torch_files
    parts = ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"]
    assert hubs.gguf_parts(parts[1]) == parts
    assert hubs.wanted([*parts, "README.md"], True) == parts
    assert hubs.wanted(parts, False) == parts
    with pytest.raises(libqwen.QwenOptionError, match=r"\(a-00001-of-00002.gguf, b.gguf\)"):
        hubs.wanted([*parts, "b.gguf"], True)


def test_the_pipeline_of_modelscope(library: None) -> None:
    pipe = pipeline(task="chat", model=str(SOURCE), device_map="auto", compute="float32")
    first = pipe("你好", history=None, max_new_tokens=4, **GREEDY)
    assert set(first) == {"response", "history"}
    assert first["history"] == [("你好", first["response"])]
    second = pipe("the road", history=first["history"], max_new_tokens=4, **GREEDY)
    assert [question for question, _ in second["history"]] == ["你好", "the road"]
    kept = pipe("a", history=second["history"], append_history=False, max_new_tokens=1)
    assert kept["history"] == second["history"]
    writer = pipeline("text-generation", model=pipe.model)
    assert writer("the road", max_new_tokens=4, **GREEDY)["text"].startswith("the road")
    assert len(writer(["a", "b"], max_new_tokens=1)) == 2
    with pytest.raises(libqwen.QwenOptionError):
        pipeline("translation", model=pipe.model)
    pipe.model.close()


def test_a_broken_index_is_the_librarys_to_name(library: None, empty_caches: Path) -> None:
    folder = empty_caches / "scope" / "Qwen" / "Small"
    shutil.copytree(SOURCE, folder)
    index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="ascii"))
    (folder / sorted(index["weight_map"].values())[-1]).unlink()
    with pytest.raises(libqwen.QwenIOError, match="is missing, one of 2 shards"):
        Model.from_pretrained("Qwen/Small", local_files_only=True)
