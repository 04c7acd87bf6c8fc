"""Chat completions over HTTP: a request, its whole answer or its pieces, every failure as a `CallError`."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meseta.sdk.answers import Answer, Gathering, messages_of, read_answer
from meseta.sdk.events import EventReader, StreamError, parse_object
from meseta.sdk.failures import CallError
from meseta.sdk.outgoing import AGENT, IDEMPOTENCY_KEY, idempotency_key, scope_headers
from meseta.sdk.scopes import Entered, current, label, within

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

    import httpx

    from meseta.sdk.answers import Message
    from meseta.sdk.connection import Connection

AGENT_PREFIX = "agent/"
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 600.0
"""How long an answer may stay silent when no deadline says otherwise."""
GRACE_SECONDS = 1.0
"""The plane's own error at a deadline says more than a call that is given up here, so it comes first."""
MOST_BYTES = 64 * 1024 * 1024
"""Of one answer."""


@dataclass(frozen=True)
class Prepared:
    """One request, ready to be sent."""

    to: str
    url: str
    headers: dict[str, str]
    body: bytes
    until: float | None
    """When it is given up, on the event loop's clock."""


class Requests:
    """Sends requests through one connection. For one event loop; `aclose` ends what it keeps open."""

    def __init__(self, connection: Connection, *, keep: bool = True) -> None:
        self._connection = connection
        self._keep = keep
        self._http: httpx.AsyncClient | None = None

    async def whole(
        self,
        to: str,
        messages: str | Sequence[Message],
        seconds: float | None,
        parameters: Mapping[str, Any],
    ) -> Answer:
        """Send it and return the whole answer."""
        asked = self._prepare(to, messages, seconds, {**parameters, "stream": False})
        async with bounded(to, asked.until), self._sent(asked) as response:
            return await _whole(to, response)

    def streamed(
        self,
        to: str,
        messages: str | Sequence[Message],
        seconds: float | None,
        parameters: Mapping[str, Any],
    ) -> tuple[AsyncGenerator[str, None], Gathering, float | None]:
        """Return the texts, what gathers the answer, and when it is given up. The scope is that of here."""
        asked = self._prepare(to, messages, seconds, {**parameters, "stream": True})
        gathering = Gathering(to, {})
        return self._pieces(asked, gathering), gathering, asked.until

    async def aclose(self) -> None:
        """Close kept connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def _pieces(self, asked: Prepared, gathering: Gathering) -> AsyncGenerator[str, None]:
        try:
            async with self._sent(asked) as response:
                gathering.headers = response.headers
                if "text/event-stream" not in response.headers.get("content-type", ""):
                    answer = await _whole(asked.to, response)
                    yield gathering.take_delta(answer.message)
                    return
                async for text in _texts(asked.to, response, gathering):
                    yield text
        finally:
            if not self._keep:
                await self.aclose()

    def _prepare(
        self,
        to: str,
        messages: str | Sequence[Message],
        seconds: float | None,
        parameters: Mapping[str, Any],
    ) -> Prepared:
        url, model, addressed = self._address(to)
        content = {"model": model, "messages": messages_of(messages), **parameters}
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
        scope = current() if seconds is None else within(current(), seconds)
        with Entered(scope):
            headers = scope_headers(self._connection.headers, {})
        headers |= {
            "content-type": "application/json",
            "accept": "text/event-stream" if parameters["stream"] else "application/json",
            IDEMPOTENCY_KEY: idempotency_key("POST", url, body, None),
            **addressed,
            **self._connection.authorization,
        }
        left = scope.seconds_left
        until = None if left is None else asyncio.get_running_loop().time() + left + GRACE_SECONDS
        return Prepared(to, url, headers, body, until)

    def _address(self, to: str) -> tuple[str, str, dict[str, str]]:
        """Return the URL, the model's name for the body, and the header that names an agent."""
        path = "/v1/chat/completions"
        if not to.startswith(AGENT_PREFIX):
            if not to:
                raise ValueError("Say whom to ask: the name of a model, or agent/NAME.")
            return self._connection.url + path, to, {}
        name = label("name of an agent", to.removeprefix(AGENT_PREFIX))
        if self._connection.hub is None:
            raise ValueError(
                f"Where {to} is to be found is not known. Give the agent listener's URL as "
                "meseta.connect(hub=...) or in MESETA_HUB_URL."
            )
        return self._connection.hub + path, name, {} if name == "*" else {AGENT: name}

    @asynccontextmanager
    async def _sent(self, asked: Prepared) -> AsyncIterator[httpx.Response]:
        import httpx

        if self._http is None:
            self._http = _client(self._connection)
        try:
            request = self._http.build_request("POST", asked.url, headers=asked.headers, content=asked.body)
            response = await self._http.send(request, stream=True)
            try:
                if not response.is_success:
                    raise _refused(asked.to, response, await _read(asked.to, response))
                yield response
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            raise _failed(asked, error) from error


