"""The community's harness, lm-eval, on libqwen: a model class registered as "libqwen".

    libqwen eval --harness --model PATH --tasks mmlu,gsm8k
    lm_eval.simple_evaluate(model=LibQwenLM(pretrained=PATH), tasks=["mmlu"])

Importing this module needs lm-eval (0.4.13 is what it is tested with) and NumPy.
"""

from __future__ import annotations

import argparse
import json
import queue
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple, TypeVar, Union

import lm_eval
import numpy
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window, make_table
from tqdm import tqdm

from ..model import Model
from ..session import Session

__all__ = ["LibQwenLM", "evaluate"]

_Job = TypeVar("_Job")
#: A request of log likelihood: the texts, the ids of the context, and those of the continuation.
_Scored = Tuple[Tuple[str, str], List[int], List[int]]


@register_model("libqwen")
class LibQwenLM(TemplateLM):  # type: ignore[misc]
    """A model for lm-eval: all three kinds of requests, chat templates, several sessions at once.

    Requests that begin alike run after each other in one session, so what they share is read once; the
    endings of one question, and questions after the same examples, cost little more than their
    differences.
    """

    def __init__(
        self,
        pretrained: Union[str, Model],
        *,
        batch_size: Union[int, str] = 1,
        max_length: Optional[int] = None,
        max_gen_toks: int = 256,
        prefix_token_id: Optional[int] = None,
        enable_thinking: Optional[bool] = None,
        kv_cache: Optional[str] = None,
        device: Optional[str] = None,
        max_batch_size: Optional[int] = None,
        **options: Any,
    ) -> None:
        """Opens a model, or takes one.

        Args:
            pretrained: a folder, a .gguf file, or a `Model`, which stays the caller's.
            batch_size: sessions at once; "auto" is 1.
            max_length: positions of a session; the model's by default.
            max_gen_toks: the longest continuation where a task names none.
            prefix_token_id: what stands before a text without context; the model's first or end token.
            enable_thinking: for the chat template of Qwen3.
            kv_cache: see `libqwen.describe("options")`.
            device: None or "cpu".
            max_batch_size: accepted and without effect.
            **options: of `Model`: ``compute, threads, ...``.
        """
        super().__init__()
        if device not in (None, "cpu"):
            raise ValueError(f"device is {device!r}: libqwen runs on the CPU")
        self._own = not isinstance(pretrained, Model)
        self.model = pretrained if isinstance(pretrained, Model) else Model(pretrained, **options)
        self.max_gen_toks = max_gen_toks
        self._thinking = enable_thinking
        self._prefix = prefix_token_id
        count = 1 if batch_size == "auto" else max(int(batch_size), 1)
        settings = {"context": max_length, "kv_cache": kv_cache}
        self._sessions = [self.model.session(**settings) for _ in range(count)]
        self.max_length = int(self._sessions[0].info()["context"])

    def close(self) -> None:
        """Closes the sessions, and the model if it was opened here."""
        for session in self._sessions:
            session.close()
        if self._own:
            self.model.close()

    # ---- Text --------------------------------------------------------------------------------

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        for text in ("<|endoftext|>", "</s>", "<|im_end|>"):
            token = self.model.token_id(text)
            if token is not None:
                return token
        return int(self.model.info["stop_ids"][0])

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text that has no context."""
        return self.eot_token_id if self._prefix is None else self._prefix

    @property
    def tokenizer_name(self) -> str:
        """A name for lm-eval's cache of requests."""
        return f"libqwen__{self.model.path}".replace("/", "__")

    def tok_encode(
        self, string: str, add_special_tokens: Optional[bool] = None, **kwargs: Any
    ) -> List[int]:
        """Ids of a text; control tokens count, since chat templates spell them."""
        return self.model.tokenize(string, special="all")

    def tok_decode(self, tokens: Union[int, Sequence[int]], **kwargs: Any) -> str:
        """The text of ids."""
        return self.model.detokenize([tokens] if isinstance(tokens, int) else list(tokens))

    def chat_template(self, chat_template: Union[bool, str] = False) -> str:
        """The name of the template, for lm-eval's records."""
        return str(self.model.info.get("chat_format", ""))

    def apply_chat_template(
        self, chat_history: List[Dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The text of a chat; without a generation prompt the last message stays open."""
        options: Dict[str, Any] = {}
        if self._thinking is not None:
            options["enable_thinking"] = self._thinking
        if add_generation_prompt:
            return self.model.render(chat_history, **options)[1]
        *earlier, last = chat_history
        return self.model.render(earlier, **options)[1] + last["content"]

    # ---- Log likelihood ----------------------------------------------------------------------

    def _loglikelihood_tokens(
        self, requests: List[_Scored], disable_tqdm: bool = False, **kwargs: Any
    ) -> List[Tuple[float, bool]]:
        """The log probability of each continuation, and whether each of its tokens is the likeliest."""
        inputs = []
        for index, (_, context, continuation) in enumerate(requests):
            ids = (context + continuation)[-(self.max_length + 1) :]
            if not continuation or len(continuation) >= len(ids):
                raise ValueError(
                    f"request {index} has no continuation, or one longer than the context"
                )
            inputs.append((ids[:-1], continuation, index))
        inputs.sort(key=lambda item: item[0])
        # Continuations that differ in their last token alone share every row.
        groups = [list(group) for _, group in groupby(inputs, key=lambda item: item[0])]
        answers: List[Tuple[float, bool]] = [(0.0, False)] * len(requests)

        def score(session: Session, group: "List[Tuple[List[int], List[int], int]]") -> None:
            ids = group[0][0]
            longest = max(len(continuation) for _, continuation, _ in group)
            rows = numpy.asarray(session.logits(ids, first=len(ids) - longest))
            for _, continuation, index in group:
                answers[index] = _likelihood(rows[longest - len(continuation) :], continuation)
                request = requests[index][0]
                self.cache_hook.add_partial("loglikelihood", request, answers[index])

        self._spread(groups, score, "loglikelihood", len(requests), len, disable_tqdm)
        return answers

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> List[float]:
        """The log probability of whole texts, in windows as long as the context."""
        texts = [request.args[0] for request in requests]
        answers = [0.0] * len(texts)

        def score(session: Session, index: int) -> None:
            total = 0.0
            for window in get_rolling_token_windows(
                token_list=self.tok_encode(texts[index]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            ):
                context, continuation = make_disjoint_window(window)
                ids = context + continuation
                values = numpy.asarray(session.score(ids[: self.max_length]), dtype=numpy.float64)
                total += float(values[len(context) - 1 :].sum())
                if len(ids) > self.max_length:  # the last one is predicted, never read
                    rows = session.logits(ids[:-1], first=len(ids) - 2)
                    total += _likelihood(rows, ids[-1:])[0]
            answers[index] = total
            self.cache_hook.add_partial("loglikelihood_rolling", (texts[index],), total)

        jobs = list(range(len(texts)))
        self._spread(jobs, score, "loglikelihood_rolling", len(jobs), lambda _: 1, disable_tqdm)
        return answers

    # ---- Generation --------------------------------------------------------------------------

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> List[str]:
        """Continuations, each up to one of its stop texts."""
        jobs = []
        for index, request in enumerate(requests):
            context, given = request.args
            jobs.append((self.tok_encode(context), dict(given), index))
        jobs.sort(key=lambda job: job[0])
        answers = [""] * len(jobs)

        def make(session: Session, job: "Tuple[List[int], Dict[str, Any], int]") -> None:
            ids, given, index = job
            options = self._options(given)
            keep = self.max_length - options["max_new_tokens"]
            if keep < 1:
                raise ValueError(
                    f"max_gen_toks {options['max_new_tokens']} leaves no room for a prompt"
                )
            text = session.generate(ids[-keep:], **options).text
            answers[index] = text
            self.cache_hook.add_partial("generate_until", requests[index].args, text)

        self._spread(jobs, make, "generate_until", len(jobs), lambda _: 1, disable_tqdm)
        return answers

    def _options(self, given: Dict[str, Any]) -> Dict[str, Any]:
        """Options of a run from what a task asks for; greedy unless it asks for sampling."""
        settings = dict(normalize_gen_kwargs(given, self.max_gen_toks))
        stop = [text for text in settings.pop("until", None) or [] if text]
        options: Dict[str, Any] = {"max_new_tokens": int(settings.pop("max_gen_toks"))}
        options["do_sample"] = bool(settings.pop("do_sample", False))
        options["repetition_penalty"] = 1.0
        temperature = settings.pop("temperature", None)
        if options["do_sample"] and temperature:
            options["temperature"] = float(temperature)
        for name in ("max_length", "use_cache", "num_beams"):
            settings.pop(name, None)
        if stop:
            options["stop"] = stop
        return {**options, **settings}

    # ---- Sessions ----------------------------------------------------------------------------

    def _spread(
        self,
        jobs: Sequence[_Job],
        work: Callable[[Session, _Job], None],
        label: str,
        total: int,
        size: Callable[[Any], int],
        disable_tqdm: bool,
    ) -> None:
        """Runs the jobs in order, neighbours in the same session, one thread a session."""
        count = min(len(self._sessions), max(len(jobs), 1))
        free: "queue.Queue[Session]" = queue.Queue()
        for session in self._sessions[:count]:
            free.put(session)
        step = -(-len(jobs) // (4 * count)) if count > 1 else max(len(jobs), 1)
        chunks = [jobs[start : start + step] for start in range(0, len(jobs), step)]
        with tqdm(total=total, desc=f"Running {label} requests", disable=disable_tqdm) as bar:

            def run(chunk: Sequence[_Job]) -> None:
                session = free.get()
                try:
                    for job in chunk:
                        work(session, job)
                        bar.update(size(job))
                finally:
                    free.put(session)

            if count == 1:
                _all(map(run, chunks))
            else:
                with ThreadPoolExecutor(count) as pool:
                    _all(pool.map(run, chunks))


def _all(results: Iterable[None]) -> None:
    for _ in results:
        pass


def _likelihood(rows: Any, continuation: Sequence[int]) -> Tuple[float, bool]:
    """The sum of log probabilities, in double precision, and whether each token is the likeliest."""
    rows = numpy.asarray(rows, dtype=numpy.float64)
    top = rows.max(axis=1, keepdims=True)
    norms = top[:, 0] + numpy.log(numpy.exp(rows - top).sum(axis=1))
    chosen = rows[numpy.arange(len(continuation)), list(continuation)]
    greedy = bool((rows.argmax(axis=1) == numpy.asarray(continuation)).all())
    return float((chosen - norms).sum()), greedy


def evaluate(model: Model, tasks: Sequence[str], given: argparse.Namespace) -> int:
    """``libqwen eval --harness``: runs the tasks, prints lm-eval's table or its JSON."""
    from lm_eval.tasks import TaskManager

    lm = LibQwenLM(
        model,
        batch_size=given.batch_size,
        max_length=given.context,
        kv_cache=given.kv_cache,
        max_gen_toks=given.max_new_tokens,
    )
    try:
        results: Dict[str, Any] = lm_eval.simple_evaluate(
            model=lm,
            tasks=list(tasks),
            num_fewshot=given.num_fewshot,
            limit=given.limit,
            system_instruction=given.system_instruction,
            apply_chat_template=given.apply_chat_template,
            task_manager=TaskManager(include_path=given.include_path),
            log_samples=bool(given.records),
        )
    finally:
        lm.close()
    if given.json:
        kept = {name: results.get(name) for name in ("results", "groups", "versions", "n-shot")}
        print(json.dumps(kept, ensure_ascii=False, indent=2, default=str))
    else:
        print(make_table(results))
        if results.get("groups"):
            print(make_table(results, "groups"))
    if given.records:
        with open(Path(given.records), "w", encoding="utf-8") as file:
            for task, samples in results["samples"].items():
                for sample in samples:
                    line = json.dumps({"task": task, **sample}, ensure_ascii=False, default=str)
                    file.write(line + "\n")
    return 0
