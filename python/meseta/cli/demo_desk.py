"""The two agents of `meseta demo`, each a process of its own: `python -m meseta.cli.demo_desk NAME`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from meseta.sdk import Agent, aio, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MODEL = "sim/echo"
"""It repeats what it is told, so that the demo needs neither a key nor a network."""
FACTS = {
    "weather": "Oslo on Friday: clouds, 9 °C.",
    "flights": "Berlin to Oslo on Friday: at 07:30 and 17:40.",
}


def agent_of(name: str) -> Agent[..., AsyncIterator[str]]:
    """Return the agent that knows `FACTS[name]` and has a model word them, with what was said before it."""

    async def answer(messages: list[dict[str, Any]]) -> AsyncIterator[str]:
        said = [str(message.get("content")) for message in messages if message.get("role") == "assistant"]
        async for text in aio.stream(MODEL, " ".join([*said, FACTS[name]])):
            yield text

    return Agent(answer, name)


if __name__ == "__main__":
    serve(agent_of(sys.argv[1]))
