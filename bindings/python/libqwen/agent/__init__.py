"""Agents: a model that uses tools until it has an answer, and a sandbox for the code it writes.

from libqwen.agent import Agent, CodeInterpreter, tool

@tool
def weather(city: str) -> str:
    \"\"\"The weather in a city today.\"\"\"
    return "sunny"

agent = Agent(model, [weather, CodeInterpreter().tool()])
print(agent.run("What is the weather in Paris?"))
"""

from __future__ import annotations

from . import react
from .interpreter import CodeInterpreter
from .loop import Agent, AgentLimits, Step, Trace
from .sandbox import Limits, Outcome, Sandbox, SandboxError
from .tools import Tool, ToolError, tool

__all__ = [
    "Agent",
    "AgentLimits",
    "CodeInterpreter",
    "Limits",
    "Outcome",
    "Sandbox",
    "SandboxError",
    "Step",
    "Tool",
    "ToolError",
    "Trace",
    "react",
    "tool",
]
