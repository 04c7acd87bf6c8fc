"""Calls through the plane for synchronous code, with the names and meanings of `meseta.sdk.aio`.

What is here waits for what is written there, on an event loop of its own: the logic is there once. From
asynchronous code call `meseta.aio`, since these functions block the thread that they are called in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from meseta.sdk import aio, private_loop
from meseta.sdk.parallel import Ask
from meseta.sdk.supervision import Outcome, Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Literal

    from meseta.sdk.answers import Answer, Message
    from meseta.sdk.connection import Connection
    from meseta.sdk.supervision import Chooser

__all__ = ["Ask", "Client", "Outcome", "Step", "Stream", "call", "chain", "fan_out", "stream", "supervise"]


class Stream:
    """The text of an answer as it comes: `for text in stream`. Then `answer` is the whole of it.

    Closing it early (`close`, or leaving a `with`) cancels the call.
    """

    def __init__(self, stream: aio.Stream) -> None:
        self._stream = stream

    @property
    def answer(self) -> Answer:
        """What has come so far; the whole answer once the stream has ended."""
        return self._stream.answer

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        try:
            return private_loop.run(self._stream.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """End it; the call is cancelled if it has not ended."""
        private_loop.run(self._stream.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Client:
    """Calls over one set of kept connections; `with Client() as client`. Thread-safe.

    The functions of this module open one for each of their calls, which costs a connection each time.
    """

    def __init__(self, connection: Connection | None = None) -> None:
        self._client = aio.Client(connection)

    def call(
        self, to: str, messages: str | Sequence[Message], *, seconds: float | None = None, **parameters: Any
    ) -> Answer:
        """Ask `to` and return its whole answer."""
        return private_loop.run(self._client.call(to, messages, seconds=seconds, **parameters))

    def stream(
        self, to: str, messages: str | Sequence[Message], *, seconds: float | None = None, **parameters: Any
    ) -> Stream:
        """Ask `to` and return its answer as it comes. Nothing is sent before the first text is asked for."""

        async def begin() -> aio.Stream:
            return self._client.stream(to, messages, seconds=seconds, **parameters)

        return Stream(private_loop.run(begin()))

    def fan_out(
        self,
        to: Sequence[str | Ask],
        messages: str | Sequence[Message] = (),
        *,
        wait: Literal["all", "first"] | int = "all",
        seconds: float | None = None,
    ) -> list[Answer]:
        """Ask several at once and return the answers in the order asked, once `wait` of them are there.

        The others are cancelled. Raises FanOutError as soon as `wait` cannot be reached any more.
        """
        return private_loop.run(self._client.fan_out(to, messages, wait=wait, seconds=seconds))

    def chain(
        self, to: Sequence[str], messages: str | Sequence[Message], *, seconds: float | None = None
    ) -> list[Answer]:
        """Ask one after another; each sees the answers before it, named, before the user's last words."""
        return private_loop.run(self._client.chain(to, messages, seconds=seconds))

    def supervise(
        self,
        agents: Mapping[str, str],
        messages: str | Sequence[Message],
        *,
        by: str | Chooser,
        steps: int = 6,
        seconds: float | None = None,
        usd: float | None = None,
        final: str | None = None,
    ) -> Outcome:
        """Choose an agent, let it answer, and choose again until all is answered or the budget spent.

        `meseta.sdk.aio.Client.supervise` describes the arguments.
        """
        return private_loop.run(
            self._client.supervise(
                agents, messages, by=by, steps=steps, seconds=seconds, usd=usd, final=final
            )
        )

    def close(self) -> None:
        """Close the kept connections."""
        private_loop.run(self._client.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def call(
    to: str, messages: str | Sequence[Message], *, seconds: float | None = None, **parameters: Any
) -> Answer:
    """Ask `to` and return its whole answer."""
    return private_loop.run(aio.call(to, messages, seconds=seconds, **parameters))


def stream(
    to: str, messages: str | Sequence[Message], *, seconds: float | None = None, **parameters: Any
) -> Stream:
    """Ask `to` and return its answer as it comes. Nothing is sent before the first text is asked for."""

    async def begin() -> aio.Stream:
        return aio.stream(to, messages, seconds=seconds, **parameters)

    return Stream(private_loop.run(begin()))


def fan_out(
    to: Sequence[str | Ask],
    messages: str | Sequence[Message] = (),
    *,
    wait: Literal["all", "first"] | int = "all",
    seconds: float | None = None,
) -> list[Answer]:
    """Ask several at once and return the answers in the order asked, once `wait` of them are there.

    The others are cancelled. Raises FanOutError as soon as `wait` cannot be reached any more.
    """
    return private_loop.run(aio.fan_out(to, messages, wait=wait, seconds=seconds))


def chain(
    to: Sequence[str], messages: str | Sequence[Message], *, seconds: float | None = None
) -> list[Answer]:
    """Ask one after another; each sees the answers before it, named, before the user's last words."""
    return private_loop.run(aio.chain(to, messages, seconds=seconds))


def supervise(
    agents: Mapping[str, str],
    messages: str | Sequence[Message],
    *,
    by: str | Chooser,
    steps: int = 6,
    seconds: float | None = None,
    usd: float | None = None,
    final: str | None = None,
) -> Outcome:
    """Choose an agent, let it answer, and choose again until all is answered or the budget spent.

    `meseta.sdk.aio.Client.supervise` describes the arguments.
    """
    return private_loop.run(
        aio.supervise(agents, messages, by=by, steps=steps, seconds=seconds, usd=usd, final=final)
    )
