"""Asking one after another, each with the answers before it in the conversation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from meseta.sdk.answers import Message, messages_of
from meseta.sdk.scopes import Entered, current, within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meseta.sdk.answers import Answer
    from meseta.sdk.parallel import Caller

_NOT_OF_A_NAME = re.compile(r"[^A-Za-z0-9_-]+", re.ASCII)
_NAME_CHARACTERS = 64


async def chain_by(
    call: Caller, to: Sequence[str], messages: str | Sequence[Message], *, seconds: float | None
) -> list[Answer]:
    """Ask all of `to` in turn with `call`; `meseta.sdk.aio.Client.chain` says the rest."""
    if isinstance(to, str) or not to:
        raise ValueError("A chain is a list of at least one to ask.")
    thread = messages_of(messages)
    answers: list[Answer] = []
    with Entered(current() if seconds is None else within(current(), seconds)):
        for one in to:
            answer = await call(one, thread)
            answers.append(answer)
            thread.append(said_by(one, answer.text))
    return answers


def said_by(to: str, text: str) -> Message:
    """Return what `to` said as a message of the assistant with its name, as the plane's own chain has it."""
    name = _NOT_OF_A_NAME.sub("_", to.removeprefix("agent/"))[:_NAME_CHARACTERS]
    return {"role": "assistant", "name": name or "agent", "content": text}
