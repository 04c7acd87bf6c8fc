"""Asking several at once: all, the first, or so many; the rest is cancelled."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from meseta.sdk.failures import CallError, FanOutError
from meseta.sdk.scopes import Entered, current, within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal

    from meseta.sdk.answers import Answer, Message

MOST = 256
"""That may be asked at once."""


class Caller(Protocol):
    """What asks one and returns its answer."""

    async def __call__(
        self,
        to: str,
        messages: str | Sequence[Message],
        *,
        seconds: float | None = None,
        **parameters: Any,
    ) -> Answer:
        """Ask `to`; raise CallError when it does not answer."""


@dataclass(frozen=True)
class Ask:
    """One of several calls, with messages or parameters of its own."""

    to: str
    messages: str | Sequence[Message] | None = None
    """None for the messages that all are asked with."""
    parameters: Mapping[str, Any] = field(default_factory=dict)


async def fan_out_by(
    call: Caller,
    to: Sequence[str | Ask],
    messages: str | Sequence[Message],
    *,
    wait: Literal["all", "first"] | int,
    seconds: float | None,
) -> list[Answer]:
    """Ask all of `to` with `call`; `meseta.sdk.aio.Client.fan_out` says the rest."""
    asks = [Ask(one) if isinstance(one, str) else one for one in to]
    needed = _needed(len(asks), wait)
    scope = current() if seconds is None else within(current(), seconds)
    with Entered(scope):
        tasks = [
            asyncio.create_task(
                call(ask.to, messages if ask.messages is None else ask.messages, **ask.parameters)
            )
            for ask in asks
        ]
    try:
        await _enough(tasks, needed)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    answers = [task.result() for task in tasks if _answered(task)][:needed]
    if len(answers) == needed:
        return answers
    errors = [error for task in tasks if (error := _error(task)) is not None]
    for error in errors:
        if not isinstance(error, CallError):
            raise error
    failures = [error for error in errors if isinstance(error, CallError)]
    told = "; ".join(f"{error.to}: {error}" for error in failures[:3])
    raise FanOutError(
        f"{needed} of {len(asks)} had to answer, and {len(failures)} have failed. {told}", failures
    )


def _needed(count: int, wait: Literal["all", "first"] | int) -> int:
    if not 0 < count <= MOST:
        raise ValueError(f"1 to {MOST} can be asked at once, not {count}.")
    needed = {"all": count, "first": 1}.get(wait) if isinstance(wait, str) else wait
    if needed is None or not 0 < needed <= count:
        raise ValueError(
            f"wait is 'all', 'first', or a number from 1 to the {count} that are asked: {wait!r}."
        )
    return needed


async def _enough(tasks: list[asyncio.Task[Answer]], needed: int) -> None:
    """Return when so many have answered, or so many have failed that they never will."""
    pending = set(tasks)
    while pending:
        await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        pending = {task for task in tasks if not task.done()}
        answered = sum(_answered(task) for task in tasks)
        if answered >= needed or answered + len(pending) < needed:
            return


def _answered(task: asyncio.Task[Answer]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _error(task: asyncio.Task[Answer]) -> BaseException | None:
    return None if task.cancelled() else task.exception()
