"""How many instances an agent should have: a bound below, a bound above, and its work between them."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from meseta.config.fleet import AgentSpec

SETTLE_SECONDS = 60.0
"""What was needed at any moment of this time is not stopped yet: load comes in waves."""


class Traffic(NamedTuple):
    """What an agent has to do at this moment."""

    waiting: int = 0
    """Requests that wait for an instance."""
    in_flight: int = 0
    """Requests under way."""
    last_request_seconds: float | None = None
    """How long ago the last request came; None when none did."""


class Scaler:
    """Remembers the need of one agent; times are those of a monotonic clock, in seconds."""

    def __init__(self, now: float, settle_seconds: float = SETTLE_SECONDS) -> None:
        self._settle = settle_seconds
        self._needs: deque[tuple[float, int]] = deque()
        """Needs that fall, each with the last moment at which there was so much; the first is the largest."""
        self._wanted_at: float | None = None
        """When there was last a reason to have an instance although the bound below is none."""
        self._since = now
        self.pinned: int | None = None
        """A number that an operator asked for; it wins over everything."""

    def want(self, now: float) -> None:
        """Hear that a request waits."""
        self._wanted_at = now

    def desired(self, spec: AgentSpec, traffic: Traffic, now: float) -> int:
        """Return how many there should be."""
        replicas = spec.replicas
        work = traffic.in_flight + traffic.waiting
        if work:
            self._wanted_at = now
        if traffic.last_request_seconds is not None:
            asked_at = now - traffic.last_request_seconds
            if asked_at >= self._since:
                self._wanted_at = max(asked_at, self._wanted_at or asked_at)
        if self.pinned is not None:
            return self.pinned
        need = math.ceil(work / replicas.target_in_flight)
        settle = self._settle if spec.idle_ms is None else min(self._settle, spec.idle_ms / 1000)
        need = max(self._settled(need, now, settle), self._awake(spec, now))
        return max(replicas.minimum, min(need, replicas.maximum))

    def _settled(self, need: int, now: float, settle: float) -> int:
        """Return the largest need of the last `settle` seconds."""
        while self._needs and self._needs[-1][1] <= need:
            self._needs.pop()
        self._needs.append((now, need))
        while self._needs[0][0] < now - settle:
            self._needs.popleft()
        return self._needs[0][1]

    def _awake(self, spec: AgentSpec, now: float) -> int:
        """Return 1 while the agent is, or was not long ago, in use."""
        if self._wanted_at is None:
            return 0
        return 1 if spec.idle_ms is None or now - self._wanted_at < spec.idle_ms / 1000 else 0
