"""Code written for OpenAI's client, without a server.

python examples/python/openai_client.py MODEL
"""

import sys

from libqwen.integrations.openai import OpenAI

with OpenAI(model=sys.argv[1]) as client:
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    reply = client.chat.completions.create(messages=messages, temperature=0, max_tokens=32)
    print(reply.choices[0].message.content, reply.usage.total_tokens)

    messages.append(reply.choices[0].message)
    messages.append({"role": "user", "content": "And of Spain?"})
    options = {"max_tokens": 32, "temperature": 0}
    stream = client.chat.completions.create(messages=messages, stream=True, **options)
    for chunk in stream:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()
