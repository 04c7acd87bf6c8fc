"""A progress bar on standard error, where somebody looks at it."""

from __future__ import annotations

import sys
import time

WIDTH = 24
EVERY_SECONDS = 0.1


class Progress:
    """Shows how much of some work is done; does nothing where standard error is no terminal."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total = title, total
        self._shown = sys.stderr.isatty()
        self._next = 0.0

    def __call__(self, done: int) -> None:
        """Note that so much is done."""
        now = time.monotonic()
        if not self._shown or (now < self._next and done < self.total):
            return
        self._next = now + EVERY_SECONDS
        filled = WIDTH * min(done, self.total) // max(self.total, 1)
        bar = "█" * filled + "░" * (WIDTH - filled)
        print(f"\r{self.title} {bar} {done}/{self.total}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Take the bar away."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
