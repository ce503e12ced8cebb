"""What a protocol asks of a model: next-token logits, a greedy continuation, a greedy answer."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, Optional, Sequence

from ..model import Model

__all__ = ["Progress", "Runner", "softmax"]

#: Called with a label, the items done, and their number.
Progress = Callable[[str, int, int], None]

#: Greedy and without penalties, whatever the model's generation_config.json asks for.
GREEDY: Dict[str, Any] = {"do_sample": False, "repetition_penalty": 1.0}


class Runner:
    """Runs one model for evaluations, in a session of its own: prompts that begin alike share work.

    A context manager. One thread at a time.
    """

    def __init__(
        self,
        model: Model,
        *,
        max_new_tokens: int = 512,
        limit: Optional[int] = None,
        progress: Optional[Progress] = None,
        **session: Any,
    ) -> None:
        """Opens a session.

        Args:
            model: the model; stays the caller's.
            max_new_tokens: the longest continuation or answer.
            limit: evaluate only the first so many items of each file.
            progress: called after each item.
            **session: options of the session: ``context, kv_cache, ...``.
        """
        self.model = model
        self.max_new_tokens = max_new_tokens
        self.limit = limit
        self._progress = progress
        self._session = model.session(**session)
        self.context = int(self._session.info()["context"])

    def close(self) -> None:
        """Closes the session. Idempotent."""
        self._session.close()

    def __enter__(self) -> "Runner":
        """The runner itself."""
        return self

    def __exit__(self, *details: Any) -> None:
        """Closes."""
        self.close()

    def items(self, label: str, items: Sequence[Any]) -> Any:
        """Iterates over the items up to the limit and reports progress."""
        chosen = list(items)[: self.limit]
        for index, item in enumerate(chosen):
            yield item
            if self._progress is not None:
                self._progress(label, index + 1, len(chosen))

    def token(self, text: str) -> int:
        """The one token that a text is.

        Raises:
            ValueError: it is several in this vocabulary.
        """
        ids = self.model.tokenize(text)
        if len(ids) != 1:
            raise ValueError(
                f"{text!r} is {len(ids)} tokens in this vocabulary, the protocol needs one"
            )
        return ids[0]

    def next_logits(
        self, prompt: str, tokens: Sequence[int], keep: Optional[int] = None
    ) -> List[float]:
        """Logits of some tokens after a prompt.

        Args:
            prompt: ordinary text.
            tokens: the ids that are asked for.
            keep: of a prompt that is longer than this, only the last ``keep - 1`` tokens stay.
        """
        ids = self.model.tokenize(prompt)
        if keep is not None and len(ids) > keep:
            ids = ids[len(ids) - keep + 1 :]
        row = self._session.logits(ids, first=len(ids) - 1)[0]
        return [float(row[token]) for token in tokens]

    def complete(self, prompt: str, stop: Sequence[str] = ()) -> str:
        """The greedy continuation of a text, cut before the first of the stop texts."""
        ids = self.model.tokenize(prompt)
        options = {"max_new_tokens": self._room(len(ids)), **GREEDY}
        if stop:
            options["stop"] = list(stop)
        return self._session.generate(ids, **options).text

    def chat(self, query: str) -> str:
        """The greedy answer to a question without history, stripped as Qwen's own `chat` does."""
        room = self._room(len(self.model.render(query)[0]))
        return self._session.chat(query, max_new_tokens=room, **GREEDY).text.strip()

    def _room(self, prompt: int) -> int:
        return max(min(self.max_new_tokens, self.context - prompt), 1)


def softmax(values: Sequence[float]) -> List[float]:
    """Probabilities of logits."""
    top = max(values)
    weights = [math.exp(value - top) for value in values]
    total = sum(weights)
    return [weight / total for weight in weights]