@asynccontextmanager
async def bounded(to: str, until: float | None) -> AsyncIterator[None]:
    """Give up at `until`, on the event loop's clock, with a CallError."""
    try:
        async with asyncio.timeout_at(until):
            yield
    except TimeoutError as error:
        message = f"{to} has not answered within the seconds that it had."
        raise CallError(message, to=to, code="call.timed_out") from error


def _client(connection: Connection) -> httpx.AsyncClient:
    import httpx

    urls = [url for url in (connection.url, connection.hub) if url is not None]
    # Reading the certificates of this machine takes longer than a call; plain HTTP does without.
    verify = (
        True if any(url.startswith("https:") for url in urls) else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    times = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS, pool=None)
    # The one who asks for many at once has bounded them already.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    # A proxy of the environment is for the way out, not for this machine.
    trust = not all(_is_local(url) for url in urls)
    return httpx.AsyncClient(timeout=times, limits=limits, verify=verify, trust_env=trust)


def _is_local(url: str) -> bool:
    from meseta.sdk.hooks import origin_of

    return origin_of(url)[1] in ("127.0.0.1", "localhost", "::1")


async def _read(to: str, response: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > MOST_BYTES:
            raise _too_long(to, response)
    return bytes(body)


async def _whole(to: str, response: httpx.Response) -> Answer:
    body = await _read(to, response)
    try:
        answer = read_answer(to, parse_object(body), response.headers)
    except StreamError as error:
        raise _unreadable(to, response, str(error)) from error
    if answer is None:
        raise _unreadable(to, response, "It is no chat completion.")
    return answer


async def _texts(to: str, response: httpx.Response, gathering: Gathering) -> AsyncIterator[str]:
    reader, size = EventReader(), 0
    async for piece in response.aiter_bytes():
        size += len(piece)
        if size > MOST_BYTES:
            raise _too_long(to, response)
        try:
            for chunk in reader.take(piece):
                if "error" in chunk:
                    raise _told(to, response, chunk["error"], None)
                text = gathering.take(chunk)
                if text:
                    yield text
        except StreamError as error:
            raise _unreadable(to, response, str(error)) from error
    if not reader.done:
        raise CallError(
            f"The stream of {to} ended before its answer did.",
            to=to,
            code="call.cut",
            status=response.status_code,
            request_id=response.headers.get("x-meseta-request-id"),
        )


def _refused(to: str, response: httpx.Response, body: bytes) -> CallError:
    try:
        document = parse_object(body)
    except StreamError:
        document = {}
    return _told(to, response, document.get("error"), response.status_code)


def _told(to: str, response: httpx.Response, error: object, status: int | None) -> CallError:
    """Return the error that the answer itself describes."""
    told = error if isinstance(error, dict) else {}
    message = told.get("message")
    if not isinstance(message, str) or not message:
        message = f"{to} answered with status {response.status_code} and said no more."
    code = told.get("code") or told.get("type")
    if status is None and isinstance(told.get("status"), int):
        status = told["status"]
    wait = response.headers.get("retry-after", "")
    return CallError(
        message,
        to=to,
        code=code if isinstance(code, str) else "call.refused",
        status=status,
        request_id=response.headers.get("x-meseta-request-id"),
        retry_after=float(wait) if wait.isascii() and wait.isdigit() else None,
    )


def _unreadable(to: str, response: httpx.Response, why: str) -> CallError:
    return CallError(
        f"What came back from {to} cannot be read. {why}",
        to=to,
        code="call.unreadable",
        status=response.status_code,
        request_id=response.headers.get("x-meseta-request-id"),
    )


def _too_long(to: str, response: httpx.Response) -> CallError:
    return _unreadable(to, response, f"The answer has more than {MOST_BYTES} bytes.")


def _failed(asked: Prepared, error: httpx.HTTPError) -> CallError:
    import httpx

    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        message = f"Nobody answers at {asked.url}. Is `meseta up` running, and is this its listener?"
        return CallError(message, to=asked.to, code="call.cannot_connect")
    if isinstance(error, httpx.TimeoutException):
        message = f"{asked.to} has been silent for {SILENCE_SECONDS:.0f} seconds."
        return CallError(message, to=asked.to, code="call.timed_out")
    message = f"The connection broke before {asked.to} had answered: {str(error) or type(error).__name__}."
    return CallError(message, to=asked.to, code="call.cut")
