"""Ask the sources of prices and latencies again, in a thread, while what they said last counts.

Standard library only. A failure is told and changes nothing; it never ends the thread and never the process.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meseta.config.metrics import Metrics, Source

    Level = Literal["info", "warn"]
    Measure = Callable[[Sequence[Source]], tuple[Metrics, dict[str, str]]]
    Report = Callable[[str, Level], None]

LONGEST_SLEEP_SECONDS = 30.0
"""How long the thread sleeps at most, because a laptop may be closed."""


class Refresh:
    """Watches the sources of the configuration in force."""

    def __init__(
        self, measure: Measure, put: Callable[[int, Sequence[Source], Metrics], None], report: Report
    ) -> None:
        self._measure = measure
        self._put = put
        """Puts what the sources said in force, unless their generation is no longer followed."""
        self._report = report
        self._changed = threading.Condition()
        self._due: dict[Source, float] = {}
        self._generation = 0
        self._stopped = False
        self._thread: threading.Thread | None = None

    def follow(self, sources: Sequence[Source]) -> int:
        """Ask these sources from now on, and no others; return the number of this generation.

        They were asked just now. The thread begins with the first source that is asked again.
        """
        with self._changed:
            self._generation += 1
            now = time.monotonic()
            self._due = {
                source: now + source.refresh_seconds
                for source in sources
                if source.refresh_seconds is not None
            }
            if self._due and self._thread is None and not self._stopped:
                self._thread = threading.Thread(target=self._run, name="meseta-metrics", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return self._generation

    def stop(self) -> None:
        """End the thread; a question under way ends by itself and changes nothing any more."""
        with self._changed:
            self._stopped = True
            self._generation += 1
            self._changed.notify_all()

    def join(self) -> None:
        """Wait until the thread has ended, after `stop`."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopped:
                    return
                now = time.monotonic()
                due = [source for source, when in self._due.items() if when <= now]
                if not due:
                    soonest = min((when - now for when in self._due.values()), default=None)
                    self._changed.wait(None if soonest is None else min(soonest, LONGEST_SLEEP_SECONDS))
                    continue
                for source in due:
                    self._due[source] = now + (source.refresh_seconds or 0)
                generation = self._generation
            try:
                metrics, failed = self._measure(due)
                if generation != self._generation:
                    continue
                if metrics.prices or metrics.latencies:
                    self._put(generation, due, metrics)
            except Exception as error:
                # Whatever it was, what was said last counts and the next question may be answered.
                failed = {source.key: f"{type(error).__name__}: {error}" for source in due}
            for source in due:
                if source.key in failed:
                    reason = failed[source.key].rstrip(".")
                    self._report(
                        f"{source.url} could not be asked: {reason}; what it said last counts.", "warn"
                    )
