"""Asking an instance how it does: whether its port takes a connection, or a path answers with 2xx."""

from __future__ import annotations

import asyncio
import contextlib

from meseta.fleet.driver import LOOPBACK

LARGEST_LINE = 1_024
LONGEST_SECONDS = 5.0
"""How long one question may take at most."""


async def ask(port: int, path: str | None, timeout_seconds: float) -> str | None:
    """Return None when all is well, else what is wrong, as part of a sentence."""
    try:
        async with asyncio.timeout(min(timeout_seconds, LONGEST_SECONDS)):
            return await _ask(port, path)
    except TimeoutError:
        return f"port {port} did not answer in time"
    except OSError:
        return f"nothing listens on port {port}"


async def _ask(port: int, path: str | None) -> str | None:
    reader, writer = await asyncio.open_connection(LOOPBACK, port, limit=LARGEST_LINE)
    try:
        if path is None:
            return None
        head = f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\nAccept: */*\r\n\r\n"
        writer.write(head.encode())
        await writer.drain()
        try:
            words = (await reader.readline()).split(None, 2)
        except ValueError:
            words = []
        if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
            return f"GET {path} on port {port} did not answer as HTTP does"
        if not words[1].startswith(b"2") or len(words[1]) != 3:
            return f"GET {path} on port {port} answered {int(words[1][:3])}"
        return None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
