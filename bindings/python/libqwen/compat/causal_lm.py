"""`AutoModelForCausalLM`: a model with the calls of Qwen's own class and of transformers."""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from ..errors import QwenArgumentError, QwenUnsupportedError
from ..model import Model
from ..results import Result
from ..session import History, check_history
from ..stream import Stream
from . import folders
from .configs import AutoConfig, GenerationConfig
from .quantization import weight_options
from .settings import changed, run_options
from .tokenizer import Ids, Rows

#: What `chat` returns: the answer, and the (question, answer) pairs including this turn.
Turn = Tuple[str, List[Tuple[str, str]]]

_END_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


class CausalLM:
    """A model; made by `AutoModelForCausalLM.from_pretrained`. Any thread.

    Attributes:
        model: the `libqwen.Model` behind it, which can do more.
        config: config.json.
        generation_config: the settings of all runs; change it or assign another.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.config = AutoConfig.from_pretrained(model.path)
        self._own = folders.read_json(model.path, "generation_config.json") or {}
        self.generation_config = GenerationConfig(**self._own)

    # ---- Chat --------------------------------------------------------------------------------

    def chat(
        self,
        tokenizer: Any,
        query: str,
        history: Optional[History] = None,
        system: Optional[str] = None,
        append_history: bool = True,
        stream: bool = False,
        stop_words_ids: Optional[Sequence[Sequence[int]]] = None,
        generation_config: Optional[GenerationConfig] = None,
        **settings: Any,
    ) -> Any:
        """Answers a question.

        Args:
            tokenizer: accepted and not needed; None will do.
            query: the question. Control tokens in it are ordinary text.
            history: the earlier (question, answer) pairs; the list is not changed.
            system: the system text; None is the model's own.
            append_history: False returns the history without this turn.
            stream: return `chat_stream` instead, as the first release could.
            stop_words_ids: more ends of the answer, each as token ids; a text of several tokens stays
                at the end of the answer, as it did in Qwen's own code.
            generation_config: settings instead of those of the model.
            **settings: single settings: ``top_p, temperature, max_new_tokens, seed, ...``.

        Returns:
            The answer, and the history with this turn.

        Raises:
            QwenError: as `libqwen.Session.chat`.
        """
        pairs = check_history(history or [])
        extra = {**settings, "stop_words_ids": stop_words_ids}
        options = self._options(generation_config, extra)
        if stream:
            return self._growing(query, pairs, system, options)
        result = self.model.chat(query, history=pairs, system=system, **options)
        answer = _answer(result, bool(stop_words_ids))
        turn: Turn = (answer, [*pairs, (query, answer)] if append_history else pairs)
        return turn

    def chat_stream(
        self,
        tokenizer: Any,
        query: str,
        history: Optional[History] = None,
        system: Optional[str] = None,
        stop_words_ids: Optional[Sequence[Sequence[int]]] = None,
        generation_config: Optional[GenerationConfig] = None,
        **settings: Any,
    ) -> Iterator[str]:
        """Answers a question piece by piece; arguments and errors as `chat`.

        Yields:
            The whole answer so far, longer each time. Closing the iterator cancels the run.
        """
        extra = {**settings, "stop_words_ids": stop_words_ids}
        options = self._options(generation_config, extra)
        return self._growing(query, check_history(history or []), system, options)

    def _growing(
        self,
        query: str,
        history: History,
        system: Optional[str],
        options: Mapping[str, Any],
    ) -> Iterator[str]:
        """The answer so far, after each piece."""
        pieces: Stream = self.model.stream_chat(query, history=history, system=system, **options)
        with pieces:
            text = ""
            for piece in pieces:
                text += piece
                yield text

    # ---- Generate ----------------------------------------------------------------------------

    def generate(
        self,
        inputs: Any = None,
        generation_config: Optional[GenerationConfig] = None,
        *,
        input_ids: Any = None,
        attention_mask: Any = None,
        **settings: Any,
    ) -> Any:
        """Continues ids.

        Args:
            inputs: the ids of a prompt, or rows of them; a list, a tensor, an array.
            generation_config: settings instead of those of the model.
            input_ids: another name of `inputs`, so that ``generate(**tokenizer(text))`` works.
            attention_mask: 0 where a row is padding.
            **settings: single settings: ``max_new_tokens, do_sample, top_p, seed, ...``.

        Returns:
            Prompt and continuation in one, in the kind and shape of `inputs`: ids for ids, rows for
            rows. The end token is included. In a tensor, shorter rows are filled at their end with the
            padding id.

        Raises:
            QwenError: as `libqwen.Session.generate`.
        """
        given = input_ids if inputs is None else inputs
        if given is None:
            raise QwenArgumentError("generate wants ids: generate(input_ids, max_new_tokens=64)")
        rows, single = _rows(given)
        masks = _rows(attention_mask)[0] if attention_mask is not None else None
        made = []
        for index, row in enumerate(rows):
            prompt = row
            if masks is not None:
                prompt = [token for token, kept in zip(row, masks[index]) if kept]
            options = self._options(generation_config, settings, prompt_tokens=len(prompt))
            result = self.model.generate(prompt, **options)
            made.append([*row, *result.ids, *self._end(result)])
        if single and not hasattr(given, "tolist"):
            return made[0]
        return self._like(given, made, single)

    def _like(self, given: Any, rows: List[List[int]], single: bool) -> Any:
        """Rows in the kind of `given`."""
        if not hasattr(given, "tolist") or isinstance(given, Rows):
            return Rows(rows) if isinstance(given, Rows) else rows
        width = max(map(len, rows))
        pad = self.generation_config.to_dict().get("pad_token_id")
        pad = self.model.token_id("<|endoftext|>") if pad is None else pad
        even = [row + [pad or 0] * (width - len(row)) for row in rows]
        shaped: Any = even[0] if single else even
        if hasattr(given, "new_tensor"):
            return given.new_tensor(shaped)
        import numpy

        return numpy.array(shaped, dtype=given.dtype)

    def _end(self, result: Result) -> List[int]:
        """The token that ended the run, which transformers returns and libqwen does not."""
        match = result.stop_match
        if isinstance(match, bool) or not isinstance(match, int):
            return []
        return [] if result.ids[-1:] == [match] else [match]

    def _options(
        self,
        config: Optional[GenerationConfig],
        settings: Mapping[str, Any],
        prompt_tokens: int = 0,
    ) -> Dict[str, Any]:
        """Options of a run: what differs from the model's own settings."""
        base = self.generation_config if config is None else config
        return run_options(
            {**changed(base.to_dict(), self._own), **settings},
            prompt_tokens=prompt_tokens,
            end_ids=self._end_ids(),
            decode=lambda ids: self.model.detokenize(list(ids)),
        )

    def _end_ids(self) -> List[int]:
        """The tokens that end an answer of this model anyway."""
        stated = self._own.get("eos_token_id")
        ids = list(stated) if isinstance(stated, list) else [stated]
        ids += [self.model.token_id(text) for text in _END_TOKENS]
        return [token for token in ids if isinstance(token, int)]

    # ---- What examples call besides ----------------------------------------------------------

    @property
    def device(self) -> str:
        """Always "cpu"."""
        return "cpu"

    def eval(self) -> "CausalLM":
        """The model: there is nothing to switch."""
        return self

    def cpu(self) -> "CausalLM":
        """The model: it is there already."""
        return self

    def float(self) -> "CausalLM":
        """The model: weights stay in their format, sums are float32 anyway."""
        return self

    half = bfloat16 = float

    def to(self, *arguments: Any, **keywords: Any) -> "CausalLM":
        """The model, if the CPU is meant.

        Raises:
            QwenUnsupportedError: another device.
        """
        for value in (*arguments, keywords.get("device")):
            _check_device(value)
        return self

    def cuda(self, device: Any = None) -> "CausalLM":
        """There is no GPU here.

        Raises:
            QwenUnsupportedError: always.
        """
        raise _no_device("cuda")

    def close(self) -> None:
        """Drops the model; see `libqwen.Model.close`."""
        self.model.close()

    def __enter__(self) -> "CausalLM":
        """The model itself."""
        return self

    def __exit__(self, *details: Any) -> None:
        """Closes."""
        self.close()

    def __repr__(self) -> str:
        """The path, for people."""
        return f"CausalLM({self.model.path!r})"


