"""Forks, saved states, guesses, loops of one's own, batches: what must not change an answer."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any, List, Tuple

import libqwen
import pytest
from conftest import tiny_path

OPTIONS = {"max_new_tokens": 20, "temperature": 1.2, "seed": 3, "stop_ids": []}


def test_a_fork_and_a_rewound_session_go_on_alike(session: libqwen.Session) -> None:
    session.generate("Once upon a time", **OPTIONS)
    held = session.tokens()
    with session.fork() as fork:
        assert fork.tokens() == held
        fork.rewind(2)
        assert fork.tokens() == held[:2] and session.tokens() == held
        with pytest.raises(libqwen.QwenArgumentError):
            fork.rewind(3)
        text = session.generate("Once upon a time, in", **OPTIONS).text
        assert fork.generate("Once upon a time, in", **OPTIONS).text == text


def test_states_are_saved_and_loaded(
    session: libqwen.Session, launch: libqwen.Model, tmp_path: Path
) -> None:
    session.generate("Once upon a time", **OPTIONS)
    session.save(tmp_path / "state")
    state = session.save_bytes()
    assert state == (tmp_path / "state").read_bytes()
    with launch.session() as other:
        other.load(tmp_path / "state")
        assert other.tokens() == session.tokens()
        other.reset()
        other.load_bytes(state)
        assert other.tokens() == session.tokens()
        with pytest.raises(libqwen.QwenFormatError):
            other.load_bytes(state[:-1])
        assert other.tokens() == session.tokens()
    with launch.session(kv_cache="f32") as other:
        with pytest.raises(libqwen.QwenUnsupportedError, match="kv_cache"):
            other.load_bytes(state)


SAVER = """
import sys, libqwen
with libqwen.Model(sys.argv[1]) as model, model.session() as one, model.session() as other:
    one.generate("Once", max_new_tokens=1)
    other.generate("Once upon a time " * 8, max_new_tokens=1)
    print(len(one.tokens()), len(other.tokens()), flush=True)
    while True:
        one.save(sys.argv[2])
        other.save(sys.argv[2])
"""


def test_a_save_that_is_killed_leaves_one_of_both_states(
    launch: libqwen.Model, tmp_path: Path
) -> None:
    random, seen = Random(5), set()
    target = tmp_path / "state"
    env = {**os.environ, "PYTHONPATH": str(Path(libqwen.__file__).parents[1])}
    for _ in range(30):
        arguments = [sys.executable, "-c", SAVER, str(tiny_path("qwen-launch")), str(target)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=env) as process:
            assert process.stdout is not None
            lengths = {int(count) for count in process.stdout.readline().split()}
            assert len(lengths) == 2
            time.sleep(0.005 + random.random() * 0.02)
            process.kill()
        with launch.session() as session:
            if target.exists():
                session.load(target)
                assert len(session.tokens()) in lengths
                seen.add(len(session.tokens()))
    assert seen


def test_guesses_change_nothing(session: libqwen.Session, launch: libqwen.Model) -> None:
    plain = session.generate("a b c a b c a b", **OPTIONS)
    session.set_draft(launch)
    for way in ("lookup", "draft", {"lookup": {"n": 1, "max": 4}}):
        session.reset()
        guessed = session.generate("a b c a b c a b", speculative=way, **OPTIONS)
        assert guessed.ids == plain.ids
        assert set(guessed.speculation) == {"steps", "drafted", "accepted"}
    session.set_draft(None)
    with pytest.raises(libqwen.QwenOptionError):
        session.generate("a", speculative="draft", **OPTIONS)


def test_a_loop_of_ones_own_says_the_same(session: libqwen.Session, launch: libqwen.Model) -> None:
    prompt = launch.tokenize("Once upon a time")
    wanted = session.generate(prompt, max_new_tokens=8, do_sample=False, stop_ids=[]).ids
    session.reset()
    said: List[int] = []
    with libqwen.Sampler(launch, do_sample=False) as sampler:
        session.feed(prompt)
        for _ in range(8):
            said.append(sampler.sample(session.fed_logits(), prompt + said))
            session.feed(said[-1:])
    assert said == wanted
    with libqwen.Sampler(temperature=0.5, top_k=3) as sampler:
        found = sampler.distribution([0.0, 1.0, 2.0, 3.0])
        assert [token for token, _ in found] == [3, 2, 1]
        assert sum(part for _, part in found) == pytest.approx(1)


def test_a_text_has_a_vector(session: libqwen.Session, launch: libqwen.Model) -> None:
    vector = session.embed("Once upon a time")
    assert len(vector) == launch.info["hidden_size"]
    assert sum(float(x) ** 2 for x in vector) == pytest.approx(1, abs=1e-5)
    other = session.embed("Once upon a time", pooling="last", normalize=False)
    assert list(other) != list(vector)


def test_a_batch_answers_as_single_runs(launch: libqwen.Model) -> None:
    prompts: List[Any] = ["Once", "upon a time", {"prompt": "in a land", "max_new_tokens": 5}]
    results = launch.generate_batch(prompts, max_sequences=2, context=64, **OPTIONS)
    for prompt, result in zip(prompts, results):
        own = {"prompt": prompt} if isinstance(prompt, str) else prompt
        with launch.session(context=64) as session:
            options = {**OPTIONS, **{k: v for k, v in own.items() if k != "prompt"}}
            assert session.generate(own["prompt"], **options).ids == result.ids
    with pytest.raises(libqwen.QwenOptionError):
        launch.generate_batch(["a"], temprature=1)


def test_a_batch_reports_pieces_and_cancels(launch: libqwen.Model) -> None:
    pieces: List[Tuple[int, str]] = []
    with libqwen.Batch(launch, max_sequences=2, context=64) as batch:
        first = batch.submit({"prompt": "Once", **OPTIONS})
        second = batch.submit({"prompt": "upon", **OPTIONS})
        batch.step()
        batch.cancel(second)
        ended = {}
        while batch.remaining:
            ended.update(batch.step(lambda number, text: pieces.append((number, text))))
        with pytest.raises(libqwen.QwenArgumentError):
            batch.cancel(first)
    assert ended[second].finish_reason == "cancelled"
    assert "".join(text for number, text in pieces if number == first) in ended[first].text


def test_a_result_can_be_replayed(session: libqwen.Session) -> None:
    result = session.generate("Once upon a time", max_new_tokens=12, temperature=1.5)
    request = result.replay["request"]
    assert request["seed"] == result.seed
    session.reset()
    assert session.generate(request.pop("prompt"), **request).text == result.text


def test_the_log_is_silent_until_asked(launch: libqwen.Model) -> None:
    lines: List[Tuple[int, str]] = []
    libqwen.set_log(lambda level, line: lines.append((level, line)), level=3)
    launch.session().close()
    libqwen.set_log(None)
    launch.session().close()
    gc.collect()
    assert [level for level, _ in lines] == [3, 3]
    assert libqwen.describe("metrics")["runs"] >= 0


def test_tokens_have_bytes(launch: libqwen.Model) -> None:
    ids = launch.tokenize("Once 你好")
    assert b"".join(launch.token_bytes(token) for token in ids) == "Once 你好".encode()
