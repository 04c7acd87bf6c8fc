"""Clients of three APIs on kept connections, and what they make of an answer."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Literal

Api = Literal["chat", "responses", "messages"]

APIS: tuple[Api, ...] = ("chat", "responses", "messages")
PATHS: dict[Api, str] = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
}
PATIENCE_SECONDS = 45.0


@dataclass(frozen=True)
class Ask:
    """A request with an answer that no other request has."""

    number: int
    api: Api
    stream: bool
    text: str

    @property
    def name(self) -> str:
        """Its name in the prompt, in the providers' records and in the log."""
        return f"chaos{self.number:07d}"

    def bytes(self) -> bytes:
        """Write it as it goes over the wire."""
        messages = [{"role": "user", "content": self.text}]
        body: dict[str, Any] = {"model": "smart", "stream": self.stream}
        if self.api == "responses":
            body |= {"input": self.text, "store": False}
        else:
            body["messages"] = messages
        if self.api == "messages":
            body["max_tokens"] = 1000
        content = json.dumps(body).encode()
        head = (
            f"POST {PATHS[self.api]} HTTP/1.1\r\nhost: chaos\r\ncontent-type: application/json\r\n"
            f"x-meseta-run: {self.name}\r\nanthropic-version: 2023-06-01\r\n"
            f"content-length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content


@dataclass(frozen=True)
class Outcome:
    """What came of one request."""

    ask: Ask
    problem: str
    """Empty for the whole and right answer; else what is wrong, in few words."""
    seconds: float
    attempts: int


class Connection(asyncio.Protocol):
    """One kept connection: bytes are gathered until an answer is whole."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.transport: asyncio.Transport | None = None
        self.done: asyncio.Future[bool] | None = None
        self.lost = False
        self.body_at = 0
        self.length = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        if isinstance(transport, asyncio.Transport):
            self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Look whether the answer is whole; bytes that nobody asked for break the connection."""
        self.received += data
        if self.done is None or self.done.done():
            self.lost = True
        elif self._whole():
            self.done.set_result(True)

    def connection_lost(self, _: Exception | None) -> None:
        """Tell whoever waits."""
        self.lost = True
        if self.done and not self.done.done():
            self.done.set_result(False)

    def _whole(self) -> bool:
        if not self.body_at:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return False
            self.body_at = end + 4
            for line in bytes(self.received[:end]).lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    self.length = int(line[15:])
        if self.length >= 0:
            return len(self.received) >= self.body_at + self.length
        return self.received.endswith(b"\r\n0\r\n\r\n")

    async def send(self, ask: Ask) -> tuple[bool, bytes, bytes]:
        """Send a request: whether its answer has an end, its head, and its body."""
        self.received.clear()
        self.body_at, self.length = 0, -1
        self.done = asyncio.get_running_loop().create_future()
        if self.lost or not self.transport:
            return False, b"", b""
        self.transport.write(ask.bytes())
        whole = await asyncio.wait_for(self.done, PATIENCE_SECONDS)
        head, body = bytes(self.received[: self.body_at]), bytes(self.received[self.body_at :])
        if self.length >= 0:
            if len(body) > self.length:
                self.lost = True
            return whole, head, body
        return whole, head, unchunked(body)


class Clients:
    """All clients of a run."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.idle: list[Connection] = []
        self.opened = 0

    async def _connection(self) -> Connection:
        while self.idle:
            connection = self.idle.pop()
            if not connection.lost:
                return connection
        self.opened += 1
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(Connection, "127.0.0.1", self.port)
        return made

    async def ask(self, ask: Ask) -> Outcome:
        """Send one request, once."""
        begun = asyncio.get_running_loop().time()
        attempts = 0
        try:
            connection = await self._connection()
            whole, head, body = await connection.send(ask)
        except TimeoutError:
            problem = f"nothing within {PATIENCE_SECONDS:.0f} s"
        except OSError as error:
            problem = f"no connection: {error.strerror}"
        else:
            attempts = attempts_of(head)
            if whole and not connection.lost:
                self.idle.append(connection)
            problem = judge(ask, whole=whole, head=head, body=body)
        return Outcome(ask, problem, asyncio.get_running_loop().time() - begun, attempts)

    def close(self) -> None:
        """End the connections."""
        for connection in self.idle:
            if connection.transport:
                connection.transport.close()


def unchunked(body: bytes) -> bytes:
    """Take the framing of chunks off."""
    parts, at = [], 0
    while (line := body.find(b"\r\n", at)) >= 0:
        length = int(body[at:line] or b"0", 16)
        if length == 0:
            break
        parts.append(body[line + 2 : line + 2 + length])
        at = line + 2 + length + 2
    return b"".join(parts)


def attempts_of(head: bytes) -> int:
    """How many targets the plane asked."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"x-meseta-attempts:"):
            return int(line.split(b":")[1])
    return 0


def judge(ask: Ask, *, whole: bool, head: bytes, body: bytes) -> str:
    """Say what is wrong with an answer, or nothing."""
    if not head:
        return "the connection ended without an answer"
    status = head.split(b" ", 2)[1].decode()
    if not whole:
        return f"{status}, cut"
    try:
        if status != "200":
            return f"{status} {code_of(json.loads(body))}"
        text, finished, error = streamed(ask.api, body) if ask.stream else complete(ask.api, json.loads(body))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error_in:
        return f"{status}, not in the API's form: {type(error_in).__name__}"
    if error:
        return f"{status}, then {error}"
    if text != ask.text:
        return "a wrong answer" if not ask.text.startswith(text) else "half an answer that says it is whole"
    return "" if finished else "an answer without its end"


def code_of(document: dict[str, Any]) -> str:
    """Find the code of an error, or its type."""
    error = document.get("error") or document
    return str(error.get("code") or error.get("type"))


def complete(api: Api, body: dict[str, Any]) -> tuple[str, bool, str]:
    """Text, whether it is finished, and the error of a whole answer."""
    if api == "chat":
        choice = body["choices"][0]
        return choice["message"]["content"], choice["finish_reason"] == "stop", ""
    if api == "messages":
        return "".join(part["text"] for part in body["content"]), body["stop_reason"] == "end_turn", ""
    parts = [part for item in body["output"] if item["type"] == "message" for part in item["content"]]
    return "".join(part["text"] for part in parts), body["status"] == "completed", ""


def streamed(api: Api, body: bytes) -> tuple[str, bool, str]:
    """Text, whether it is finished, and the error of a stream."""
    texts: list[str] = []
    ends = 0
    for event in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        data = next((line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")), None)
        if data is None:
            continue
        if data == b"[DONE]":
            ends += 1
            continue
        document = json.loads(data)
        kind = document.get("type", "")
        if kind in ("error", "response.failed") or document.get("error"):
            return "".join(texts), False, f"an error event {code_of(document)}"
        if api == "chat":
            texts += [choice["delta"].get("content") or "" for choice in document["choices"]]
        elif api == "messages":
            texts.append(document["delta"].get("text", "") if kind == "content_block_delta" else "")
            ends += kind == "message_stop"
        else:
            texts.append(document["delta"] if kind == "response.output_text.delta" else "")
            if kind == "response.completed":
                ends += 1
                if complete(api, document["response"])[0] != "".join(texts):
                    return "".join(texts), False, "another text in response.completed"
    return "".join(texts), ends == 1, ""
