"""All agents whose processes Meseta runs, on one thread with a loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import secrets
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from meseta.errors import ControlError, MesetaError
from meseta.fleet.crew import Crew
from meseta.fleet.environment import Addresses, told
from meseta.fleet.placement import Placement
from meseta.fleet.process import ProcessDriver
from meseta.fleet.scale import SETTLE_SECONDS, Traffic
from meseta.fleet.sources import look

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from pathlib import Path

    from meseta.config.fleet import AgentSpec
    from meseta.fleet.driver import Driver
    from meseta.fleet.served import Served
    from meseta.renewal import Report

Answer = TypeVar("Answer")

ASK_SECONDS = 30.0
"""How long a question from another thread may take."""


@dataclass(frozen=True)
class Pace:
    """How often the fleet looks, in seconds."""

    tick: float = 0.25
    """At the work of agents, and at what is to be done."""
    watch: float = 1.0
    """At files. A look that takes long is followed by a pause that is twenty times as long."""
    demand: float = 0.5
    """How long one wait for a request that needs an instance may take."""
    refused: float = 1.0
    """Until the plane is told again what it did not take."""
    settle: float = SETTLE_SECONDS
    """What was needed within this time is not stopped yet."""


class Fleet:
    """Runs agents from construction until `stop`. Thread-safe.

    `follow` takes the agents of a configuration. The plane is told of instances in whole placements, one at a
    time, and a request never goes to an instance that it does not know.
    """

    def __init__(
        self,
        plane: Served,
        home: Path,
        report: Report,
        *,
        pace: Pace | None = None,
        driver: Callable[[Path], Driver] = ProcessDriver,
    ) -> None:
        self._plane = plane
        self.report = report
        self._pace = pace or Pace()
        self.driver = driver(home)
        self._tokens: dict[str, str] = {}
        self._addresses = Addresses(None, ())
        self._crews: dict[str, Crew] = {}
        self._asked = 0
        self._known = 0
        """Number of the last change, and of the last one that the plane knows."""
        self._held = False
        self._stopping = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._to_place = asyncio.Event()
        self._progress = asyncio.Condition()
        started = threading.Event()
        # The kernel ends the processes of agents with this thread: it starts them, and outlives them.
        self._thread = threading.Thread(target=self._run, args=(started,), name="meseta-fleet", daemon=True)
        self._demand = threading.Thread(target=self._hear_demand, name="meseta-demand", daemon=True)
        self._thread.start()
        started.wait()
        self._demand.start()

    def follow(self, specs: Sequence[AgentSpec], addresses: Addresses) -> None:
        """Run these agents from now on and no others; return before anything of it is done."""
        self._soon(self._follow, list(specs), addresses)

    def rows(self) -> list[dict[str, Any]]:
        """Return every agent and its instances as plain data; nothing after `stop`."""
        return [] if self._stopping.is_set() else self._ask(self._rows())

    def restart(self, agent: str) -> int:
        """Replace the instances of an agent one after the other; return how many there should be."""
        return self._ask(self._on(agent, lambda crew: crew.restart()))

    def scale(self, agent: str, number: int | None) -> None:
        """Have so many instances; None goes back to what the file says."""
        self._ask(self._on(agent, lambda crew: crew.scale(number)))

    def hold(self) -> None:
        """Start, replace and scale nothing any more: the plane drains."""
        self._soon(self._hold)

    def stop(self) -> None:
        """End all instances at once, and return when nothing of them is left. Further calls do nothing."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._soon(self.changed)
        self._thread.join()
        self._demand.join()

    # What an instance needs; on the loop.

    def changed(self) -> None:
        """Hear that an instance has another state, or that something else is to be looked at."""
        self._asked += 1
        self._changed.set()
        self._to_place.set()

    async def in_force(self) -> None:
        """Return when the plane knows the states that instances have now."""
        wanted = self._asked
        async with self._progress:
            await self._progress.wait_for(lambda: self._known >= wanted or self._stopping.is_set())

    def environment(self, spec: AgentSpec) -> Mapping[str, str]:
        """Return what every instance of this agent is told."""
        token = self._tokens.setdefault(spec.id, secrets.token_urlsafe(32))
        return told(spec.id, token, self._addresses)

    def in_flight(self, target: str) -> int:
        """Return how many requests a target has at this moment."""
        return self._plane.in_flight().get(target, 0)

    # The loop.

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main(started))
        finally:
            self.driver.close()
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _main(self, started: threading.Event) -> None:
        background = [asyncio.create_task(self._place()), asyncio.create_task(self._watch())]
        started.set()
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pace.tick):
                    await self._changed.wait()
            self._changed.clear()
            try:
                self._reconcile()
            except Exception as error:
                # Whatever it was, the instances that there are still serve.
                self.report(f"The agents could not be looked at: {type(error).__name__}: {error}", "warn")
                await asyncio.sleep(self._pace.tick)
        async with self._progress:
            self._progress.notify_all()
        ending = [task for crew in self._crews.values() for task in crew.end()]
        if ending:
            await asyncio.wait(ending)
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)

    def _reconcile(self) -> None:
        if self._held or self._stopping.is_set():
            return
        traffic = self._plane.traffic()
        for name, crew in list(self._crews.items()):
            crew.reconcile(traffic.get(name, Traffic()))
            if crew.over:
                del self._crews[name]
                self.changed()

    async def _place(self) -> None:
        """Tell the plane of every change; changes that come meanwhile are told together."""
        placed: Placement | None = None
        refused = ""
        while True:
            await self._to_place.wait()
            self._to_place.clear()
            wanted, placement = self._asked, self._placement()
            if placement != placed:
                try:
                    if not await asyncio.to_thread(self._plane.place, placement):
                        # It drains, and asks until its end whom it knows now: whoever waits waits on.
                        return
                except Exception as error:
                    if str(error) != refused:
                        refused = str(error)
                        text = refused if isinstance(error, MesetaError) else type(error).__name__
                        self.report(f"The plane did not take the agents' instances: {text}", "warn")
                    await asyncio.sleep(self._pace.refused)
                    self._to_place.set()
                    continue
                placed, refused = placement, ""
            async with self._progress:
                self._known = wanted
                self._progress.notify_all()

    def _placement(self) -> Placement:
        instances = tuple(placed for crew in self._crews.values() for placed in crew.placed())
        digests = {agent: hashlib.sha256(self._tokens[agent].encode()).hexdigest() for agent in self._crews}
        absent = frozenset(name for name, crew in self._crews.items() if crew.absent)
        return Placement(instances, digests, absent)

    async def _watch(self) -> None:
        while True:
            begun = time.monotonic()
            for name, crew in list(self._crews.items()):
                spec = crew.spec
                if not spec.watch or self._held:
                    continue
                marks = await asyncio.to_thread(look, spec.cwd, spec.watch)
                if self._crews.get(name) is crew and crew.spec is spec:
                    crew.saw(marks)
            with contextlib.suppress(OSError):
                # Tried again at the next look.
                self.driver.check()
            took = time.monotonic() - begun
            await asyncio.sleep(max(self._pace.watch, 20 * took))

    def _follow(self, specs: Sequence[AgentSpec], addresses: Addresses) -> None:
        self._addresses = addresses
        named = {spec.id for spec in specs}
        for name, crew in self._crews.items():
            if name not in named:
                crew.dismiss()
        for spec in specs:
            if spec.id in self._crews:
                self._crews[spec.id].adopt(spec)
            else:
                self._crews[spec.id] = Crew(
                    spec, self, random=random.random, settle_seconds=self._pace.settle
                )
        self.changed()

    def _hold(self) -> None:
        self._held = True

    async def _rows(self) -> list[dict[str, Any]]:
        in_flight, traffic = self._plane.in_flight(), self._plane.traffic()
        return [crew.row(traffic.get(name, Traffic()), in_flight) for name, crew in self._crews.items()]

    async def _on(self, agent: str, act: Callable[[Crew], Answer]) -> Answer:
        crew = self._crews.get(agent)
        if crew is None:
            raise ControlError(
                f"Meseta runs no agent {agent!r}. `meseta agents list` shows those that it runs."
            )
        answer = act(crew)
        self.changed()
        return answer

    # Other threads.

    def _hear_demand(self) -> None:
        while not self._stopping.is_set():
            try:
                wanted = self._plane.wanted(self._pace.demand)
            except Exception:
                wanted = []
            if wanted:
                self._soon(self._want, wanted)
            # A request that waits is named again and again; and a plane that has stopped does not wait.
            self._stopping.wait(0.1)

    def _want(self, agents: Sequence[str]) -> None:
        for agent in agents:
            if agent in self._crews:
                self._crews[agent].want()
        self._changed.set()

    def _soon(self, call: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):
            # The loop may be closed already.
            self._loop.call_soon_threadsafe(call, *arguments)

    def _ask(self, question: Coroutine[Any, Any, Answer]) -> Answer:
        if self._stopping.is_set():
            question.close()
            raise ControlError("The agents have been stopped.")
        try:
            return asyncio.run_coroutine_threadsafe(question, self._loop).result(ASK_SECONDS)
        except (RuntimeError, TimeoutError):
            question.close()
            raise ControlError("The agents are being stopped.") from None
