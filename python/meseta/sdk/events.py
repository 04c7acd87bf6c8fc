"""Server-sent events of a chat stream: bytes in, JSON documents out, and bytes for a document."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DONE = b"data: [DONE]\n\n"
LONGEST_LINE = 16 * 1024 * 1024


class StreamError(ValueError):
    """The bytes are not a stream of chat events."""


class EventReader:
    """Takes bytes as they come and gives the documents that are complete. `done` is set by `[DONE]`."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self.done = False

    def take(self, piece: bytes) -> Iterator[dict[str, Any]]:
        """Give the documents that `piece` completes; StreamError at one that is not JSON or too long."""
        self._rest += piece
        if len(self._rest) + self._size > LONGEST_LINE + len(piece):
            raise StreamError(f"An event has more than {LONGEST_LINE} bytes.")
        if b"\n" not in piece:
            return
        *lines, rest = self._rest.split(b"\n")
        self._rest = rest
        for line in lines:
            document = self._take_line(bytes(line.removesuffix(b"\r")))
            if document is not None:
                yield document

    def _take_line(self, line: bytes) -> dict[str, Any] | None:
        if line.startswith(b"data:"):
            data = line[5:].removeprefix(b" ")
            self._data.append(data)
            self._size += len(data)
            if self._size > LONGEST_LINE:
                raise StreamError(f"An event has more than {LONGEST_LINE} bytes.")
        if line or not self._data:
            # A comment, a field that chat streams do not use, or the end of an event without data.
            return None
        data, self._data, self._size = b"\n".join(self._data), [], 0
        if data == b"[DONE]":
            self.done = True
        return None if self.done else parse_object(data)


def parse_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object in `data`; StreamError when it is none."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StreamError("It is not JSON.") from error
    if not isinstance(document, dict):
        raise StreamError("It is JSON, but no object.")
    return document


def event(document: Mapping[str, Any]) -> bytes:
    """Return one event."""
    return (
        b"data: "
        + json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
        + b"\n\n"
    )
