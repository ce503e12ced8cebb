"""What the keyword arguments of transformers mean in the options of libqwen."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from ..errors import QwenOptionError, QwenUnsupportedError

#: Members of generation_config.json and arguments of `generate` that change nothing here.
NO_EFFECT = frozenset(
    """_from_model_config attention_mask bos_token_id cache_implementation chat_format decay_bound
    decay_factor factual_nucleus_sampling max_context_size max_generate_size max_window_size
    pad_token_id position_ids synced_gpus token_type_ids transformers_version trust_remote_code
    use_cache""".split()
)
#: Those that are honoured only at one value.
ONLY: Dict[str, Any] = {
    "num_beams": 1,
    "num_beam_groups": 1,
    "num_return_sequences": 1,
    "penalty_alpha": 0,
    "return_dict_in_generate": False,
    "output_scores": False,
    "typical_p": 1.0,
    "no_repeat_ngram_size": 0,
    "length_penalty": 1.0,
    "early_stopping": False,
    "diversity_penalty": 0.0,
    "encoder_repetition_penalty": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "guidance_scale": 1.0,
    "renormalize_logits": False,
    "remove_invalid_values": False,
}
#: Those that take objects of PyTorch or transformers.
OBJECTS = frozenset("logits_processor stopping_criteria streamer prefix_allowed_tokens_fn".split())

#: Text of ids, control tokens spelled out.
Decode = Callable[[Sequence[int]], str]


def changed(config: Optional[Mapping[str, Any]], own: Mapping[str, Any]) -> Dict[str, Any]:
    """The members of `config` that differ from the model's own file."""
    return {
        key: value for key, value in (config or {}).items() if key not in own or own[key] != value
    }


def run_options(
    settings: Mapping[str, Any], *, prompt_tokens: int, end_ids: Sequence[int], decode: Decode
) -> Dict[str, Any]:
    """Options of a run.

    Args:
        settings: arguments as transformers and Qwen's own code name them. What libqwen calls the same
            passes through; a name nobody knows does too, and the library refuses it by name.
        prompt_tokens: length of the prompt, for ``max_length``; 0 when it is not known.
        end_ids: the tokens that end an answer of this model anyway.
        decode: makes stop sequences of ids text.

    Raises:
        QwenOptionError: ``max_length`` without a known length.
        QwenUnsupportedError: beams, custom processors, and other things that this engine has not.
    """
    options: Dict[str, Any] = {}
    stop_ids: List[int] = []
    stop: List[str] = []
    for key, value in settings.items():
        if value is None:
            continue
        if key in OBJECTS:
            if value:
                raise _unsupported(key, "libqwen takes no Python objects into its sampling loop")
        elif key in ONLY:
            if value != ONLY[key]:
                raise _unsupported(key, f"only {ONLY[key]!r} is possible")
        elif key == "max_length":
            if not prompt_tokens:
                raise QwenOptionError(
                    "max_length counts the prompt too, which chat builds itself; "
                    "use max_new_tokens",
                    details={"key": key},
                )
            if settings.get("max_new_tokens") is None:
                options["max_new_tokens"] = max(int(value) - prompt_tokens, 0)
        elif key == "eos_token_id":
            stop_ids += [value] if isinstance(value, int) else list(value)
        elif key in ("stop_ids", "stop_token_ids"):
            stop_ids += list(value)
        elif key in ("stop", "stop_strings"):
            stop += [value] if isinstance(value, str) else list(value)
        elif key == "stop_words_ids":
            for sequence in value:
                if len(sequence) == 1:
                    stop_ids.append(int(sequence[0]))
                else:
                    stop.append(decode(sequence))
        elif key not in NO_EFFECT:
            options[key] = value
    if stop_ids:
        options["stop_ids"] = sorted({*stop_ids, *end_ids})
    if stop:
        options["stop"] = stop
    return options


def _unsupported(key: str, reason: str) -> QwenUnsupportedError:
    return QwenUnsupportedError(f"{key}: {reason}; leave it out", details={"key": key})
