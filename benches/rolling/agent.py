"""An agent that proves what it was told: it counts the user's turns and names those who spoke before it."""

import asyncio
import os

import meseta

NAME = os.environ["MESETA_AGENT"]
PAUSE = 0.05
"""Seconds that an answer takes, so that there is always one under way when an instance is replaced."""


@meseta.agent
async def count(messages: list[dict[str, object]]) -> str:
    """Answer with the agent's name, the number of the turn and whoever has spoken in it."""
    await asyncio.sleep(PAUSE)
    turns = [number for number, message in enumerate(messages) if message["role"] == "user"]
    # What others said in this turn stands before the user's last words.
    before = []
    for message in reversed(messages[: turns[-1]]):
        if message["role"] != "assistant" or f"turn {len(turns)} " not in str(message["content"]):
            break
        before.append(str(message["content"]).split(":")[0])
    return f"{NAME}: turn {len(turns)} after {','.join(reversed(before)) or 'nobody'}"


if __name__ == "__main__":
    meseta.serve(count)
