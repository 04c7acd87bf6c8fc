"""What `meseta up` says of targets that stop and begin to answer, and of a model that fails to choose."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from meseta.cli.running import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Said = tuple[str, Literal["info", "warn"]]

AWAY = {"resting", "trial"}
"""States in which a target gets no requests, or a single one to see how it is."""

MOST_LINES = 8
"""When many targets change at once, for a network that is gone, this many are named."""

CHOOSER_SECONDS = 60.0
"""How long nothing more is said of choices that failed, once it was said."""


class Incidents:
    """Compares the state of the plane with that of the last look: one line for each change."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._away: set[str] = set()
        self._failed = 0
        self._silent_until = 0.0

    def look(self, targets: Sequence[Mapping[str, Any]], choices: Mapping[str, int]) -> list[Said]:
        """Return what there is to say, with its level."""
        said = [*self._changes(targets)]
        more = len(said) - MOST_LINES
        if more > 0:
            said[MOST_LINES:] = [(f"{more} more changed; `meseta health` shows all.", "warn")]
        return [*said, *self._choices(choices)]

    def _changes(self, targets: Sequence[Mapping[str, Any]]) -> Iterator[Said]:
        away = {target["name"]: target for target in targets if target["state"] in AWAY}
        for name, target in away.items():
            if name not in self._away:
                yield f"{_whose(name)} rests{_why(target)}.", "warn"
        known = {target["name"] for target in targets}
        for name in sorted(self._away & known - away.keys()):
            yield f"{_whose(name)} is back.", "info"
        self._away = set(away)

    def _choices(self, choices: Mapping[str, int]) -> Iterator[Said]:
        kinds = {
            kind: choices.get(f"model.{kind}", 0) for kind in ("failed", "late", "unreadable", "resting")
        }
        failed, now = sum(kinds.values()), self._clock()
        if failed < self._failed:
            # Another plane.
            self._failed = 0
        if failed == self._failed or now < self._silent_until:
            return
        counts = ", ".join(f"{kind} {count}" for kind, count in kinds.items() if count)
        times = failed - self._failed
        message = f"The chooser's model could not choose {times} times; the steps after it decided."
        yield f"{message} Since the start: {counts}.", "warn"
        self._failed, self._silent_until = failed, now + CHOOSER_SECONDS


def _whose(name: str) -> str:
    """Return an instance of an agent as what it is, and any other target by its name."""
    kind, _, rest = name.partition("/")
    agent, _, number = rest.rpartition("/")
    if kind == "agent" and agent:
        return f"Instance {clean(number, 20)} of the agent {clean(agent, 64)}"
    return f"The target {clean(name, 100)}"


def _why(target: Mapping[str, Any]) -> str:
    failures = target["failures"]
    row = f" after {failures} failures in a row" if failures > 1 else ""
    return row + (f" ({clean(target['cause'], 100)})" if target["cause"] else "")
