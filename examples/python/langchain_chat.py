"""LangChain on a model in this process.

python examples/python/langchain_chat.py MODEL
"""

import sys

from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool

from libqwen.integrations.langchain import ChatLibQwen

chat = ChatLibQwen(sys.argv[1], do_sample=False, max_new_tokens=48)
prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{question}")])
for piece in (prompt | chat).stream({"question": "Why is the sky blue?"}):
    print(piece.content, end="", flush=True)
print()


@tool
def weather(city: str) -> str:
    """The weather in a city today."""
    return f"It is sunny in {city}."


with_tools = chat.bind_tools([weather], tool_choice="weather")
for call in with_tools.invoke("What is the weather in Paris?").tool_calls:
    print(call["name"], call["args"])
