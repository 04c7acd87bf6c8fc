"""One instance of an agent, from its first start to its end: started, probed, started again, drained."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from meseta.fleet.backoff import Failures
from meseta.fleet.driver import CannotStartError
from meseta.fleet.placement import target_name
from meseta.fleet.probe import LONGEST_SECONDS, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from meseta.config.fleet import AgentSpec
    from meseta.fleet.driver import Driver, Handle
    from meseta.renewal import Report

QUIET_SECONDS = 0.1
"""Between two looks at whether an instance has requests; a request may be on its way to it at the first."""
RECONSIDER_SECONDS = 5.0
"""How often an instance that is not asked whether it lives looks whether it is to be asked from now on."""


class State(StrEnum):
    """Where an instance is in its life."""

    PENDING = "pending"
    """It will be started in a moment."""
    STARTING = "starting"
    """Its process runs and is not ready yet."""
    READY = "ready"
    """It can be asked."""
    BUSY = "busy"
    """It is ready and has requests."""
    DRAINING = "draining"
    """It gets no new requests, ends those that it has, and then itself."""
    STOPPED = "stopped"
    """It has ended, as it was told to."""
    FAILED = "failed"
    """It ended, or was ended, for a reason; it will be started again."""


class Surroundings(Protocol):
    """What an instance needs of the fleet."""

    driver: Driver
    report: Report

    def changed(self) -> None:
        """Hear that an instance has another state."""

    async def in_force(self) -> None:
        """Return when the plane knows the states that instances have now."""

    def environment(self, spec: AgentSpec) -> Mapping[str, str]:
        """Return what every instance of this agent is told."""

    def in_flight(self, target: str) -> int:
        """Return how many requests a target has."""


@dataclass
class Instance:
    """One number of an agent; starts its process again until it is told to end. Used on the fleet's loop."""

    number: int
    spec: AgentSpec
    generation: int
    """Which code and settings it has; another one is another instance."""
    around: Surroundings = field(repr=False)
    random: Callable[[], float] = field(repr=False)
    state: State = State.PENDING
    since: float = 0.0
    """When it came into this state, seconds since 1970."""
    why: str | None = None
    """What the last failure was."""
    again_at: float | None = None
    """When it is started again, seconds since 1970."""
    handle: Handle | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.since = time.time()
        self.failures = Failures(self.random)
        self._loop = asyncio.get_running_loop()
        self._retired: asyncio.Future[None] = self._loop.create_future()
        self._at_once: asyncio.Future[None] = self._loop.create_future()

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.spec.id}/{self.number}"

    @property
    def target(self) -> str:
        """The name of its target."""
        return target_name(self.spec.id, self.number)

    @property
    def retiring(self) -> bool:
        """Whether it was told to end."""
        return self._retired.done()

    def retire(self, *, at_once: bool = False) -> None:
        """Have it end when it has no more requests, or with `at_once` whatever it has."""
        for told in (self._retired, self._at_once) if at_once else (self._retired,):
            if not told.done():
                told.set_result(None)

    async def live(self) -> None:
        """Until it was told to end and has ended."""
        try:
            while not self.retiring:
                try:
                    why = await self._once()
                except Exception as error:
                    # A defect of ours must not become a loop without a pause.
                    why = f"could not be looked after: {type(error).__name__}: {error}"
                if why is None:
                    self.around.report(f"Agent {self.name} has ended.", "info")
                    break
                await self._rest(why)
        finally:
            self._become(State.STOPPED)

    async def _once(self) -> str | None:
        """Return why it failed, or None when it was told to end."""
        # The plane must know its token before it makes its first call.
        await self.around.in_force()
        if self.retiring:
            return None
        try:
            handle = self.around.driver.start(self.spec, self.number, self.around.environment(self.spec))
        except CannotStartError as error:
            return str(error)
        self.handle = handle
        # Why the one before failed is told until this one is ready.
        self._become(State.STARTING, self.why)
        try:
            why = await self._readiness(handle)
            if why is None and not self.retiring:
                self._become(State.READY)
                self.around.report(f"Agent {self.name} is ready on port {handle.port}.", "info")
                why = await self._service(handle)
            if why is None:
                self._become(State.DRAINING)
                await self._quiet(handle)
            else:
                self._become(State.FAILED, why)
            return why
        finally:
            if not await handle.stop(self.spec.grace_ms / 1000):
                grace = self.spec.grace_ms / 1000
                self.around.report(
                    f"Agent {self.name} ignored SIGTERM for {grace:g} s and was killed.", "warn"
                )
            self.handle = None

    async def _readiness(self, handle: Handle) -> str | None:
        """Return None when it can be asked or was told to end, else why it cannot."""
        limit = self.spec.ready.timeout_ms / 1000
        deadline = self._loop.time() + limit
        problem = "it did not answer in time"
        while True:
            asking = asyncio.create_task(ask(handle.port, self.spec.ready.path, LONGEST_SECONDS))
            left = max(deadline - self._loop.time(), 0.0)
            await self._either(handle, left, asking)
            if self.retiring or handle.ended.done():
                asking.cancel()
                return None if self.retiring else handle.ended.result()
            if asking.done():
                answer = asking.result()
                if answer is None:
                    return None
                problem = answer
            asking.cancel()
            if self._loop.time() >= deadline:
                return f"was not ready within {limit:g} s: {problem}"
            await self._either(handle, self.spec.ready.interval_ms / 1000)

    async def _service(self, handle: Handle) -> str | None:
        """Return None when it was told to end, else why it cannot go on."""
        missed = 0
        while True:
            live = self.spec.live
            await self._either(handle, RECONSIDER_SECONDS if live is None else live.interval_ms / 1000)
            if self.retiring:
                return None
            if handle.ended.done():
                return handle.ended.result()
            if live is None:
                continue
            problem = await ask(handle.port, live.path, max(live.interval_ms / 1000, 1.0))
            missed = 0 if problem is None else missed + 1
            if missed >= live.failures:
                return f"did not show {missed} times in a row that it lives: {problem}"

    async def _quiet(self, handle: Handle) -> None:
        """Return when it has no requests, or the time for that is over, or it ended."""
        deadline = self._loop.time() + self.spec.drain_ms / 1000
        await self.around.in_force()
        quiet = False
        while not handle.ended.done() and not self._at_once.done():
            was, quiet = quiet, self.around.in_flight(self.target) == 0
            if was and quiet:
                return
            if self._loop.time() >= deadline:
                text = f"Agent {self.name} still had requests when its time to drain was over."
                self.around.report(text, "warn")
                return
            events: set[asyncio.Future[Any]] = {handle.ended, self._at_once}
            await asyncio.wait(events, timeout=QUIET_SECONDS, return_when=asyncio.FIRST_COMPLETED)

    async def _rest(self, why: str) -> None:
        """Wait before the next attempt."""
        was_loop = self.failures.crash_loop
        pause = self.failures.add(self._loop.time(), self.spec.restart)
        self.again_at = time.time() + pause
        self._become(State.FAILED, why)
        loop = ""
        if self.failures.crash_loop and not was_loop:
            loop = f" That is a crash loop: {self.failures.recent} failures."
        self.around.report(f"Agent {self.name} {why}.{loop} Next attempt in {pause:.1f} s.", "warn")
        # Out of the plane first: it forgets with the target how badly that one did.
        await self.around.in_force()
        await asyncio.wait({self._retired}, timeout=pause)
        self.again_at = None
        if not self.retiring:
            self._become(State.PENDING, why)

    async def _either(self, handle: Handle, seconds: float, *more: asyncio.Future[str | None]) -> None:
        """Wait until it ended, was told to end, or one of the others is done."""
        events: set[asyncio.Future[Any]] = {handle.ended, self._retired, *more}
        await asyncio.wait(events, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    def _become(self, state: State, why: str | None = None) -> None:
        if state is not self.state:
            self.since = time.time()
        self.state = state
        self.why = why
        self.around.changed()
