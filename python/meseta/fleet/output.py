"""What agents print: a bounded file for each instance, and reading it."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = "agents"
LONGEST_LINE = 200
"""Letters of the last line that are told when an instance failed."""
_BLOCK = 65_536
_REMEMBERED = 1_024


def folder_of(home: Path, agent: str) -> Path:
    """Return where the output of an agent is; raise ValueError for an id that would lead elsewhere."""
    if not agent or agent in {".", ".."} or "/" in agent or "\0" in agent:
        raise ValueError(f"{agent!r} is not the id of an agent.")
    return home / FOLDER / agent


def file_of(home: Path, agent: str, number: int) -> Path:
    """Return the newer of the two files of an instance; the older one ends in `.1`."""
    return folder_of(home, agent) / f"{number}.log"


def older(file: Path) -> Path:
    """Return where `file` goes when it is full."""
    return file.with_name(file.name + ".1")


class Output:
    """Writes what one instance prints; the two files together never hold more than `most` bytes.

    A disk that is full loses output and nothing else.
    """

    def __init__(self, file: Path, most: int) -> None:
        self._file = file
        self._half = max(most // 2, 1)
        self._descriptor: int | None = None
        self._size = 0
        self._end = b""
        with contextlib.suppress(OSError):
            file.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.parent.mkdir(mode=0o700, exist_ok=True)
            self._open()

    @property
    def last_line(self) -> str:
        """The last line that was printed and is not empty, as a terminal may show it."""
        lines = self._end.decode("utf-8", "replace").split("\n")
        shown = ("".join(letter for letter in line if letter.isprintable()).strip() for line in lines)
        return next((line for line in reversed(list(shown)) if line), "")[:LONGEST_LINE]

    def write(self, data: bytes) -> None:
        """Append what the instance printed."""
        self._end = (self._end + data[-_REMEMBERED:])[-_REMEMBERED:]
        self._append(data)

    def _append(self, data: bytes) -> None:
        """Begin a new file whenever one is full."""
        with contextlib.suppress(OSError):
            while data:
                room = self._half - self._size
                if room <= 0:
                    self._rotate()
                    continue
                written = self._write(data[:room])
                data = data[written:]

    def note(self, text: str) -> None:
        """Append a line of our own."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._append(f"[meseta] {moment} {text}\n".encode())

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, data: bytes) -> int:
        descriptor = self._open() if self._descriptor is None else self._descriptor
        written = os.write(descriptor, data)
        self._size += written
        return written

    def _rotate(self) -> None:
        self.close()
        self._file.replace(older(self._file))
        self._open()

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._file, flags, 0o600)
        self._size = os.fstat(self._descriptor).st_size
        return self._descriptor


def numbers(home: Path, agent: str) -> list[int]:
    """Return the instances of an agent that have printed something, in order."""
    with contextlib.suppress(OSError):
        names = [entry.name.removesuffix(".1") for entry in os.scandir(folder_of(home, agent))]
        return sorted({int(name[:-4]) for name in names if name.endswith(".log") and name[:-4].isdigit()})
    return []


def tail(file: Path, lines: int) -> bytes:
    """Return the last lines that an instance printed, from both of its files."""
    newer = _tail_of(file, lines)
    missing = lines - newer.count(b"\n") - (not newer.endswith(b"\n") and bool(newer))
    return _tail_of(older(file), missing) + newer if missing > 0 else newer


def _tail_of(file: Path, lines: int) -> bytes:
    if lines <= 0:
        return b""
    with contextlib.suppress(OSError), file.open("rb") as stream:
        at = stream.seek(0, os.SEEK_END)
        content = b""
        # One more line break than lines: the one before the first of them.
        while at > 0 and content.count(b"\n") <= lines:
            step = min(_BLOCK, at)
            at = stream.seek(at - step)
            content = stream.read(step) + content
        whole = content.split(b"\n")
        # What comes after the last line break is a line only when there is something.
        return b"\n".join(whole[-lines - (not whole[-1]) :])
    return b""


class Follower:
    """Reads on in a file that grows, and over to the next one when it was replaced."""

    def __init__(self, file: Path, *, at_end: bool) -> None:
        self._file = file
        self._inode: int | None = None
        self._at = 0
        with contextlib.suppress(OSError):
            status = file.stat()
            self._inode, self._at = status.st_ino, status.st_size if at_end else 0

    def read(self) -> Iterator[bytes]:
        """Yield what was printed since the last time, in pieces."""
        with contextlib.suppress(OSError):
            status = self._file.stat()
            if self._inode is not None and status.st_ino != self._inode:
                yield from self._rest_of(older(self._file), self._inode)
                self._at = 0
            elif status.st_size < self._at:
                self._at = 0
            self._inode = status.st_ino
            yield from self._rest_of(self._file, status.st_ino)

    def _rest_of(self, file: Path, inode: int) -> Iterator[bytes]:
        with contextlib.suppress(OSError), file.open("rb") as stream:
            if os.fstat(stream.fileno()).st_ino != inode:
                return
            stream.seek(self._at)
            while piece := stream.read(_BLOCK):
                self._at += len(piece)
                yield piece
