"""`AutoTokenizer`: a model's tokenizer with the calls of Qwen's own and of transformers."""

from __future__ import annotations

import os
from typing import Any, Collection, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

from ..errors import QwenArgumentError, QwenOptionError, QwenUnsupportedError
from ..model import Model, Specials
from . import folders

#: One text of ids, in whatever holds integers: a list, a tensor, an array.
Ids = Any


class Rows(List[List[int]]):
    """Rows of token ids that answer to the few calls a tensor is asked for in examples."""

    @property
    def shape(self) -> Tuple[int, int]:
        """Rows, and ids in the longest."""
        return len(self), max(map(len, self), default=0)

    def cpu(self) -> "Rows":
        """The same rows: they never leave the CPU."""
        return self

    def to(self, *arguments: Any, **keywords: Any) -> "Rows":
        """The same rows; any device means this one."""
        return self

    def tolist(self) -> List[List[int]]:
        """A copy as plain lists."""
        return [list(row) for row in self]


class BatchEncoding(Dict[str, Any]):
    """What a tokenizer returns: ``input_ids`` and ``attention_mask``, by key or by attribute."""

    def __getattr__(self, name: str) -> Any:
        """The member of this name."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the encoding has no {name!r}") from None

    def to(self, *arguments: Any, **keywords: Any) -> "BatchEncoding":
        """The same encoding; any device means the CPU."""
        return self


class Tokenizer:
    """Text to tokens and back; made by `AutoTokenizer.from_pretrained`. Any thread.

    Control tokens in a text are recognised by default, as Qwen's own tokenizer does; `chat` never
    recognises them in what people wrote.

    Attributes:
        padding_side: "left" (which generation needs) or "right".
        pad_token_id: what fills the rows of a batch; may be assigned.
    """

    def __init__(self, model: Model, *, padding_side: str = "left") -> None:
        self.model = model
        self.padding_side = padding_side
        self.pad_token_id: Optional[int] = self.eod_id
        self._path = model.path

    @property
    def name_or_path(self) -> str:
        """The path it was read from."""
        return self._path

    @property
    def eod_id(self) -> Optional[int]:
        """``<|endoftext|>``, or None."""
        return self.model.token_id("<|endoftext|>")

    @property
    def im_start_id(self) -> Optional[int]:
        """``<|im_start|>``, which opens a turn of a chat, or None."""
        return self.model.token_id("<|im_start|>")

    @property
    def im_end_id(self) -> Optional[int]:
        """``<|im_end|>``, which ends a turn of a chat, or None."""
        return self.model.token_id("<|im_end|>")

    @property
    def eos_token_id(self) -> Optional[int]:
        """The token that ends a text: what the model's files say, else ``<|endoftext|>``."""
        stated = (folders.read_json(self._path, "generation_config.json") or {}).get("eos_token_id")
        if isinstance(stated, list):
            stated = stated[0] if stated else None
        return stated if isinstance(stated, int) else self.eod_id

    @property
    def eos_token(self) -> Optional[str]:
        """The text of `eos_token_id`."""
        ended = self.eos_token_id
        return None if ended is None else self.decode([ended])

    def __call__(
        self,
        text: Union[str, Sequence[str]],
        *,
        return_tensors: Optional[str] = None,
        padding: Union[bool, str] = False,
        truncation: bool = False,
        max_length: Optional[int] = None,
        add_special_tokens: bool = True,
        allowed_special: Union[str, Collection[str]] = "all",
        disallowed_special: Union[str, Collection[str]] = (),
        return_attention_mask: bool = True,
        return_token_type_ids: bool = False,
    ) -> BatchEncoding:
        """Encodes a text or several.

        Args:
            text: one text, or a list.
            return_tensors: None for lists, "np" for NumPy arrays, "pt" for PyTorch tensors; where
                PyTorch is missing, "pt" gives `Rows`.
            padding: True or "longest" fills rows up to the longest; "max_length" up to `max_length`.
            truncation: cut rows at `max_length`.
            max_length: see `padding` and `truncation`.
            add_special_tokens: without effect: Qwen's tokenizers add none.
            allowed_special: the control tokens that are recognised: "all", or some.
            disallowed_special: the control tokens that make it an error.
            return_attention_mask: whether to add the mask, 1 for tokens and 0 for padding.
            return_token_type_ids: whether to add a row of zeros for each text.

        Raises:
            QwenArgumentError: a disallowed control token, or rows of unequal length as a tensor.
        """
        single = isinstance(text, str)
        texts = [text] if isinstance(text, str) else list(text)
        rows = [
            self.encode(one, allowed_special=allowed_special, disallowed_special=disallowed_special)
            for one in texts
        ]
        if truncation and max_length is not None:
            rows = [row[:max_length] for row in rows]
        width = max(map(len, rows), default=0)
        if padding == "max_length" and max_length is not None:
            width = max(width, max_length)
        masks = [[1] * len(row) for row in rows]
        if padding:
            rows = [self._padded(row, width, self.pad_token_id) for row in rows]
            masks = [self._padded(mask, width, 0) for mask in masks]
        members: Dict[str, List[List[int]]] = {"input_ids": rows}
        if return_token_type_ids:
            members["token_type_ids"] = [[0] * len(row) for row in rows]
        if return_attention_mask:
            members["attention_mask"] = masks
        if return_tensors is None:
            return BatchEncoding({key: row[0] if single else row for key, row in members.items()})
        if len({len(row) for row in rows}) > 1:
            raise QwenArgumentError("texts of different length make no tensor; pass padding=True")
        return BatchEncoding({key: tensor(row, return_tensors) for key, row in members.items()})

    def _padded(self, row: List[int], width: int, value: Optional[int]) -> List[int]:
        """The row filled up to `width`."""
        missing = width - len(row)
        if not missing:
            return row
        if value is None:
            raise QwenArgumentError("there is no padding token; assign tokenizer.pad_token_id")
        fill = [value] * missing
        return fill + row if self.padding_side == "left" else row + fill

    def encode(
        self,
        text: str,
        *,
        add_special_tokens: bool = True,
        allowed_special: Union[str, Collection[str]] = "all",
        disallowed_special: Union[str, Collection[str]] = (),
    ) -> List[int]:
        """Text to ids; arguments and errors as `__call__`."""
        return self.model.tokenize(
            text, special=_collection(allowed_special), disallow=_collection(disallowed_special)
        )

    def decode(
        self,
        token_ids: Ids,
        *,
        skip_special_tokens: bool = False,
        errors: str = "replace",
        clean_up_tokenization_spaces: Optional[bool] = None,
    ) -> str:
        """Ids to text.

        Args:
            token_ids: ids, one id, or a tensor of them.
            skip_special_tokens: leave control tokens out.
            errors: "replace" or "ignore", for bytes that are not UTF-8.
            clean_up_tokenization_spaces: without effect: byte-level text needs no cleaning.

        Raises:
            QwenArgumentError: an id is not in the vocabulary, or several rows (see `batch_decode`).
        """
        ids = token_ids.tolist() if hasattr(token_ids, "tolist") else token_ids
        ids = [ids] if isinstance(ids, int) else list(ids)
        if ids and not isinstance(ids[0], int):
            if len(ids) != 1:
                raise QwenArgumentError(f"{len(ids)} rows of ids, expected one; use batch_decode")
            ids = list(ids[0])
        return self.model.detokenize(ids, skip_special=skip_special_tokens, errors=errors)

    def batch_decode(self, sequences: Iterable[Ids], **keywords: Any) -> List[str]:
        """`decode` for each row."""
        rows = sequences.tolist() if hasattr(sequences, "tolist") else sequences
        return [self.decode(row, **keywords) for row in rows]

    def tokenize(self, text: str, **keywords: Any) -> List[bytes]:
        """Text to tokens as bytes, since a token need not be whole characters."""
        return self.convert_ids_to_tokens(self.encode(text, **keywords))

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> List[bytes]:
        """The bytes of each token."""
        return [self.model.detokenize_bytes([index]) for index in ids]

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """The id of a token, given as bytes or text, or of each in a list; None for what is none."""
        if isinstance(tokens, (str, bytes)):
            return self.model.token_id(tokens)
        return [self.model.token_id(token) for token in tokens]

    def apply_chat_template(
        self,
        conversation: Sequence[Mapping[str, Any]],
        *,
        tokenize: bool = True,
        add_generation_prompt: bool = False,
        return_tensors: Optional[str] = None,
        return_dict: bool = False,
        **options: Any,
    ) -> Any:
        """The prompt that a chat makes, ready for `CausalLM.generate`.

        Args:
            conversation: messages with "role" and "content".
            tokenize: ids, else text.
            add_generation_prompt: whether the turn of the assistant is opened; must be True.
            return_tensors: as in `__call__`.
            return_dict: a `BatchEncoding` instead of its ids.
            **options: what `Model.render` takes besides.

        Raises:
            QwenUnsupportedError: `add_generation_prompt` is False, or a template of your own.
        """
        if not add_generation_prompt or options.pop("chat_template", None) is not None:
            raise QwenUnsupportedError(
                "prompts are rendered by the model's own format and for an answer; "
                "pass add_generation_prompt=True and no chat_template"
            )
        ids, text = self.model.render(conversation, **options)
        if not tokenize:
            return text
        rows: Any = ids if return_tensors is None else tensor([ids], return_tensors)
        return BatchEncoding(input_ids=rows) if return_dict else rows

    def __repr__(self) -> str:
        """The path, for people."""
        return f"Tokenizer({self._path!r})"