class AutoModelForCausalLM:
    """Opens models."""

    @classmethod
    def from_pretrained(
        cls,
        path: Union[str, "os.PathLike[str]"],
        *,
        revision: Optional[str] = None,
        cache_dir: Any = None,
        device_map: Any = None,
        quantization_config: Any = None,
        load_in_8bit: bool = False,
        load_in_4bit: bool = False,
        trust_remote_code: bool = False,
        torch_dtype: Any = None,
        dtype: Any = None,
        bf16: bool = False,
        fp16: bool = False,
        fp32: bool = False,
        use_flash_attn: Any = None,
        attn_implementation: Any = None,
        low_cpu_mem_usage: Any = None,
        resume_download: Any = None,
        local_files_only: Any = None,
        gguf_file: Optional[str] = None,
        **options: Any,
    ) -> CausalLM:
        """Opens a model.

        Args:
            path: a folder or a .gguf file; or a name as "Qwen/Qwen-7B-Chat", taken from the cache of
                Hugging Face or ModelScope, else fetched by `huggingface_hub` or `modelscope` if one of
                them is installed.
            revision: branch, tag or commit of a name.
            cache_dir: where to look, and where downloads go, instead of the usual caches.
            device_map: None, "auto" or "cpu".
            quantization_config: a `BitsAndBytesConfig`, or an object or mapping with its members.
            load_in_8bit: converts the matrices of the layers to int8 while loading.
            load_in_4bit: converts them to nf4. Other formats: ``weights="q4_0"`` and so on.
            trust_remote_code: accepted and without effect: no code of a folder is ever run.
            torch_dtype: accepted and without effect: computing is in float, weights are as stored.
            dtype: see `torch_dtype`.
            bf16: holds the weights of a float folder in bfloat16.
            fp16: holds them in half precision.
            fp32: holds them in float.
            use_flash_attn: accepted and without effect.
            attn_implementation: accepted and without effect.
            low_cpu_mem_usage: accepted and without effect.
            resume_download: accepted and without effect.
            local_files_only: never ask a hub.
            gguf_file: the GGUF file to take of a folder or repository; the other parts of a model in
                parts come with it.
            **options: those of `libqwen.Model`: ``threads, load, compute, ...``.

        Raises:
            QwenUnsupportedError: another device, or another kind of quantisation.
            QwenError: as `libqwen.Model`.
        """
        devices = device_map.values() if isinstance(device_map, dict) else [device_map]
        for device in devices:
            if device != "auto":
                _check_device(device)
        folder = folders.resolve(
            path,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            gguf_file=gguf_file,
        )
        wished = weight_options(
            folder,
            quantization_config,
            load_in_8bit=load_in_8bit,
            load_in_4bit=load_in_4bit,
            flags={"bf16": bf16, "f16": fp16, "f32": fp32},
        )
        options = {**wished, **options}
        return CausalLM(Model(folder, **options))


def _check_device(device: Any) -> None:
    """Refuses what names a device other than the CPU; a dtype names none."""
    name = str(getattr(device, "type", device))
    if name.partition(":")[0] in ("cuda", "mps", "xpu", "npu", "musa", "hpu") or name.isdigit():
        raise _no_device(name)


def _no_device(name: str) -> QwenUnsupportedError:
    details = {"key": "device_map"}
    return QwenUnsupportedError(
        f'libqwen runs on the CPU, not on {name}; leave it out, or say "cpu"', details=details
    )


def _answer(result: Result, keep_stop: bool) -> str:
    """The answer as Qwen's own code gives it: without blanks around, with a stop word at its end."""
    text = result.text
    if keep_stop and isinstance(result.stop_match, str) and not text.endswith(result.stop_match):
        text += result.stop_match
    return text.strip()


def _rows(ids: Ids) -> Tuple[List[List[int]], bool]:
    """Ids as rows, and whether it was one row without a second dimension."""
    values = ids.tolist() if hasattr(ids, "tolist") else list(ids)
    if not values:
        raise QwenArgumentError("there are no ids to continue")
    if isinstance(values[0], int):
        return [values], True
    return [list(row) for row in values], False
