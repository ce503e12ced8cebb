"""Goldens of the real chat model: what transformers makes of it in float32.

    python Tests/Tools/smollm2_golden.py                 # writes Tests/Fixtures/smollm2.json
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Sequence

import tiktoken
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from smollm2 import MODEL, ROOT, SmolLM2, express, fetch, qwen_vocabulary, write_json
from vocabulary import QWEN_PIECES

FIXTURES = ROOT / "Tests" / "Fixtures"

# ---- golden --------------------------------------------------------------------------------------

SYSTEM = "You are a helpful assistant."
NEW_TOKENS = 48
WINDOW = 512
TEXTS = [
    "The capital of France is",
    "Gravity is the force that",
    "The sea was calm that morning, and",
    "The three primary colors are red,",
    "Once upon a time, in a small village by the river,",
    "The sky is blue because",
    "def fibonacci(n):\n",
    "Dear Sir or Madam,\n\nI am writing to",
    "There are 12 months in a year and 7 days in a",
    "My favourite season is autumn because",
]
QUESTIONS = [
    "What is the capital of France?",
    "What is gravity?",
    "Write a short poem about the sea.",
    "List three primary colors.",
    "Tell me a story about a village by the river.",
    "Explain why the sky is blue in one sentence.",
    "Write a Python function that computes Fibonacci numbers.",
    "Write a polite letter to a neighbour who is too loud.",
    "How many days are in a week?",
    "Which season do you like best, and why?",
]


def golden(model: SmolLM2) -> Dict[str, Any]:
    """What transformers makes of the model in float32."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        express(model, "llama", folder, "float32")
        network = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()
    tokenizer = model.tokenizer()
    ranks, _ = qwen_vocabulary(model)
    table = {token: rank for rank, token in enumerate(ranks)}
    qwen = tiktoken.Encoding(
        "smollm2", pat_str=QWEN_PIECES, mergeable_ranks=table, special_tokens={}
    )

    def same_in_qwen(texts: Sequence[str]) -> bool:
        """Whether the two vocabularies cut the texts alike."""
        return all(
            [token + model.controls for token in qwen.encode_ordinary(text)]
            == tokenizer.encode(text).ids
            for text in texts
        )

    dressed = PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=model.template)
    runs = []
    for prompt in TEXTS:
        run = continuation(network, tokenizer, tokenizer.encode(prompt).ids)
        runs.append({"prompt": prompt, "same_in_qwen": same_in_qwen([prompt]), **run})
        print(f"{prompt!r}: {run['text']!r}", flush=True)
    for question in QUESTIONS:
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
        text = dressed.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        run = continuation(network, tokenizer, tokenizer.encode(text).ids)
        same = same_in_qwen([question, SYSTEM, "system", "user", "assistant", "\n"])
        runs.append({"messages": messages, "same_in_qwen": same, **run})
        print(f"{question!r}: {run['text']!r}", flush=True)
    return {
        "model": Path(MODEL.member).name,
        "sha256": MODEL.sha256,
        "reference": "transformers LlamaForCausalLM on dequantised weights, float32",
        "facts": {
            "hidden_size": model.hidden,
            "layers": model.layers,
            "heads": model.heads,
            "kv_heads": model.kv_heads,
            "intermediate_size": model.mlp_width,
            "rope_theta": model.rope_theta,
            "rms_norm_epsilon": model.epsilon,
            "context": model.context,
            "vocab_size": len(model.tokens),
        },
        "new_tokens": NEW_TOKENS,
        "runs": runs,
        "perplexity": perplexity(network, tokenizer),
    }


def continuation(network: Any, tokenizer: Tokenizer, ids: List[int]) -> Dict[str, Any]:
    """The likeliest continuation, until an end token or the limit, and how clear each choice was.

    `leads` are the distances of the best logit to the second; a step with a small one may go
    another way in an engine that rounds differently, and from there on the texts differ. An end
    token is in neither `ids` nor `text`, but its step is the last of `leads`.
    """
    made: List[int] = []
    leads: List[float] = []
    output = network(torch.tensor([ids]), use_cache=True)
    first = torch.topk(output.logits[0, -1].log_softmax(-1), 5)
    reason = "length"
    while len(made) < NEW_TOKENS:
        best = torch.topk(output.logits[0, -1], 2)
        leads.append(round(float(best.values[0] - best.values[1]), 4))
        token = int(best.indices[0])
        if token in (0, 2):
            reason = "stop"
            break
        made.append(token)
        output = network(torch.tensor([[token]]), cache=output.cache, use_cache=True)
    return {
        "prompt_ids": ids,
        "first_logprobs": [
            [int(token), round(float(value), 5)]
            for token, value in zip(first.indices, first.values, strict=True)
        ],
        "ids": made,
        "text": tokenizer.decode(made, skip_special_tokens=False),
        "finish_reason": reason,
        "leads": leads,
    }


def perplexity(network: Any, tokenizer: Tokenizer) -> Dict[str, Any]:
    """Perplexity of the English text: windows without overlap, each a fresh context.

    The text becomes tokens as a whole, without control tokens. The first token of a window is not
    scored; a last, shorter window counts if it has two tokens.
    """
    text = (FIXTURES / "text" / "english.txt").read_text(encoding="utf-8")
    ids, windows = tokenizer.encode(text).ids, []
    for start in range(0, len(ids), WINDOW):
        window = torch.tensor(ids[start : start + WINDOW])
        if len(window) < 2:
            break
        scores = network(window[None], use_cache=False).logits[0, :-1].log_softmax(-1)
        losses = -scores.gather(1, window[1:, None]).to(torch.float64)
        windows.append({"scored": len(window) - 1, "loss": round(float(losses.sum()), 4)})
    scored = sum(window["scored"] for window in windows)
    loss = sum(window["loss"] for window in windows) / scored
    return {
        "text": "text/english.txt",
        "window": WINDOW,
        "tokens": len(ids),
        "scored": scored,
        "mean_loss": round(loss, 6),
        "perplexity": round(math.exp(loss), 5),
        "windows": windows,
    }


@torch.inference_mode()
def main() -> None:
    """Writes the goldens."""
    out = FIXTURES / "smollm2.json"
    write_json(out, golden(SmolLM2.read(fetch(MODEL))))
    print(out)


if __name__ == "__main__":
    main()
