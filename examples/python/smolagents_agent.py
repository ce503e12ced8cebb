"""An agent of smolagents, which came after the Hugging Face Agent.

python examples/python/smolagents_agent.py MODEL
"""

import sys

from smolagents import CodeAgent

from libqwen.integrations.smolagents import LibQwenModel

model = LibQwenModel(sys.argv[1], do_sample=False, max_new_tokens=64)
agent = CodeAgent(tools=[], model=model, max_steps=1, verbosity_level=0)
print(agent.run("What is 6 times 7?"))
