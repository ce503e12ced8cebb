"""The examples of the first Qwen release, with only the import changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

import numpy as np
import pytest
from conftest import GREEDY, Golden, tiny_path

import libqwen
from libqwen import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from libqwen.compat import CausalLM, Rows, Tokenizer, folders
from libqwen.compat.quantization import BitsAndBytesConfig, weight_options
from libqwen.compat.settings import changed, run_options

Pair = Tuple[Tokenizer, CausalLM]


@pytest.fixture(scope="module")
def pair(library: None) -> Iterator[Pair]:
    path = str(tiny_path("qwen-launch"))
    tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=True)
    model = AutoModelForCausalLM.from_pretrained(
        path, device_map="cpu", trust_remote_code=True, compute="float32"
    ).eval()
    with model:
        yield tokenizer, model


def test_the_chat_example_runs(pair: Pair) -> None:
    tokenizer, model = pair
    response, history = model.chat(tokenizer, "你好", history=None, max_new_tokens=6, **GREEDY)
    assert history == [("你好", response)]
    given = list(history)
    response, history = model.chat(tokenizer, "the river", given, max_new_tokens=6, **GREEDY)
    assert [question for question, _ in history] == ["你好", "the river"]
    assert len(given) == 1
    _, same = model.chat(tokenizer, "a", given, append_history=False, max_new_tokens=1)
    assert same == given


def test_the_stream_grows_to_the_answer(pair: Pair) -> None:
    tokenizer, model = pair
    whole, _ = model.chat(tokenizer, "the road", None, max_new_tokens=16, **GREEDY)
    texts = list(model.chat_stream(tokenizer, "the road", None, max_new_tokens=16, **GREEDY))
    assert all(after.startswith(before) for before, after in zip(texts, texts[1:]))
    assert texts[-1].strip() == whole
    launch_day = model.chat(tokenizer, "the road", None, stream=True, max_new_tokens=16, **GREEDY)
    assert list(launch_day) == texts


def test_the_completion_example_runs(pair: Pair) -> None:
    tokenizer, model = pair
    golden = Golden.read("qwen-launch")
    inputs = tokenizer(golden.facts["prompt"], return_tensors="pt").to(model.device)
    pred = model.generate(**inputs, max_new_tokens=24, **GREEDY)
    ids = [int(token) for token in pred.cpu()[0]]
    assert ids == golden.ids("input_ids") + golden.ids("greedy_ids")
    text = tokenizer.decode(pred.cpu()[0], skip_special_tokens=True)
    assert text == golden.facts["prompt"] + golden.facts["greedy_text"]


@pytest.mark.parametrize("kind", ["list", "rows", "plain rows", "numpy"])
def test_generate_returns_the_kind_it_was_given(pair: Pair, kind: str) -> None:
    tokenizer, model = pair
    ids = tokenizer("the river")["input_ids"]
    given: Any = {
        "list": ids,
        "rows": Rows([ids]),
        "plain rows": [ids],
        "numpy": np.array([ids]),
    }[kind]
    made = model.generate(given, max_new_tokens=3, **GREEDY)
    assert type(made) is type(given)
    row = made if kind == "list" else made[0]
    assert list(row[: len(ids)]) == ids
    assert len(row) == len(ids) + 3
    longest = model.generate(given, max_length=len(ids) + 2, **GREEDY)
    assert len(longest if kind == "list" else longest[0]) == len(ids) + 2


def test_a_batch_answers_as_its_rows_do(pair: Pair) -> None:
    tokenizer, model = pair
    texts = ["the river ran", "the road"]
    batch = tokenizer(texts, padding=True, return_tensors="np")
    assert batch["input_ids"].shape == batch.attention_mask.shape
    made = model.generate(**batch, max_new_tokens=5, **GREEDY)
    for row, mask, text in zip(made, batch["attention_mask"], texts):
        alone = model.generate(tokenizer.encode(text), max_new_tokens=5, **GREEDY)
        assert list(row[len(mask) - int(mask.sum()) :])[: len(alone)] == alone


def test_the_tokenizer_knows_control_tokens(pair: Pair) -> None:
    tokenizer, _ = pair
    text = "<|im_start|>user"
    assert tokenizer.encode(text)[0] == tokenizer.im_start_id
    assert tokenizer.im_start_id not in tokenizer.encode(text, allowed_special=set())
    with pytest.raises(ValueError):
        tokenizer.encode(text, allowed_special=set(), disallowed_special="all")
    assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == "user"
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("a")) == [b"a"]
    assert tokenizer.convert_tokens_to_ids(["<|im_end|>", b"a"]) == [
        tokenizer.im_end_id,
        tokenizer.encode("a")[0],
    ]
    assert tokenizer.batch_decode([tokenizer.encode("a"), tokenizer.encode("b")]) == ["a", "b"]
    assert tokenizer.eos_token == "<|endoftext|>"


def test_a_chat_template_makes_the_prompt(pair: Pair) -> None:
    tokenizer, _ = pair
    golden = Golden.read("qwen-launch")
    messages = golden.facts["chat_messages"]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    assert ids == golden.ids("chat_ids")
    with pytest.raises(NotImplementedError):
        tokenizer.apply_chat_template(messages)


def test_settings_of_the_model_can_be_changed(pair: Pair) -> None:
    tokenizer, model = pair
    own = model.generation_config
    assert own == GenerationConfig.from_pretrained(tiny_path("qwen-launch"))
    model.generation_config = GenerationConfig.from_pretrained(
        tiny_path("qwen-launch"), max_new_tokens=2, do_sample=False
    )
    try:
        assert len(model.generate(tokenizer.encode("the"))) == len(tokenizer.encode("the")) + 2
    finally:
        model.generation_config = own


def test_the_configuration_is_readable() -> None:
    config = AutoConfig.from_pretrained(tiny_path("qwen-launch"), trust_remote_code=True)
    assert config.n_embd == 48
    with pytest.raises(AttributeError):
        _ = config.hidden_size
    assert json.loads(repr(config).partition(" ")[2]) == config.to_dict()


@pytest.mark.parametrize(
    ("key", "value"),
    [("device_map", "cuda"), ("device_map", {"": 0}), ("quantization_config", object())],
)
def test_what_is_not_there_is_refused(key: str, value: Any) -> None:
    with pytest.raises(libqwen.QwenUnsupportedError):
        AutoModelForCausalLM.from_pretrained(tiny_path("qwen-launch"), **{key: value})


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"bf16": True}, "BF16"),
        ({"fp16": True}, "F16"),
        ({"fp32": True}, "F32"),
        ({"weights": "bf16"}, "BF16"),
    ],
)
def test_precision_flags_choose_the_format(library: None, arguments: Any, wanted: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_path("qwen-launch"), **arguments)
    assert model.model.info["formats"]["layers"] == wanted


def test_precision_flags_leave_quantised_files_alone(library: None) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_path("qwen2-gguf-q4"), bf16=True)
    assert model.model.info["formats"]["layers"] in ("Q4_0", "Q4_1", "Q8_0", "F32")


def test_quantisation_in_the_words_of_transformers() -> None:
    def asked(config: Any = None, **flags: Any) -> Any:
        known = {"load_in_8bit": False, "load_in_4bit": False, "flags": {}}
        return weight_options(tiny_path("qwen-launch"), config, **{**known, **flags})

    assert asked() == {}
    assert asked(BitsAndBytesConfig(load_in_8bit=True)) == {"weights": "int8"}
    assert asked({"load_in_4bit": True}) == {"weights": "nf4"}
    double = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_use_double_quant=True)
    assert asked(double) == {"weights": "nf4-double"}
    assert asked(load_in_8bit=True) == {"weights": "int8"}
    assert asked(load_in_4bit=True) == {"weights": "nf4"}
    assert asked(BitsAndBytesConfig()) == {}
    with pytest.raises(libqwen.QwenUnsupportedError):
        asked(load_in_4bit=True, load_in_8bit=True)
    with pytest.raises(libqwen.QwenUnsupportedError):
        asked(flags={"bf16": True, "f32": True})


def options(**settings: Any) -> Any:
    decode: Dict[Tuple[int, ...], str] = {(5, 6): "Observation:"}
    return run_options(
        settings, prompt_tokens=10, end_ids=[2], decode=lambda ids: decode[tuple(ids)]
    )


def test_settings_become_options() -> None:
    assert options(top_p=0.5, temperature=None, use_cache=True, num_beams=1) == {"top_p": 0.5}
    assert options(max_length=15) == {"max_new_tokens": 5}
    assert options(max_length=15, max_new_tokens=3) == {"max_new_tokens": 3}
    assert options(eos_token_id=7) == {"stop_ids": [2, 7]}
    assert options(stop_words_ids=[[5, 6], [9]]) == {"stop_ids": [2, 9], "stop": ["Observation:"]}
    assert options(stop="a", stop_strings=["b"]) == {"stop": ["a", "b"]}
    for key, value in [("num_beams", 4), ("logits_processor", [print]), ("typical_p", 0.5)]:
        with pytest.raises(libqwen.QwenUnsupportedError) as caught:
            options(**{key: value})
        assert caught.value.key == key


def test_only_what_differs_from_the_models_file_is_sent() -> None:
    assert changed({"top_p": 0.5, "top_k": 0}, {"top_p": 0.8, "top_k": 0}) == {"top_p": 0.5}
    assert changed(None, {}) == {}


def test_names_are_found_in_local_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tiny_path("qwen-launch")
    hub = tmp_path / "hub" / "models--Qwen--Tiny"
    shutil.copytree(source, hub / "snapshots" / "abc")
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text("abc\n", encoding="ascii")
    scope = tmp_path / "scope" / "Qwen" / "Small"
    scope.mkdir(parents=True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "scope"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert folders.resolve("Qwen/Tiny") == str(hub / "snapshots" / "abc")
    assert folders.resolve("Qwen/Tiny", revision="abc") == str(hub / "snapshots" / "abc")
    assert folders.resolve("Qwen/Small") == str(scope)
    assert folders.resolve(source) == str(source)
    for missing in ("Qwen/Other", "./Qwen/Other", "nothing"):
        with pytest.raises(libqwen.QwenIOError) as caught:
            folders.resolve(missing)
        assert caught.value.path == missing
    with pytest.raises(libqwen.QwenIOError, match="hf download Qwen/Other"):
        folders.resolve("Qwen/Other")
