"""Models cut into several GGUF files by the gguf package: the same as the whole, or an error that names the part."""

from __future__ import annotations

import shutil
from pathlib import Path

import gguf
import libqwen
import numpy as np
import pytest
import wide

IDS = [5, 90, 200, 17, 33]


def cut(whole: Path, out: Path, tensors: int) -> list:
    """Writes `whole` again in parts of so many tensors."""
    reader = gguf.GGUFReader(whole)
    writer = gguf.GGUFWriter(out, reader.fields["general.architecture"].contents(), split_max_tensors=tensors)
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            kind = field.types[0]
            writer.add_key_value(name, field.contents(), kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(out.parent.glob(f"{out.stem}-*.gguf"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    wide.write(folder / "floats", "qwen2")
    libqwen.convert(folder / "floats", folder / "whole.gguf", weights="q4_0")
    return folder / "whole.gguf"


@pytest.fixture
def parts(whole, tmp_path) -> list:
    names = cut(whole, tmp_path / "model.gguf", 7)
    assert len(names) == 4 and names[0].name == "model-00001-of-00004.gguf"
    return names


def logits(path: Path, **options) -> np.ndarray:
    with libqwen.Model(path, **options) as model, model.session() as session:
        return np.array(session.logits(IDS)).view(np.uint32)


@pytest.mark.parametrize("load", ["map", "copy"])
def test_any_part_opens_the_whole_model(whole, parts, load, monkeypatch):
    wanted = logits(whole)
    for path in (parts[0], parts[2], parts[0].parent):
        assert np.array_equal(logits(path, load=load), wanted)
    monkeypatch.chdir(parts[0].parent)
    assert np.array_equal(logits(Path(parts[1].name), load=load), wanted)


def test_parts_have_the_facts_of_the_whole_and_become_one_file_again(whole, parts, tmp_path):
    with libqwen.Model(whole) as one, libqwen.Model(parts[0]) as several:
        assert several.tokenize("It was so") == one.tokenize("It was so")
        assert several.info["parts"] == one.info["parts"]
        assert libqwen.Model.plan(parts[1])["total_bytes"] == libqwen.Model.plan(whole)["total_bytes"]
    libqwen.convert(parts[3], tmp_path / "again.gguf")
    again = gguf.GGUFReader(tmp_path / "again.gguf")
    assert not [name for name in again.fields if name.startswith("split.")]
    assert np.array_equal(logits(tmp_path / "again.gguf"), logits(whole))


def test_links_of_a_cache_are_followed(whole, parts, tmp_path):
    snapshot = tmp_path / "models--Qwen--Tiny" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for number, part in enumerate(parts):
        blob = tmp_path / f"blob{number}"
        part.rename(blob)
        (snapshot / part.name).symlink_to(blob)
    assert np.array_equal(logits(tmp_path / "models--Qwen--Tiny"), logits(whole))
    (tmp_path / "blob2").unlink()
    with pytest.raises(libqwen.QwenIOError, match=r"model-00003-of-00004\.gguf: is a link to a file that is not there"):
        libqwen.Model(snapshot)


def test_a_missing_part_is_named(parts):
    parts[1].unlink()
    with pytest.raises(libqwen.QwenIOError, match=r"1 of its 4 parts is missing: model-00002-of-00004\.gguf"):
        libqwen.Model(parts[0])
    parts[2].unlink()
    with pytest.raises(libqwen.QwenIOError, match=r"2 of its 4 parts are missing: .*download all parts"):
        libqwen.Model(parts[3])


def test_parts_of_another_model_or_another_name_are_refused(whole, parts):
    first = parts[0].read_bytes()
    parts[0].rename(parts[0].with_name("first.gguf"))
    with pytest.raises(libqwen.QwenUnsupportedError, match="is part 1 of 4 by another name"):
        libqwen.Model(parts[0].with_name("first.gguf"))
    parts[0].write_bytes(parts[1].read_bytes())
    with pytest.raises(libqwen.QwenFormatError, match=r"00001-of-00004\.gguf: says that it is part 2 of 4"):
        libqwen.Model(parts[1])
    parts[0].write_bytes(whole.read_bytes())
    with pytest.raises(libqwen.QwenFormatError, match="does not say that it is a part"):
        libqwen.Model(parts[1])
    parts[0].write_bytes(first)
    parts[3].write_bytes(parts[3].read_bytes()[:-40])
    with pytest.raises(libqwen.QwenFormatError, match=r"00004-of-00004\.gguf: has \d+ bytes of the \d+"):
        libqwen.Model(parts[0])


def test_parts_with_too_few_tensors_are_refused(parts):
    data = bytearray(parts[0].read_bytes())
    field = gguf.GGUFReader(parts[0]).fields["split.tensors.count"]
    total = int(field.contents())
    place = data.index(b"split.tensors.count") + len("split.tensors.count") + 4
    assert int.from_bytes(data[place : place + 4], "little") == total
    data[place] += 1
    parts[0].write_bytes(data)
    with pytest.raises(libqwen.QwenFormatError, match=rf"its 4 parts have {total} tensors of {total + 1}"):
        libqwen.Model(parts[0])


def test_a_folder_with_one_gguf_model_is_that_model(whole, tmp_path):
    (tmp_path / "m").mkdir()
    shutil.copy(whole, tmp_path / "m" / "model.gguf")
    (tmp_path / "m" / "README.md").write_text("a model", encoding="utf-8")
    assert np.array_equal(logits(tmp_path / "m"), logits(whole))
    shutil.copy(whole, tmp_path / "m" / "other.gguf")
    with pytest.raises(libqwen.QwenIOError, match=r"give one file: model\.gguf, other\.gguf"):
        libqwen.Model(tmp_path / "m")
