"""Agents on a port: OpenAI's chat completions in front of a function, whole and streamed, and `GET /health`.

Needs `meseta[agents]`. The server is uvicorn; what is here is the application that it runs.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import signal
import socket
import sys
import threading
from contextlib import aclosing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from meseta.sdk.agents import Agent, Context, context_of
from meseta.sdk.answers import Gathering, Message
from meseta.sdk.events import StreamError, parse_object
from meseta.sdk.failures import AgentError, CallError
from meseta.sdk.replies import Reply
from meseta.sdk.scopes import Entered, Scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping

    import uvicorn

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MOST_BODY_BYTES = 32 * 1024 * 1024
BODY_SECONDS = 60.0
"""Within which a request must have arrived."""
KEEP_ALIVE_SECONDS = 120
"""Longer than the plane keeps a connection that nobody uses, so that it never sends into one that closes."""
USUAL_PORT = 10500
USUAL_CONCURRENCY = 100
USUAL_DRAIN_SECONDS = 30.0
_CHAT = ("/v1/chat/completions", "/chat/completions")
_OK, _BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _NOT_ALLOWED = 200, 400, 401, 403, 404, 405
_TIMED_OUT, _TOO_LARGE, _FAILED, _BUSY, _TOO_LATE = 408, 413, 500, 503, 504

_logger = logging.getLogger("meseta.agents")


class Application:
    """One agent as an ASGI application. `active` counts the conversations that it is answering."""

    def __init__(
        self, agent: Agent[..., Any], *, key: str | None = None, concurrency: int = USUAL_CONCURRENCY
    ) -> None:
        self._agent = agent
        self._key = None if key is None else key.encode()
        self._concurrency = concurrency
        self.active = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI has it."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"An agent speaks HTTP, not {scope['type']}.")
        reply = Reply(send, self._agent.name)
        try:
            if scope["path"] == "/health":
                if scope["method"] not in ("GET", "HEAD"):
                    raise AgentError(
                        "Health is asked for with GET.", status=_NOT_ALLOWED, code="request.method"
                    )
                await reply.document(_OK, {"active": self.active})
            else:
                await self._chat(scope, receive, reply)
        except AgentError as error:
            await reply.error(error.status, error.code, str(error))

    async def _chat(self, scope: MutableMapping[str, Any], receive: Receive, reply: Reply) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self._admit(scope, headers)
        if self.active >= self._concurrency:
            reply.headers.append((b"retry-after", b"1"))
            raise AgentError("This agent has as much to do as it can.", status=_BUSY, code="agent.busy")
        self.active += 1
        try:
            request = await _read(receive, headers)
            with Entered(Scope.of_request(headers)) as entered:
                context = context_of(request, headers)
                work = asyncio.create_task(self._answer(request, context, reply))
                await _while_wanted(work, receive, context, entered.scope.seconds_left)
        except _LateError:
            code, message = (
                "agent.deadline",
                "The deadline of the request passed before the agent had answered.",
            )
            await reply.error(_TOO_LATE, code, message)
        except AgentError as error:
            await reply.error(error.status, error.code, str(error))
        except CallError as error:
            status = error.status if error.status is not None and error.status >= _BAD_REQUEST else 502
            await reply.error(status, error.code, str(error), error.retry_after)
        except Exception:
            _logger.exception("The agent %s failed.", self._agent.name)
            await reply.error(_FAILED, "agent.failed", f"The agent {self._agent.name} failed.")
        finally:
            self.active -= 1

    def _admit(self, scope: MutableMapping[str, Any], headers: dict[str, str]) -> None:
        if scope["path"] not in _CHAT:
            paths = f"POST {_CHAT[0]} and GET /health"
            raise AgentError(f"An agent answers {paths}.", status=_NOT_FOUND, code="request.not_found")
        if scope["method"] != "POST":
            raise AgentError("Conversations are sent with POST.", status=_NOT_ALLOWED, code="request.method")
        if self._key is not None:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            same = hmac.compare_digest(given.strip().encode("latin-1"), self._key)
            if scheme.lower() != "bearer" or not same:
                raise AgentError("This agent asks for its key.", status=_UNAUTHORIZED, code="auth.invalid")
        elif "origin" in headers:
            # A browser sends this with what a page asks for, and loopback is no border for it.
            raise AgentError(
                "An agent without a key does not answer web pages.",
                status=_FORBIDDEN,
                code="request.origin_refused",
            )

    async def _answer(self, request: dict[str, Any], context: Context, reply: Reply) -> None:
        messages: list[Message] = request["messages"]
        gathering = Gathering(self._agent.name, {})
        async with aclosing(self._agent.pieces(messages, context)) as pieces:
            async for piece in pieces:
                gathering.take_delta(piece)
                if request.get("stream"):
                    await reply.piece(piece)
        answer = gathering.answer()
        if request.get("stream"):
            await reply.end(answer.finish)
        else:
            await reply.whole(answer.message, answer.finish)


class _LateError(Exception):
    """The deadline of a request has passed."""


async def _while_wanted(
    work: asyncio.Task[None], receive: Receive, context: Context, seconds: float | None
) -> None:
    """Wait for `work`, but cancel it when the client leaves or the deadline passes, or this is cancelled."""
    gone = asyncio.create_task(_disconnected(receive))
    try:
        done, _ = await asyncio.wait({work, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if work in done:
            await work
        elif gone not in done:
            raise _LateError
    finally:
        context.cancel()
        # What has ended is not awaited again: that would cut the traceback of its error.
        for task in [task for task in (work, gone) if not task.done()]:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read(receive: Receive, headers: dict[str, str]) -> dict[str, Any]:
    """Return the body as the chat request that it is."""
    length = headers.get("content-length", "0")
    too_large = AgentError(
        f"A request has at most {MOST_BODY_BYTES} bytes.", status=_TOO_LARGE, code="request.too_large"
    )
    if length.isdigit() and int(length) > MOST_BODY_BYTES:
        raise too_large
    body, more = bytearray(), True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                part = await receive()
                if part["type"] == "http.disconnect":
                    raise AgentError("The client left.", status=_BAD_REQUEST, code="client.disconnected")
                body += part.get("body", b"")
                more = part.get("more_body", False)
                if len(body) > MOST_BODY_BYTES:
                    raise too_large
    except TimeoutError:
        message = f"The request did not arrive within {BODY_SECONDS:.0f} seconds."
        raise AgentError(message, status=_TIMED_OUT, code="request.timeout") from None
    try:
        request = parse_object(bytes(body))
    except StreamError as error:
        raise _invalid(f"The body is not a JSON object. {error}") from None
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        raise _invalid("`messages` must be a list of at least one message.")
    return request


def _invalid(message: str) -> AgentError:
    return AgentError(message, status=_BAD_REQUEST, code="request.invalid_body")


async def _live(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


def serve(
    function: Callable[..., Any] | Agent[..., Any],
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    key: str | None = None,
    concurrency: int = USUAL_CONCURRENCY,
    drain_seconds: float = USUAL_DRAIN_SECONDS,
) -> None:
    """Serve an agent until SIGTERM or SIGINT; then let what it is answering finish, for `drain_seconds`.

    `port` is that of PORT in the environment, else 10500; 0 takes a free one. With a `key`, requests must
    carry it as `Authorization: Bearer KEY`; without one, keep the agent on loopback. More than `concurrency`
    conversations at once are answered with 503. Raises OSError when the port is taken.
    """
    agent = function if isinstance(function, Agent) else Agent(function)
    wanted = port if port is not None else int(os.environ.get("PORT") or USUAL_PORT)
    with _listening(host, wanted) as listening:
        server = _server(Application(agent, key=key, concurrency=concurrency), drain_seconds)

        def stop(*_: object) -> None:
            server.should_exit = True

        # uvicorn raises the signal that it was stopped by once more at its end; to have drained is a success.
        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            sys.stderr.write(f"{agent.name} listens on http://{host}:{listening.getsockname()[1]}\n")
            sys.stderr.flush()
            server.run(sockets=[listening])
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def serving(
    function: Callable[..., Any] | Agent[..., Any],
    *,
    key: str | None = None,
    concurrency: int = USUAL_CONCURRENCY,
    drain_seconds: float = USUAL_DRAIN_SECONDS,
) -> Iterator[str]:
    """Serve an agent on a thread and a free port during a `with` block, which gets its URL. For tests."""
    agent = function if isinstance(function, Agent) else Agent(function)
    with _listening("127.0.0.1", 0) as listening:
        server = _server(Application(agent, key=key, concurrency=concurrency), drain_seconds)
        thread = threading.Thread(
            target=server.run, args=([listening],), name=f"meseta-{agent.name}", daemon=True
        )
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle off where the protocol is named. Else each answer takes 40 ms more.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(1024)
        yield listening


def _server(application: Application, drain_seconds: float) -> uvicorn.Server:
    try:
        import uvicorn
    except ImportError as error:
        raise ImportError("Serving an agent needs uvicorn: pip install 'meseta[agents]'.") from error
    return uvicorn.Server(
        uvicorn.Config(
            application,
            http="h11",
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, round(drain_seconds)),
        )
    )
