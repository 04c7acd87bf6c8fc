"""Renew credentials before they expire, in a thread, while the old ones still serve.

Standard library only. A failure is told and tried again; it never ends the thread and never the process.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Literal

from meseta.config.credentials import Credential, CredentialError, Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meseta.config.credentials import Request

    Level = Literal["info", "warn"]
    Fetch = Callable[[Sequence[Request]], list[Credential | CredentialError]]
    Report = Callable[[str, Level], None]

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
"""Between two attempts: doubled after each failure, up to the second."""

LONGEST_SLEEP_SECONDS = 30.0
"""How long the thread sleeps at most, because the clock may be set and a laptop may be closed."""


class _Held:
    """A lease and what became of the attempts to renew it."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.failures = 0
        self.next_attempt = lease.due

    def failed(self, now: float) -> float:
        """Count a failure and return the pause until the next attempt."""
        pause = min(FIRST_PAUSE_SECONDS * 2.0**self.failures, LONGEST_PAUSE_SECONDS)
        # Bounded, so that the power above cannot overflow in a long outage.
        self.failures = min(self.failures + 1, 16)
        self.next_attempt = now + pause
        return pause


class Renewal:
    """Watches the leases of the configuration in force."""

    def __init__(
        self,
        fetch: Fetch,
        put: Callable[[int, Sequence[tuple[Lease, Credential]]], bool],
        report: Report,
    ) -> None:
        self._fetch = fetch
        self._put = put
        """Puts credentials in force; False when the leases of that generation are no longer followed."""
        self._report = report
        self._changed = threading.Condition()
        self._held: list[_Held] = []
        self._generation = 0
        self._stopped = False
        self._thread: threading.Thread | None = None

    def follow(self, leases: Sequence[Lease]) -> int:
        """Watch these leases from now on, and no others; return the number of this generation.

        The thread begins with the first lease, so that a plane without one has no thread.
        """
        with self._changed:
            self._generation += 1
            self._held = [_Held(lease) for lease in leases]
            if self._held and self._thread is None and not self._stopped:
                self._thread = threading.Thread(target=self._run, name="meseta-credentials", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return self._generation

    def stop(self) -> None:
        """End the thread; a fetch under way ends by itself and changes nothing any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.time()
                due = [held for held in self._held if held.next_attempt <= now]
                if self._stopped:
                    return
                if not due:
                    soonest = min((held.next_attempt - now for held in self._held), default=None)
                    limit = LONGEST_SLEEP_SECONDS if soonest is None else min(soonest, LONGEST_SLEEP_SECONDS)
                    self._changed.wait(None if soonest is None else limit)
                    continue
                generation = self._generation
            try:
                self._renew(due, generation)
            except Exception as error:
                # Whatever it was, the credentials in force still serve and the next attempt may work.
                self._failed(due, f"{type(error).__name__}: {error}")

    def _renew(self, due: list[_Held], generation: int) -> None:
        outcomes = self._fetch([held.lease.request for held in due])
        got: list[tuple[_Held, Credential]] = []
        for held, outcome in zip(due, outcomes, strict=True):
            if isinstance(outcome, CredentialError):
                self._failed([held], str(outcome))
            else:
                got.append((held, outcome))
        if not got or not self._put(generation, [(held.lease, credential) for held, credential in got]):
            return
        for held, credential in got:
            self._renewed(held, credential, generation)

    def _renewed(self, held: _Held, credential: Credential, generation: int) -> None:
        with self._changed:
            if generation != self._generation:
                return
            self._held.remove(held)
            following = held.lease.renewed(credential.expires)
            if following is not None:
                successor = _Held(following)
                # A source may hand out the same credential until shortly before its end.
                successor.next_attempt = max(successor.next_attempt, time.time() + FIRST_PAUSE_SECONDS)
                self._held.append(successor)
        self._report(f"Renewed the credentials of {_named(held.lease)}.", "info")

    def _failed(self, attempts: list[_Held], reason: str) -> None:
        for held in attempts:
            now = time.time()
            with self._changed:
                pause = held.failed(now)
            left = held.lease.expires - now
            state = f"the ones in use last {left:.0f} s more" if left > 0 else "the ones in use have expired"
            self._report(
                f"The credentials of {_named(held.lease)} could not be renewed: {reason.rstrip('.')}; "
                f"{state}. Next attempt in {pause:.0f} s.",
                "warn",
            )


def _named(lease: Lease) -> str:
    more = len(lease.targets) - 3
    return ", ".join(lease.targets[:3]) + (f" and {more} more" if more > 0 else "")
