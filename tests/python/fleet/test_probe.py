"""Asking an instance how it does: right answers, wrong ones, garbage and silence."""

from __future__ import annotations

import asyncio
import socket

import pytest

from meseta.fleet.probe import ask


async def answered(answer: bytes | None, path: str | None = "/health") -> tuple[str | None, bytes]:
    """Ask a server that answers this (None: nothing); return what came of it, and what was asked."""
    asked: list[bytes] = []
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if path is not None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
        if answer is None:
            await over.wait()
        else:
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        told = await ask(port, path, 0.3 if answer is None else 30.0)
    finally:
        over.set()
        server.close()
        await server.wait_closed()
    return (None if told is None else told.replace(str(port), "PORT")), b"".join(asked)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", None),
        (b"HTTP/1.0 204\r\n\r\n", None),
        (b"HTTP/1.1 299 Odd\r\ncontent-length: 1000000\r\n\r\nand no more", None),
        (b"HTTP/1.1 503 No\r\n\r\n", "GET /health on port PORT answered 503"),
        (b"HTTP/1.1 301 Moved\r\nlocation: /\r\n\r\n", "GET /health on port PORT answered 301"),
        (b"HTTP/1.1 20000 OK\r\n\r\n", "GET /health on port PORT answered 200"),
        (b"HTTP/1.1 two OK\r\n\r\n", "GET /health on port PORT did not answer as HTTP does"),
        (b"SSH-2.0-OpenSSH\r\n", "GET /health on port PORT did not answer as HTTP does"),
        (b"", "GET /health on port PORT did not answer as HTTP does"),
        (b"x" * 1_000_000, "GET /health on port PORT did not answer as HTTP does"),
        (b"\xff\x00\r\n" * 100, "GET /health on port PORT did not answer as HTTP does"),
        (None, "port PORT did not answer in time"),
    ],
)
def test_answers(answer: bytes | None, told: str | None) -> None:
    found, asked = asyncio.run(answered(answer))
    assert found == told
    assert asked.startswith(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:")


def test_without_a_path_an_open_port_is_enough() -> None:
    assert asyncio.run(answered(b"", path=None)) == (None, b"")


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert asyncio.run(ask(port, None, 30.0)) == f"nothing listens on port {port}"
