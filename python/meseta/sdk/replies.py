"""What an agent sends back: a document, an answer whole or in pieces, or an error instead or behind it."""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING, Any

from meseta.sdk.events import DONE, event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from meseta.sdk.answers import Message

    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_OK = 200
_SERVER_ERROR = 500


class Reply:
    """What goes back for one request. An error says its status as long as nothing has been sent."""

    def __init__(self, send: Send, name: str) -> None:
        self._send = send
        self._name = name
        self._id = f"chatcmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self._begun = False
        self._ended = False
        self.headers: list[tuple[bytes, bytes]] = []
        """Further headers."""

    async def document(self, status: int, document: Message) -> None:
        """Send one JSON document."""
        body = json.dumps(document, ensure_ascii=False).encode(errors="replace")
        length = (b"content-length", str(len(body)).encode())
        await self._start(status, b"application/json", length)
        await self._end(body)

    async def whole(self, message: Message, finish: str | None) -> None:
        """Send a whole answer."""
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        await self.document(_OK, self._completion("chat.completion", choice))

    async def piece(self, delta: Message) -> None:
        """Send one piece of a streamed answer."""
        if not self._begun:
            await self._start(_OK, b"text/event-stream", (b"cache-control", b"no-store"))
            delta = {"role": "assistant", **delta}
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            # Whole messages do not number their calls, pieces have to.
            delta = {**delta, "tool_calls": [{"index": index, **call} for index, call in enumerate(calls)]}
        await self._more(event(self._chunk(delta, None)))

    async def end(self, finish: str | None) -> None:
        """Send the end of a streamed answer."""
        if not self._begun:
            await self.piece({"content": ""})
        await self._end(event(self._chunk({}, finish)) + DONE)

    async def error(self, status: int, code: str, message: str, retry_after: float | None = None) -> None:
        """Send an error, in a stream that has begun as its last event."""
        if self._ended:
            return
        kind = "invalid_request_error" if status < _SERVER_ERROR else "api_error"
        error = {"message": message, "type": kind, "param": None, "code": code}
        if self._begun:
            await self._end(event({"error": {**error, "status": status}}))
            return
        if retry_after is not None:
            self.headers.append((b"retry-after", str(max(1, round(retry_after))).encode()))
        await self.document(status, {"error": error})

    async def _start(self, status: int, kind: bytes, *headers: tuple[bytes, bytes]) -> None:
        self._begun = True
        listed = [(b"content-type", kind), *headers, *self.headers]
        await self._send({"type": "http.response.start", "status": status, "headers": listed})

    async def _more(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def _end(self, body: bytes) -> None:
        self._ended = True
        await self._send({"type": "http.response.body", "body": body})

    def _chunk(self, delta: Message, finish: str | None) -> Message:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return self._completion("chat.completion.chunk", choice)

    def _completion(self, kind: str, choice: Message) -> Message:
        told = {"id": self._id, "object": kind, "created": self._created, "model": self._name}
        return {**told, "choices": [choice]}
