"""The interface that code written for the first Qwen release uses, with `libqwen` as the engine.

Change the import and keep the rest:

    from libqwen import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

Differences, all on purpose: no code from a model's folder is ever run; only the CPU is there; a chat
that continues the last one is not read again from its start; an option that can't be honoured is an
error, not a silence.
"""

from .causal_lm import AutoModelForCausalLM, CausalLM
from .configs import AutoConfig, Config, GenerationConfig
from .pipeline import ChatPipeline, Tasks, TextGenerationPipeline, pipeline
from .quantization import BitsAndBytesConfig
from .tokenizer import AutoTokenizer, BatchEncoding, Rows, Tokenizer

__all__ = [
    "AutoConfig",
    "AutoModelForCausalLM",
    "AutoTokenizer",
    "BatchEncoding",
    "BitsAndBytesConfig",
    "CausalLM",
    "ChatPipeline",
    "Config",
    "GenerationConfig",
    "Rows",
    "Tasks",
    "TextGenerationPipeline",
    "Tokenizer",
    "pipeline",
]
