from __future__ import annotations

import os
import pickle
import threading
from pathlib import Path
from typing import Any, List

import pytest
from conftest import Golden, tiny_path

import libqwen


def test_the_library_describes_itself(library: None) -> None:
    assert libqwen.library_version().count(".") == 2
    for what in ("build", "cpu", "formats", "models", "options", "errors"):
        assert isinstance(libqwen.describe(what), dict)
    with pytest.raises(libqwen.QwenArgumentError):
        libqwen.describe("weather")


def test_every_model_opens_and_states_its_facts(model: libqwen.Model) -> None:
    assert model.info
    assert not model.closed


def test_tokens_are_those_of_the_reference(model: libqwen.Model, golden: Golden) -> None:
    prompt = golden.facts["prompt"]
    ids = golden.ids("input_ids")
    assert model.tokenize(prompt) == ids
    assert model.detokenize(ids) == prompt
    assert model.detokenize_bytes(ids) == prompt.encode("utf-8")


def test_a_chat_is_rendered_as_the_reference_renders_it(
    model: libqwen.Model, golden: Golden
) -> None:
    ids, text = model.render(golden.facts["chat_messages"])
    assert ids == golden.ids("chat_ids")
    assert text.endswith("<|im_start|>assistant\n")
    assert model.tokenize(text, special="all") == ids


def test_control_tokens_are_text_unless_asked_for(launch: libqwen.Model) -> None:
    start = launch.token_id("<|im_start|>")
    assert start is not None
    assert start not in launch.tokenize("<|im_start|>user")
    assert launch.tokenize("<|im_start|>user", special="all")[0] == start
    assert launch.tokenize("<|im_start|>user", special=["<|im_start|>"])[0] == start
    assert start not in launch.tokenize("<|im_start|>user", special=[])
    assert launch.detokenize([start]) == "<|im_start|>"
    assert launch.detokenize([start], skip_special=True) == ""
    with pytest.raises(libqwen.QwenArgumentError):
        launch.tokenize("<|im_start|>user", disallow="all")
    assert launch.token_id("no such token") is None


@pytest.mark.parametrize(
    "text", ["", " ", "a\0b", "a\r\n\r\n  b", "é e\u0301", "你好👋🏽", "x" * 5000]
)
def test_text_comes_back_from_tokens(launch: libqwen.Model, text: str) -> None:
    back = launch.detokenize(launch.tokenize(text))
    assert back == text.replace("e\u0301", "é")


def test_half_a_character_is_replaced_or_given_as_bytes(launch: libqwen.Model) -> None:
    ids = [launch.token_id(byte) for byte in ("é".encode()[:1],)]
    half = [index for index in ids if index is not None]
    assert launch.detokenize(half) == "\ufffd"
    assert launch.detokenize(half, errors="ignore") == ""
    assert launch.detokenize_bytes(half) == "é".encode()[:1]


@pytest.mark.parametrize("ids", [[-1], [10**6], [2**31], [1.5], ["a"]])
def test_impossible_ids_are_refused(launch: libqwen.Model, ids: List[Any]) -> None:
    with pytest.raises(libqwen.QwenError) as caught:
        launch.detokenize(ids)
    assert isinstance(caught.value, ValueError)


def test_a_lone_surrogate_is_refused(launch: libqwen.Model) -> None:
    with pytest.raises(ValueError):
        launch.tokenize("\ud800")


def test_what_is_missing_or_broken_says_so(library: None, tmp_path: Path) -> None:
    with pytest.raises(libqwen.QwenIOError) as missing:
        libqwen.Model(tmp_path / "nothing")
    assert "nothing" in str(missing.value)
    assert isinstance(missing.value, OSError)
    broken = tmp_path / "model.gguf"
    broken.write_bytes(tiny_path("llama-gguf").read_bytes()[:200])
    with pytest.raises(libqwen.QwenFormatError):
        libqwen.Model(broken)
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(libqwen.QwenError):
        libqwen.Model(tmp_path)


def test_a_wrong_option_is_named(library: None) -> None:
    with pytest.raises(libqwen.QwenOptionError) as caught:
        libqwen.Model(tiny_path("llama"), thread=2)
    assert caught.value.key == "thread"
    assert "threads" in str(caught.value)
    with pytest.raises(libqwen.QwenOptionError):
        libqwen.Model(tiny_path("llama"), threads=-1)
    with pytest.raises(libqwen.QwenOptionError):
        libqwen.Model(tiny_path("llama"), threads=object())


def test_progress_runs_from_begin_to_end_and_may_stop(library: None) -> None:
    seen: List[float] = []

    def watch(stage: str, fraction: float) -> None:
        assert stage
        assert 0 <= fraction <= 1
        seen.append(fraction)

    libqwen.Model(tiny_path("qwen-ntk"), progress=watch).close()
    assert seen
    with pytest.raises(libqwen.QwenCancelledError):
        libqwen.Model(tiny_path("qwen-ntk"), progress=lambda stage, fraction: False)

    def fail(stage: str, fraction: float) -> None:
        raise KeyError(stage)

    with pytest.raises(KeyError):
        libqwen.Model(tiny_path("qwen-ntk"), progress=fail)


def test_only_the_vocabulary_can_be_opened(library: None) -> None:
    with libqwen.Model(tiny_path("qwen3"), load="vocabulary") as model:
        assert model.tokenize("the river")
        with pytest.raises(libqwen.QwenError):
            model.generate("the river")


def test_closing_is_idempotent_and_final(library: None) -> None:
    model = libqwen.Model(tiny_path("llama"))
    session = model.session()
    model.close()
    model.close()
    assert model.closed
    with pytest.raises(libqwen.QwenHandleError):
        model.tokenize("a")
    assert session.generate("The river", max_new_tokens=2).text is not None
    session.close()
    session.close()
    with pytest.raises(libqwen.QwenHandleError):
        session.info()


def test_closing_while_threads_use_it_does_no_harm(library: None) -> None:
    for _ in range(5):
        model = libqwen.Model(tiny_path("llama"))
        failures: List[BaseException] = []

        def use(model: libqwen.Model = model, failures: List[BaseException] = failures) -> None:
            try:
                for _ in range(200):
                    model.tokenize("the river runs north")
                    model.generate("the river", max_new_tokens=2)
            except libqwen.QwenError as error:
                failures.append(error)  # noqa: B023

        threads = [threading.Thread(target=use) for _ in range(3)]
        for thread in threads:
            thread.start()
        model.close()
        for thread in threads:
            thread.join()
        kinds = (libqwen.QwenHandleError, libqwen.QwenCancelledError)
        assert all(isinstance(error, kinds) for error in failures)


def test_a_model_travels_by_pickle(launch: libqwen.Model) -> None:
    with pickle.loads(pickle.dumps(launch)) as copy:
        assert copy.path == launch.path
        assert copy.tokenize("the river") == launch.tokenize("the river")


def test_a_child_process_can_not_use_its_parents_model(launch: libqwen.Model) -> None:
    child = os.fork()
    if child == 0:
        try:
            launch.tokenize("a")
        except libqwen.QwenForkedError:
            os._exit(0)
        except BaseException:
            os._exit(2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert launch.tokenize("a")
