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
    asked = messages_of(messages)
    answers: list[Answer] = []
    said: list[Message] = []
    with Entered(current() if seconds is None else within(current(), seconds)):
        for one in to:
            answer = await call(one, before_last_words(asked, said))
            answers.append(answer)
            said.append(said_by(one, answer.text))
    return answers


def before_last_words(messages: Sequence[Message], said: Sequence[Message]) -> list[Message]:
    """Return the conversation with what was `said` before the user's last message, as the plane has it.

    So it ends with the question, and nobody takes what another one said for the beginning of an answer.
    """
    users = [at for at, message in enumerate(messages) if message.get("role") == "user"]
    at = users[-1] if users else len(messages)
    return [*messages[:at], *said, *messages[at:]]


def said_by(to: str, text: str) -> Message:
    """Return what `to` said as a message of the assistant with its name."""
    name = _NOT_OF_A_NAME.sub("_", to.removeprefix("agent/"))[:_NAME_CHARACTERS]
    return {"role": "assistant", "name": name or "agent", "content": text}
