"""Writes Tests/Fixtures/sampling.json: what transformers' logits processors leave of random logits.

    python Tests/Tools/sampling_cases.py > Tests/Fixtures/sampling.json

Made with torch 2.13.0 and transformers 5.24.0, in float64 so that no case hangs on a rounding. Logits are not
stored: case i draws them from xoshiro256++ seeded with i, as `logits` says; the tests draw the same.
"""

import json
import random

import torch
from transformers.generation import logits_process as lp

CASES, VOCABULARY, MASK = 2000, 40, (1 << 64) - 1


def uniforms(seed: int):
    """xoshiro256++ filled by splitmix64; numbers in [0, 1) from the upper 53 bits."""
    state = []
    for _ in range(4):
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        state.append(z ^ (z >> 31))

    def rotl(x: int, k: int) -> int:
        return ((x << k) | (x >> (64 - k))) & MASK

    while True:
        result = (rotl((state[0] + state[3]) & MASK, 23) + state[0]) & MASK
        shifted = (state[1] << 17) & MASK
        state[2] ^= state[0]
        state[3] ^= state[1]
        state[1] ^= state[2]
        state[0] ^= state[3]
        state[2] ^= shifted
        state[3] = rotl(state[3], 45)
        yield (result >> 11) * 2.0**-53


def logits(seed: int, spread: int, grain: int) -> list[float]:
    """Sums of four uniforms, times `spread`, in steps of 1 / `grain`: exact in every arithmetic."""
    source = uniforms(seed)
    return [
        int(sum(int(next(source) * 65536) for _ in range(4)) * spread * grain / 65536) / grain
        for _ in range(VOCABULARY)
    ]


def case(index: int) -> dict:
    choose = random.Random(index)
    options: dict = {"do_sample": True}
    coarse = choose.random() < 0.2

    def maybe(chance: float, name: str, value) -> None:
        if choose.random() < chance:
            options[name] = value

    maybe(0.7, "temperature", round(choose.uniform(0.2, 2.5), 2))
    maybe(0.5, "top_k", choose.randint(1, VOCABULARY))
    if not coarse:  # which of equals a cumulative filter keeps is nobody's rule
        maybe(0.5, "top_p", round(choose.uniform(0.05, 0.99), 3))
        maybe(0.3, "typical_p", round(choose.uniform(0.1, 0.95), 3))
    maybe(0.3, "min_p", round(choose.uniform(0.001, 0.6), 4))
    maybe(0.2, "epsilon_cutoff", round(choose.uniform(0.0001, 0.2), 5))
    maybe(0.2, "eta_cutoff", round(choose.uniform(0.0001, 0.3), 5))
    maybe(0.4, "repetition_penalty", round(choose.uniform(0.7, 1.8), 2))
    maybe(0.3, "no_repeat_ngram_size", choose.randint(1, 4))
    maybe(0.2, "logit_bias", {str(choose.randrange(VOCABULARY)): round(choose.uniform(-4, 4), 2) for _ in range(3)})
    few = choose.randint(2, VOCABULARY)
    prompt = [choose.randrange(few) for _ in range(choose.randint(1, 12))]
    answer = [choose.randrange(few) for _ in range(choose.randint(0, 12))]
    spread, grain = choose.choice([1, 2, 4, 8]), 4 if coarse else 4096

    values = logits(index, spread, grain)
    if not coarse and len(set(values)) < VOCABULARY:
        return case(index + CASES)
    ids = torch.tensor([prompt + answer])
    scores = torch.tensor([values], dtype=torch.float64)
    chain = []
    if "logit_bias" in options:
        chain.append(lp.SequenceBiasLogitsProcessor({(int(k),): v for k, v in options["logit_bias"].items()}))
    if "repetition_penalty" in options:
        chain.append(lp.RepetitionPenaltyLogitsProcessor(options["repetition_penalty"]))
    if "no_repeat_ngram_size" in options:
        chain.append(lp.NoRepeatNGramLogitsProcessor(options["no_repeat_ngram_size"]))
    for name, make in (
        ("temperature", lp.TemperatureLogitsWarper),
        ("top_k", lp.TopKLogitsWarper),
        ("top_p", lp.TopPLogitsWarper),
        ("min_p", lp.MinPLogitsWarper),
        ("typical_p", lp.TypicalLogitsWarper),
        ("epsilon_cutoff", lp.EpsilonLogitsWarper),
        ("eta_cutoff", lp.EtaLogitsWarper),
    ):
        if name in options:
            chain.append(make(options[name]))
    for processor in chain:
        scores = processor(ids, scores)
    kept = [(int(i), float(p)) for i, p in enumerate(torch.softmax(scores[0], -1)) if scores[0, i] > -float("inf")]
    if any(s != s for s in scores[0].tolist()) or not kept:
        return case(index + CASES)  # everything was banned: nothing to compare
    return {
        "seed": index, "spread": spread, "grain": grain, "options": options, "prompt": prompt, "answer": answer,
        "ids": [i for i, _ in kept], "probabilities": [float(f"{p:.6g}") for _, p in kept],
    }


if __name__ == "__main__":
    print("[")
    print(",\n".join(json.dumps(case(i), separators=(",", ":")) for i in range(CASES)))
    print("]")