class AutoTokenizer:
    """Opens tokenizers."""

    @classmethod
    def from_pretrained(
        cls,
        path: Union[str, "os.PathLike[str]"],
        *,
        revision: Optional[str] = None,
        cache_dir: Any = None,
        local_files_only: Any = None,
        gguf_file: Optional[str] = None,
        trust_remote_code: bool = False,
        use_fast: bool = True,
        padding_side: str = "left",
        pad_token: Optional[str] = None,
        **keywords: Any,
    ) -> Tokenizer:
        """Opens the tokenizer of a model, without its weights.

        Args:
            path: as in `AutoModelForCausalLM.from_pretrained`.
            revision: branch, tag or commit of a name.
            cache_dir: where to look, and where downloads go, instead of the usual caches.
            local_files_only: never ask a hub.
            gguf_file: as there; its vocabulary comes with its weights.
            trust_remote_code: accepted and without effect: no code of a folder is ever run.
            use_fast: accepted and without effect.
            padding_side: "left" or "right".
            pad_token: the text of the padding token; default ``<|endoftext|>``.
            **keywords: more of transformers' arguments are refused by name.

        Raises:
            QwenIOError: no such model.
            QwenOptionError: an unknown argument, or `pad_token` is no token.
        """
        if keywords:
            name = next(iter(keywords))
            raise QwenOptionError(
                f"{name}: not an argument of this tokenizer", details={"key": name}
            )
        folder = folders.resolve(
            path,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            weights=False,
            gguf_file=gguf_file,
        )
        tokenizer = Tokenizer(Model(folder, load="vocabulary"), padding_side=padding_side)
        if pad_token is not None:
            found = tokenizer.model.token_id(pad_token)
            if found is None:
                details = {"key": "pad_token"}
                raise QwenOptionError(f"pad_token: {pad_token!r} is no token", details=details)
            tokenizer.pad_token_id = found
        return tokenizer


def tensor(rows: List[List[int]], kind: str) -> Any:
    """Rows of equal length as "np", "pt", or, without PyTorch, as `Rows`."""
    if kind == "np":
        import numpy

        return numpy.array(rows, dtype=numpy.int64)
    if kind != "pt":
        details = {"key": "return_tensors"}
        raise QwenOptionError(f'return_tensors is {kind!r}, expected "pt" or "np"', details=details)
    try:
        import torch
    except ImportError:
        return Rows(rows)
    return torch.tensor(rows, dtype=torch.int64)


def _collection(special: Union[str, Collection[str]]) -> Specials:
    """What Qwen's tokenizer calls an empty set is "none" here."""
    return special if isinstance(special, str) else (sorted(special) or "none")
