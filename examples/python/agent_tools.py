"""An agent with a tool of its own and a code interpreter.

python examples/python/agent_tools.py MODEL
"""

import sys

import libqwen
from libqwen.agent import Agent, AgentLimits, CodeInterpreter, tool


@tool
def weather(city: str) -> str:
    """The weather in a city today.

    Args:
        city: its name.
    """
    return f"It is sunny in {city}."


with libqwen.Model(sys.argv[1]) as model:
    agent = Agent(
        model,
        [weather, CodeInterpreter().tool()],
        limits=AgentLimits(rounds=3, seconds=120),
        max_new_tokens=64,
    )
    trace = agent.run("What is the weather in Paris?")
    print(trace)
    print(trace.ended_by, f"{trace.seconds:.1f} s", trace.usage)
