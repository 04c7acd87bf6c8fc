"""The process that outlives Meseta by a moment, to end what Meseta started."""

from __future__ import annotations

import secrets
import subprocess
import sys
from pathlib import Path

MARK_NAME = "MESETA_FLEET"
"""The variable by which the guardian knows a process of an agent that left its process group."""


class Guardian:
    """Tells one process which groups there are; starts it again when it is gone. Used by one thread."""

    def __init__(self) -> None:
        self.mark = secrets.token_hex(16)
        """The value of `MARK_NAME` for every process of this fleet; no secret."""
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: set[int] = set()

    @property
    def pid(self) -> int | None:
        """The guardian's process, None while there is none."""
        return None if self._process is None else self._process.pid

    def ensure(self) -> None:
        """Start it unless it runs; raise OSError when that is not possible."""
        if self._process is not None and self._process.poll() is None:
            return
        self._forget()
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )
        # Whoever sees it there may count on it: it has heard of all groups.
        _tell(process, "".join([f"{MARK_NAME}={self.mark}\n", *(f"+{group}\n" for group in self._groups)]))
        self._process = process

    def add(self, group: int) -> None:
        """Have this process group killed when we are gone."""
        self._groups.add(group)
        _tell(self._process, f"+{group}\n")

    def remove(self, group: int) -> None:
        """Say that the group has ended; its number may soon be somebody else's."""
        self._groups.discard(group)
        _tell(self._process, f"-{group}\n")

    def close(self) -> None:
        """Let it kill what is left, and wait for its end."""
        self._forget()

    def _forget(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.communicate(timeout=10)
        except (OSError, ValueError):
            process.wait()
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _tell(process: subprocess.Popen[bytes] | None, text: str) -> None:
    if process is None or process.stdin is None:
        return
    try:
        process.stdin.write(text.encode())
        process.stdin.flush()
    except (OSError, ValueError):
        # It was killed; `ensure` starts the next one, which hears of all groups.
        return
