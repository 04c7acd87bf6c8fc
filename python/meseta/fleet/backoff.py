"""When an instance that failed is started again, and when its failures are a crash loop."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from meseta.config.fleet import Restart

_MOST_REMEMBERED = 64


class Failures:
    """The failures of one instance; times are those of a monotonic clock, in seconds."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        """A number from 0 up to 1."""
        self._times: deque[float] = deque(maxlen=_MOST_REMEMBERED)
        self.crash_loop = False
        """Whether the last failure was one of too many."""
        self.total = 0

    @property
    def recent(self) -> int:
        """How many there were within the window that ended with the last of them."""
        return len(self._times)

    def add(self, now: float, restart: Restart) -> float:
        """Count a failure and return the pause before the next attempt, in seconds.

        Between half of the full pause and all of it, so that what fell together does not rise together.
        """
        self.total += 1
        self._times.append(now)
        while self._times[0] <= now - restart.window_ms / 1000:
            self._times.popleft()
        self.crash_loop = self.recent >= restart.crash_loop_failures
        full = min(restart.base_ms * 2.0 ** (self.recent - 1), restart.max_ms)
        if self.crash_loop:
            full = float(restart.max_ms)
        return full / 1000 * (0.5 + self._random() / 2)
