"""Calls through the plane for synchronous code, with the names and meanings of `meseta.sdk.aio`.

What is here waits for what is written there, on an event loop of its own: the logic is there once. From
asynchronous code call `meseta.aio`, since these functions block the thread that they are called in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from meseta.sdk import aio, private_loop
from meseta.sdk.derived import show_as_function, show_as_method
from meseta.sdk.parallel import Ask
from meseta.sdk.supervision import Outcome, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from types import TracebackType

    from meseta.sdk.answers import Answer, Message
    from meseta.sdk.connection import Connection

__all__ = ["Ask", "Client", "Outcome", "Step", "Stream", "call", "chain", "fan_out", "stream", "supervise"]

P = ParamSpec("P")
T = TypeVar("T")


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


def _waiting_method(
    method: Callable[Concatenate[aio.Client, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Client, P], T]:
    """Make a method that waits for what the asynchronous one brings."""

    def waiting(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return private_loop.run(method(self._client, *args, **kwargs))

    show_as_method(waiting, method)
    return waiting


class Client:
    """Calls over one set of kept connections; `with Client() as client`. Thread-safe.

    The functions of this module open one for each of their calls, which costs a connection each time.
    """

    def __init__(self, connection: Connection | None = None) -> None:
        self._client = aio.Client(connection)

    call = _waiting_method(aio.Client.call)
    fan_out = _waiting_method(aio.Client.fan_out)
    chain = _waiting_method(aio.Client.chain)
    supervise = _waiting_method(aio.Client.supervise)

    def stream(
        self,
        /,
        to: str,
        messages: str | Sequence[Message],
        *,
        seconds: float | None = None,
        **parameters: Any,
    ) -> Stream:
        """Ask `to` and return its answer as it comes. Nothing is sent before the first text is asked for."""
        return _begun(lambda: self._client.stream(to, messages, seconds=seconds, **parameters))

    def close(self) -> None:
        """Close the kept connections."""
        private_loop.run(self._client.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _waiting_function(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Make a function that waits for what the asynchronous one brings."""

    def waiting(*args: P.args, **kwargs: P.kwargs) -> T:
        return private_loop.run(function(*args, **kwargs))

    show_as_function(waiting, function)
    return waiting


call = _waiting_function(aio.call)
fan_out = _waiting_function(aio.fan_out)
chain = _waiting_function(aio.chain)
supervise = _waiting_function(aio.supervise)


def stream(
    to: str, messages: str | Sequence[Message], *, seconds: float | None = None, **parameters: Any
) -> Stream:
    """Ask `to` and return its answer as it comes. Nothing is sent before the first text is asked for."""
    return _begun(lambda: aio.stream(to, messages, seconds=seconds, **parameters))


def _begun(begin: Callable[[], aio.Stream]) -> Stream:
    async def on_the_loop() -> aio.Stream:
        return begin()

    return Stream(private_loop.run(on_the_loop()))
