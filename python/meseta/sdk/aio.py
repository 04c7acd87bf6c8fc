"""Calls through the plane for asynchronous code; `meseta.sdk.client` has the same names for the other kind.

Whom to ask is a text: `agent/NAME` is that agent of the hub (the agent listener), `agent/*` whichever agent
the hub chooses, and everything else a model of the model listener. Messages are OpenAI's, or one text of the
user. Further named arguments go into the request as they are (`temperature=0`, `tools=[...]`).

`seconds` bounds a call as a whole; the plane learns of it and stops what it has asked for. A call that is
cancelled ends its connection, by which the plane cancels everything below it. Nothing here asks twice: the
plane retries, and knows when that is safe. All raise `CallError`, and ValueError for what cannot be asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from meseta.sdk.connection import newest
from meseta.sdk.derived import show_as_function
from meseta.sdk.parallel import Ask, fan_out_by
from meseta.sdk.requests import Requests
from meseta.sdk.sequence import chain_by
from meseta.sdk.supervision import Outcome, Step, supervise_by

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
    from types import TracebackType
    from typing import Literal

    from meseta.sdk.answers import Answer, Gathering, Message
    from meseta.sdk.connection import Connection
    from meseta.sdk.supervision import Chooser

__all__ = ["Ask", "Client", "Outcome", "Step", "Stream", "call", "chain", "fan_out", "stream", "supervise"]

P = ParamSpec("P")
T = TypeVar("T")


class Stream:
    """The text of an answer as it comes: `async for text in stream`. Then `answer` is the whole of it.

    Closing it early (`aclose`, or leaving an `async with`) cancels the call.
    """

    def __init__(self, pieces: AsyncGenerator[str, None], gathering: Gathering, until: float | None) -> None:
        self._pieces = pieces
        self._gathering = gathering
        self._until = until

    @property
    def answer(self) -> Answer:
        """What has come so far; the whole answer once the stream has ended."""
        return self._gathering.answer()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        from meseta.sdk.requests import bounded

        async with bounded(self._gathering.to, self._until):
            return await self._pieces.__anext__()

    async def aclose(self) -> None:
        """End it; the call is cancelled if it has not ended."""
        await self._pieces.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class Client:
    """Calls over one set of kept connections, for one event loop; `async with Client() as client`.

    The functions of this module open one for each of their calls, which costs a connection each time.
    """

    def __init__(self, connection: Connection | None = None) -> None:
        self._requests = Requests(connection or newest())

    async def call(
        self,
        /,
        to: str,
        messages: str | Sequence[Message],
        *,
        seconds: float | None = None,
        **parameters: Any,
    ) -> Answer:
        """Ask `to` and return its whole answer."""
        return await self._requests.whole(to, messages, seconds, parameters)

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
        return Stream(*self._requests.streamed(to, messages, seconds, parameters))

    async def fan_out(
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
        return await fan_out_by(self.call, to, messages, wait=wait, seconds=seconds)

    async def chain(
        self, to: Sequence[str], messages: str | Sequence[Message], *, seconds: float | None = None
    ) -> list[Answer]:
        """Ask one after another; each sees the answers before it, named, before the user's last words."""
        return await chain_by(self.call, to, messages, seconds=seconds)

    async def supervise(
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

        `agents` maps whom to ask to what they are good for; the first is the default. `by` chooses: a model,
        or a function of the conversation so far that names one of `agents`, or None when it is done. Loop
        budgets: `steps` answers, `seconds`, and `usd` US dollars as far as prices are known. `final` (or a
        model in `by`) gives the last answer when a budget ends the loop; a `final` that is given does always.
        """
        return await supervise_by(
            self.call, agents, messages, by=by, steps=steps, seconds=seconds, usd=usd, final=final
        )

    async def aclose(self) -> None:
        """Close the kept connections."""
        await self._requests.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _alone(
    method: Callable[Concatenate[Client, P], Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make a function of a method: with a client of its own for each call."""

    async def function(*args: P.args, **kwargs: P.kwargs) -> T:
        async with Client() as client:
            return await method(client, *args, **kwargs)

    show_as_function(function, method)
    return function


call = _alone(Client.call)
fan_out = _alone(Client.fan_out)
chain = _alone(Client.chain)
supervise = _alone(Client.supervise)


def stream(
    to: str, messages: str | Sequence[Message], *, seconds: float | None = None, **parameters: Any
) -> Stream:
    """Ask `to` and return its answer as it comes. Nothing is sent before the first text is asked for."""
    return Stream(*Requests(newest(), keep=False).streamed(to, messages, seconds, parameters))
