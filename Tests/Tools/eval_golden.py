"""Goldens of the evaluations: the same protocols by PyTorch, on the real small model in float32.

    python Tests/Tools/eval_golden.py                 # writes Tests/Fixtures/eval/golden.json

Prompts are built here a second time, from the description of the protocols, not with libqwen. The data is that of
Tests/Fixtures/eval: a few items in the files' published form, made by hand. The last part is lm-eval's own class for
transformers on the tasks of Tests/Fixtures/eval/harness.
"""

from __future__ import annotations

import csv
import importlib.metadata
import json
import os
import tempfile
from pathlib import Path
from typing import Any, Dict, List

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from smollm2 import MODEL, ROOT, SmolLM2, express, fetch, write_json

DATA = ROOT / "Tests" / "Fixtures" / "eval"
NEW_TOKENS = 32
LETTERS = "ABCD"


class Reference:
    """The network and what the protocols ask of it."""

    def __init__(self, folder: Path, model: SmolLM2) -> None:
        self.network = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        self.tokenizer = model.tokenizer()
        self.dressed = PreTrainedTokenizerFast(
            tokenizer_object=self.tokenizer, chat_template=model.template
        )

    def letters(self, prompt: str, names: List[str]) -> List[float]:
        """Logits of the letters after a prompt."""
        ids = [self.tokenizer.encode(name).ids for name in names]
        assert all(len(one) == 1 for one in ids)
        tokens = self.tokenizer.encode(prompt).ids
        logits = self.network(torch.tensor([tokens])).logits[0, -1]
        return [round(float(logits[one[0]]), 5) for one in ids]

    def continued(self, ids: List[int], cuts: List[str]) -> Dict[str, Any]:
        """Greedy tokens, the text before the first cut, and the smallest lead of a choice."""
        made: List[int] = []
        lead = float("inf")
        output = self.network(torch.tensor([ids]), use_cache=True)
        for _ in range(NEW_TOKENS):
            best = torch.topk(output.logits[0, -1], 2)
            lead = min(lead, float(best.values[0] - best.values[1]))
            token = int(best.indices[0])
            if token in (0, 2):
                break
            made.append(token)
            text = self.tokenizer.decode(made, skip_special_tokens=False)
            if any(cut in text for cut in cuts):
                break
            output = self.network(torch.tensor([[token]]), cache=output.cache, use_cache=True)
        text = self.tokenizer.decode(made, skip_special_tokens=False)
        for cut in cuts:
            text = text.split(cut)[0]
        return {"text": text, "lead": round(lead, 4)}

    def completion(self, prompt: str, cuts: List[str]) -> Dict[str, Any]:
        return self.continued(self.tokenizer.encode(prompt).ids, cuts)

    def answer(self, question: str) -> Dict[str, Any]:
        text = self.dressed.apply_chat_template(
            [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
        )
        run = self.continued(self.tokenizer.encode(text).ids, [])
        return {**run, "text": run["text"].strip()}


def table(path: str, header: List[str] | None) -> List[Dict[str, str]]:
    with open(DATA / path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    names = header or rows.pop(0)
    return [dict(zip(names, row, strict=True)) for row in rows]


def objects(path: str) -> List[Dict[str, Any]]:
    return [json.loads(line) for line in (DATA / path).read_text(encoding="utf-8").splitlines()]


def choices(reference: Reference) -> Dict[str, Any]:
    """Logits of A to D for each item of the three benchmarks."""
    found: Dict[str, Any] = {"mmlu": {}, "ceval": {}, "cmmlu": {}}
    head = ["question", "A", "B", "C", "D", "answer"]
    for subject in ("high_school_geography", "philosophy", "astronomy"):
        text = "The following are multiple choice questions (with answers) about "
        text += subject.replace("_", " ") + ".\n\n"
        for shot in table(f"mmlu/dev/{subject}_dev.csv", head):
            text += "Question: {question}\nA. {A}\nB. {B}\nC. {C}\nD. {D}\nAnswer: {answer}\n\n".format(**shot)
        found["mmlu"][subject] = [
            reference.letters(
                text + "Question: {question}\nA. {A}\nB. {B}\nC. {C}\nD. {D}\nAnswer:".format(**item),
                [f" {letter}" for letter in LETTERS],
            )
            for item in table(f"mmlu/test/{subject}_test.csv", head)
        ]
    asked = "问题：{%s}\nA. {A}\nB. {B}\nC. {C}\nD. {D}\n答案："
    for task, subjects, dev, test, names in (
        ("ceval", ("high_school_physics", "logic"), "{}_dev", "val/{}_val", ("question", "answer")),
        ("cmmlu", ("agronomy", "chinese_history"), "{}", "test/{}", ("Question", "Answer")),
    ):
        for subject in subjects:
            text = ""
            for shot in table(f"{task}/dev/{dev.format(subject)}.csv", None):
                text += (asked % names[0]).format(**shot) + shot[names[1]] + "\n\n"
            found[task][subject] = [
                reference.letters(text + (asked % names[0]).format(**item), list(LETTERS))
                for item in table(f"{task}/{test.format(subject)}.csv", None)
            ]
    return found


def texts(reference: Reference) -> Dict[str, Any]:
    """Greedy texts of the generating protocols, first items only."""
    problem = objects("gsm8k/test.jsonl")[0]["question"]
    examples = (DATA / "gsm8k/gsm8k_prompt.txt").read_text(encoding="utf-8")
    shorter = (DATA / "gsm8k/gsm8k_chat_prompt.txt").read_text(encoding="utf-8").strip("\n")
    task = objects("humaneval/HumanEval.jsonl")[0]
    step = "Let's think step by step"
    astronomy = table("mmlu/test/astronomy_test.csv", ["question", *LETTERS, "answer"])
    asked = "The following is a multiple-choice question. Please choose the most suitable one among A, B, C and D"
    asked += " as the answer to this question.\n\n{question}\nA. {A}\nB. {B}\nC. {C}\nD. {D}\n"
    plugin = objects("plugins/exam_plugin_v20231206_react_positive.jsonl")[0]
    wanted = "Write a Python function `add(a: int, b: int) -> int` to solve the following problem:\n"
    wanted += "Return the sum of a and b.\n>>> add(2, 3)\n5\n\n"
    return {
        "gsm8k": reference.completion(
            f"{examples}\nQuestion: {problem}\n{step}\n", ["<|endoftext|>", "\n\n\n", "\n\n", "Question:"]
        ),
        "humaneval": reference.completion(
            task["prompt"], ["<|endoftext|>", "\n\n\n", "\n\n", "def "]
        ),
        "gsm8k-chat": reference.answer(problem),
        "gsm8k-chat-4shot": reference.answer(f"{shorter}\n\nQuestion: {problem}\n{step}"),
        "humaneval-chat": reference.answer(wanted + task["prompt"]),
        "mmlu-chat": reference.answer(asked.format(**astronomy[0])),
        "plugins": reference.answer(plugin["prompt"]),
    }


def harness(folder: Path) -> Dict[str, Any]:
    """What lm-eval makes of the model through transformers."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    os.chdir(DATA / "harness")
    lm = HFLM(pretrained=str(folder), dtype="float32", device="cpu", batch_size=1)
    names = ["local_choice", "local_generate", "local_rolling"]
    manager = TaskManager(include_path=str(DATA / "harness"))
    results = lm_eval.simple_evaluate(model=lm, tasks=names, task_manager=manager)
    responses = {
        task: [sample["resps"] for sample in sorted(samples, key=lambda sample: sample["doc_id"])]
        for task, samples in results["samples"].items()
    }
    figures = {
        task: {name: value for name, value in values.items() if isinstance(value, float)}
        for task, values in results["results"].items()
    }
    return {"results": figures, "responses": responses, "prefix_token_id": lm.prefix_token_id}


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(2)
    model = SmolLM2.read(fetch(MODEL))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        express(model, "llama", folder, "float32")
        reference = Reference(folder, model)
        value = {
            "model": Path(MODEL.member).name,
            "new_tokens": NEW_TOKENS,
            "versions": {
                package: importlib.metadata.version(package)
                for package in ("torch", "transformers", "lm_eval")
            },
            "choices": choices(reference),
            "texts": texts(reference),
            "harness": harness(folder),
        }
    write_json(DATA / "golden.json", value)


if __name__ == "__main__":
    main()
