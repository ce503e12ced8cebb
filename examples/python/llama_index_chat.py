"""LlamaIndex on a model in this process.

python examples/python/llama_index_chat.py MODEL
"""

import sys

from llama_index.core.llms import ChatMessage

from libqwen.integrations.llama_index import LibQwenLLM

llm = LibQwenLLM(sys.argv[1], do_sample=False, max_new_tokens=32)
print(llm.complete("The capital of France is"))
for piece in llm.stream_chat([ChatMessage(role="user", content="What is gravity?")]):
    print(piece.delta, end="", flush=True)
print()
