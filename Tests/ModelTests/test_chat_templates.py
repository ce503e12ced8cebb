"""Prompts of all templates against transformers' rendering, and their ids against tokenizers'."""

from __future__ import annotations

import json
import shutil

import libqwen
import pytest
from conftest import FIXTURES
from tokenizers import Tokenizer

GOLDEN = json.loads((FIXTURES / "chat_templates.json").read_text(encoding="utf-8"))
BASE = FIXTURES / "tiny" / "qwen3"
#: Tokens that Qwen3 adds behind its vocabulary and that the tiny one lacks.
ADDED = ["<tool_response>", "</tool_response>", "<|fim_prefix|>", "<|vision_start|>"]
OF_CONVERSATION = {
    name: [case for case in GOLDEN["cases"] if case["template"] == name]
    for name in GOLDEN["templates"]
}


def folder_with(path, template: str, **generation) -> str:
    """A folder with a tokenizer like Qwen3's and this template."""
    path.mkdir(exist_ok=True)
    for name in ("config.json", "generation_config.json"):
        shutil.copy(BASE / name, path / name)
    vocabulary = json.loads((BASE / "tokenizer.json").read_text(encoding="utf-8"))
    last = max(token["id"] for token in vocabulary["added_tokens"])
    for number, text in enumerate(ADDED):
        token = dict(vocabulary["added_tokens"][0], id=last + 1 + number, content=text)
        vocabulary["added_tokens"].append(dict(token, special=text.startswith("<|")))
    (path / "tokenizer.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    dress = json.loads((BASE / "tokenizer_config.json").read_text(encoding="utf-8"))
    dress["chat_template"] = template
    (path / "tokenizer_config.json").write_text(json.dumps(dress), encoding="utf-8")
    if generation:
        (path / "generation_config.json").write_text(json.dumps(generation), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", GOLDEN["templates"])
def test_prompts_are_those_of_transformers(name, tmp_path):
    path = folder_with(tmp_path / "model", GOLDEN["templates"][name])
    reference = Tokenizer.from_file(path + "/tokenizer.json")
    assert OF_CONVERSATION[name]
    with libqwen.Model(path, load="vocabulary") as model:
        for case in OF_CONVERSATION[name]:
            tools = GOLDEN["tools"].get(case["tools"])
            messages = GOLDEN["conversations"][case["conversation"]]
            ids, text = model.render(messages, tools=tools, **case["options"])
            assert text == case["text"], case
            # Markers that a message spells are ordinary text here, and tokens for tokenizers.
            if "think" in name or "<think>" not in case["text"] or "</think>" in GOLDEN["templates"][name]:
                assert ids == reference.encode(case["text"], add_special_tokens=False).ids, case


def test_names_stand_for_templates(tmp_path):
    for name in GOLDEN["templates"]:
        if name not in ("qwen1.5", "qwen2", "qwen2.5", "qwq", "qwen3", "qwen3-thinking"):
            continue
        path = folder_with(tmp_path / name, "{{ messages }}")
        with libqwen.Model(path, load="vocabulary") as model:
            with pytest.raises(libqwen.QwenUnsupportedError, match="none that this library knows.*chat_format"):
                model.render("hello")
        with libqwen.Model(path, load="vocabulary", chat_format=name) as model:
            for case in OF_CONVERSATION[name]:
                messages = GOLDEN["conversations"][case["conversation"]]
                tools = GOLDEN["tools"].get(case["tools"])
                assert model.render(messages, tools=tools, **case["options"])[1] == case["text"]


def test_base_models_are_refused(tmp_path):
    path = folder_with(tmp_path / "base", GOLDEN["templates"]["qwen2.5"], eos_token_id=282)
    dress = json.loads((tmp_path / "base" / "tokenizer_config.json").read_text(encoding="utf-8"))
    dress["eos_token"] = "<|endoftext|>"
    (tmp_path / "base" / "tokenizer_config.json").write_text(json.dumps(dress), encoding="utf-8")
    with libqwen.Model(path, load="vocabulary") as model:
        with pytest.raises(libqwen.QwenUnsupportedError, match="base model.*qwen_generate"):
            model.render("hello")
    with libqwen.Model(path, load="vocabulary", chat_format="qwen2.5") as model:
        assert model.render("hello")[1].startswith("<|im_start|>system\nYou are Qwen")
    launch = tmp_path / "raw"
    shutil.copytree(FIXTURES / "tiny" / "qwen-ntk", launch)
    settings = json.loads((launch / "generation_config.json").read_text(encoding="utf-8"))
    settings["chat_format"] = "raw"
    (launch / "generation_config.json").write_text(json.dumps(settings), encoding="utf-8")
    with libqwen.Model(str(launch), load="vocabulary") as model:
        with pytest.raises(libqwen.QwenUnsupportedError, match="base model"):
            model.render("hello")


def test_pictures_and_other_tools_are_not_mistaken(tmp_path):
    vision = GOLDEN["templates"]["qwen2.5"] + "<|vision_start|>"
    with libqwen.Model(folder_with(tmp_path / "a", vision), load="vocabulary") as model:
        with pytest.raises(libqwen.QwenUnsupportedError, match="none that this library knows"):
            model.render("hello")
    coder = GOLDEN["templates"]["qwen3-instruct"] + "<function=name>"
    with libqwen.Model(folder_with(tmp_path / "b", coder), load="vocabulary") as model:
        assert model.render("hello")[1].endswith("<|im_start|>assistant\n")
        with pytest.raises(libqwen.QwenUnsupportedError, match="tool_format"):
            model.render("hello", tools=GOLDEN["tools"]["two"])
        model.render("hello", tools=GOLDEN["tools"]["two"], tool_format="hermes")


def test_launch_week_tokenizers_are_recognised(tmp_path):
    late, launch = tmp_path / "late", tmp_path / "launch"
    for path, code in ((late, 'f"<|extra_{i}|>"'), (launch, '"<R>", "<S>", f"<extra_{i}>"')):
        shutil.copytree(FIXTURES / "tiny" / "qwen-launch", path)
        (path / "tokenization_qwen.py").write_text(code, encoding="utf-8")
    with libqwen.Model(str(late), load="vocabulary") as model:
        names = [model.token_id(text) for text in ("<|extra_0|>", "<R>", "<extra_0>")]
        first = names[0]
        assert names == [first, None, None]
    with libqwen.Model(str(launch), load="vocabulary") as model:
        names = [model.token_id(text) for text in ("<R>", "<sep>", "<extra_0>", "<|extra_0|>")]
        assert names == [first, first + 4, first + 5, None]
        ids, text = model.render("<R><extra_1>")
        assert not set(ids) & set(range(first, first + 205)) and "<R><extra_1>" in text
