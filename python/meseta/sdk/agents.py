"""An agent made of a function: how it is called, and how what it gives becomes pieces of an answer."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from meseta.sdk.answers import Answer, Message, text_of
from meseta.sdk.scopes import Scope, current, label

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from meseta.sdk.server import Application

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")
Piece = dict[str, Any]
"""What one event of a stream says: the `delta` of a chat completion's chunk."""

_THREADS = 64
_END = object()


@dataclass(frozen=True)
class Context:
    """What a request to an agent came with, beside its messages."""

    request: Mapping[str, Any]
    """The whole body: `model`, `messages`, `temperature`, `tools`, ..."""
    headers: Mapping[str, str]
    """By lower-case names; the credential is not among them."""
    scope: Scope = field(default_factory=Scope)
    _gone: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def text(self) -> str:
        """The text of the user's last message."""
        messages = self.request.get("messages")
        for message in reversed(messages if isinstance(messages, list) else []):
            if isinstance(message, dict) and message.get("role") == "user":
                return text_of(message.get("content"))
        return ""

    @property
    def session(self) -> str | None:
        """The conversation that it belongs to."""
        return self.scope.session

    @property
    def run(self) -> str | None:
        """The run that it belongs to."""
        return self.scope.run

    @property
    def seconds_left(self) -> float | None:
        """Seconds until nobody waits for the answer any more, or None when that is not known."""
        return self.scope.seconds_left

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits any more. A synchronous function that works long should look now and then."""
        return self._gone.is_set()

    def cancel(self) -> None:
        """Let `cancelled` be true from now on."""
        self._gone.set()


class Agent(Generic[Parameters, Returned]):
    """A function that answers conversations. It can still be called as the function that it is."""

    def __init__(self, function: Callable[Parameters, Returned], name: str | None = None) -> None:
        if not callable(function):
            raise TypeError(f"An agent is made of a function, and {function!r} is none.")
        functools.update_wrapper(self, function)
        self.function = function
        self.name = label("name of an agent", name or str(getattr(function, "__name__", "agent")))
        """What it calls itself in its answers."""
        self._arguments = _arguments(function)

    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        """Call the function, as if it were no agent."""
        return self.function(*args, **kwargs)

    @property
    def app(self) -> Application:
        """It as an ASGI application, for a server of your own."""
        from meseta.sdk.server import Application

        return Application(self)

    async def pieces(self, messages: list[Message], context: Context) -> AsyncGenerator[Piece, None]:
        """Call the function and give its answer piece by piece, whatever kind of function it is."""
        given: tuple[Any, ...] = (messages, context)[: self._arguments]
        function: Callable[..., Any] = self.function
        if _is_asynchronous(function):
            result = function(*given)
        else:
            result = await _in_thread(contextvars.copy_context(), function, *given)
        if inspect.isawaitable(result):
            result = await result
        async for said in _each(result):
            yield said


@overload
def agent(function: Callable[Parameters, Returned], /) -> Agent[Parameters, Returned]: ...
@overload
def agent(
    *, name: str | None = None
) -> Callable[[Callable[Parameters, Returned]], Agent[Parameters, Returned]]: ...
def agent(
    function: Callable[Parameters, Returned] | None = None, /, *, name: str | None = None
) -> Agent[Parameters, Returned] | Callable[[Callable[Parameters, Returned]], Agent[Parameters, Returned]]:
    """Make an agent of a function: `@meseta.agent`, or `@meseta.agent(name="weather")`.

    The function takes the messages (a list of dicts as in OpenAI's chat completions) and, if it wants, a
    `Context`. It may be asynchronous or not, and a generator or not. It returns, or yields pieces of, the
    answer: text, an `Answer`, a message with `content` and `tool_calls`, or a `Stream` to pass on.
    """
    if function is not None:
        return Agent(function, name)
    return lambda decorated: Agent(decorated, name)


def _arguments(function: Callable[..., Any]) -> int:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    places = [parameter for parameter in parameters if parameter.kind in kinds]
    any_number = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters)
    needed = [parameter for parameter in places if parameter.default is inspect.Parameter.empty]
    keywords = [
        parameter
        for parameter in parameters
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.default is inspect.Parameter.empty
    ]
    if keywords or len(needed) > 2 or (not places and not any_number):
        raise TypeError(
            "An agent's function takes the messages, and a context if it wants one: f(messages, context)."
        )
    return 2 if any_number else min(2, len(places))


def _is_asynchronous(function: Callable[..., Any]) -> bool:
    call = getattr(function, "__call__", None)  # noqa: B004
    return any(
        test(subject)
        for subject in (inspect.unwrap(function), call)
        for test in (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    )


async def _each(result: object) -> AsyncIterator[Piece]:
    if isinstance(result, AsyncIterator):
        try:
            async for said in result:
                yield _piece(said)
        finally:
            close = getattr(result, "aclose", None)
            if close is not None:
                await close()
    elif isinstance(result, Iterator):
        async for said in _stepped(result):
            yield _piece(said)
    else:
        yield _piece(result)


async def _stepped(generator: Iterator[object]) -> AsyncIterator[object]:
    """Give what a synchronous generator yields, each step in a thread and all of them in one context."""
    context = contextvars.copy_context()
    close = getattr(generator, "close", lambda: None)
    step: asyncio.Future[object] | None = None
    try:
        while True:
            step = _in_thread(context, next, generator, _END)
            said = await asyncio.shield(step)
            if said is _END:
                return
            yield said
    finally:
        if step is not None and not step.done():
            # Nothing stops a thread. The generator is closed when the step that it is in has ended.
            step.add_done_callback(lambda done: (done.exception(), _in_thread(context, close)))
        else:
            await _in_thread(context, close)


def _piece(said: object) -> Piece:
    if isinstance(said, str):
        return {"content": said}
    if isinstance(said, Answer):
        said = said.message
    if isinstance(said, dict) and ("content" in said or "tool_calls" in said):
        return {name: said[name] for name in ("content", "tool_calls") if said.get(name) is not None}
    raise TypeError(
        "An agent answers with text, an Answer, or a message with content or tool_calls, "
        f"not with {type(said).__name__}."
    )


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="meseta-agent")


def _in_thread(
    context: contextvars.Context, work: Callable[..., Any], *arguments: Any
) -> asyncio.Future[Any]:
    def run() -> Any:
        try:
            return context.run(work, *arguments)
        except StopIteration as error:
            # A future cannot hold this one.
            raise RuntimeError("The function of an agent raised StopIteration.") from error

    return asyncio.get_running_loop().run_in_executor(_threads(), run)


def context_of(request: Mapping[str, Any], headers: Mapping[str, str]) -> Context:
    """Return the context of a request that is served in the current scope, without its credentials."""
    hidden = ("authorization", "x-api-key", "x-meseta-key", "cookie", "proxy-authorization")
    shown = {name: value for name, value in headers.items() if name not in hidden}
    return Context(request, shown, current())
