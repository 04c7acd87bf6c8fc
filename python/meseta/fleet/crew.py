"""All instances of one agent: how many there are, and which code and settings they have."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from meseta.errors import ControlError
from meseta.fleet.instance import Instance, State
from meseta.fleet.placement import Placed
from meseta.fleet.plan import Seen, step
from meseta.fleet.scale import Scaler
from meseta.fleet.sources import Marks, Sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from meseta.config.fleet import AgentSpec
    from meseta.fleet.instance import Surroundings
    from meseta.fleet.scale import Traffic

MOST_INSTANCES = 1_000
"""How many instances an operator may ask for, as many as the file may say."""

_TELLING = (State.STARTING, State.PENDING, State.DRAINING)
"""The states that say how an agent does that is neither ready nor failing, the best one first."""


class Crew:
    """Brings the instances of an agent to what they should be; used on the fleet's loop."""

    def __init__(
        self,
        spec: AgentSpec,
        around: Surroundings,
        *,
        random: Callable[[], float],
        settle_seconds: float,
    ) -> None:
        self.spec = spec
        self._around = around
        self._random = random
        self._generation = 1
        self._told = dict(around.environment(spec))
        self._instances: dict[int, Instance] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._scaler = Scaler(_now(), settle_seconds)
        self._sources: Sources | None = None
        self._dismissed = False
        self._desired = 0
        self.absent = False
        """Whether no instance can be ready before a request that waits for one has to give up."""

    @property
    def over(self) -> bool:
        """Whether the agent is no more and nothing of it is left."""
        return self._dismissed and not self._instances

    def adopt(self, spec: AgentSpec) -> None:
        """Take over what the configuration says now; instances are replaced if their process would differ."""
        old, self.spec = self.spec, spec
        told = dict(self._around.environment(spec))
        if _process(old) != _process(spec) or told != self._told:
            self._generation += 1
        self._told = told
        if old.replicas != spec.replicas:
            self._scaler.pinned = None
        if (old.cwd, old.watch) != (spec.cwd, spec.watch):
            self._sources = None
        for instance in self._instances.values():
            if instance.generation == self._generation:
                instance.spec = spec
        self._dismissed = False

    def dismiss(self) -> None:
        """Let it come to its end: the configuration has the agent no more."""
        self._dismissed = True

    def restart(self) -> int:
        """Replace every instance, one after the other; return how many there should be."""
        self._generation += 1
        return self._desired

    def scale(self, number: int | None) -> None:
        """Have so many instances whatever the work is; None goes back to what the file says."""
        most = self.spec.replicas.maximum if self.spec.port else MOST_INSTANCES
        if number is not None and not 0 <= number <= most:
            why = " Its entry has `port`, and ports for no more." if self.spec.port else ""
            raise ControlError(f"Agent {self.spec.id} can have 0 to {most} instances.{why}")
        self._scaler.pinned = number

    def want(self) -> None:
        """Hear that a request waits for an instance."""
        self._scaler.want(_now())

    def saw(self, marks: Marks) -> None:
        """Hear how the watched files look."""
        if self._sources is None:
            self._sources = Sources(marks)
        elif self._sources.changed(marks):
            self._generation += 1
            self._around.report(f"Files of agent {self.spec.id} changed; restarting it.", "info")

    def reconcile(self, traffic: Traffic) -> None:
        """Do the next step."""
        self._desired = 0 if self._dismissed else self._scaler.desired(self.spec, traffic, _now())
        seen = [
            Seen(
                instance.number,
                instance.generation == self._generation,
                instance.state is State.READY,
                instance.retiring,
            )
            for instance in self._instances.values()
        ]
        # Each needs a port of its own while it drains, too.
        todo = step(seen, self._desired, len(self.spec.ports) or None)
        for number in todo.retire:
            self._instances[number].retire()
        for number in todo.start:
            self._start(number)
        absent = self._is_absent()
        if absent != self.absent:
            self.absent = absent
            self._around.changed()

    def end(self) -> list[asyncio.Task[None]]:
        """End all instances at once; return what to wait for."""
        self._dismissed = True
        for instance in self._instances.values():
            instance.retire(at_once=True)
        return list(self._tasks.values())

    def placed(self) -> Iterator[Placed]:
        """Yield the instances that the plane must know."""
        for instance in self._instances.values():
            if instance.handle is not None and instance.state in {State.READY, State.DRAINING}:
                member = instance.state is State.READY
                yield Placed(
                    self.spec.id, instance.number, instance.handle.port, member, instance.spec.target
                )

    def row(self, traffic: Traffic, in_flight: Mapping[str, int]) -> dict[str, Any]:
        """Return all of it as plain data; `in_flight` has those of each target that the plane knows."""
        instances = [_row(one, in_flight) for _, one in sorted(self._instances.items())]
        ready = sum(row["state"] in {State.READY, State.BUSY} for row in instances)
        since = traffic.last_request_seconds
        return {
            "id": self.spec.id,
            "driver": "process",
            "state": self._state({_state(one, in_flight) for one in self._instances.values()}, traffic),
            "ready": ready,
            "desired": self._desired,
            "minimum": self.spec.replicas.minimum,
            "maximum": self.spec.replicas.maximum,
            "pinned": self._scaler.pinned,
            "crash_loop": any(one.failures.crash_loop for one in self._failing()),
            "generation": self._generation,
            "rollout": self._rollout(),
            "in_flight": traffic.in_flight,
            "waiting": traffic.waiting,
            "last_request_ms_ago": None if since is None else round(since * 1000),
            "instances": instances,
        }

    def _is_absent(self) -> bool:
        if self._scaler.pinned == 0:
            return True
        until = time.time() + self.spec.hold_ms / 1000
        resting = [one.again_at for one in self._instances.values() if one.again_at is not None]
        return bool(resting) and len(resting) == len(self._instances) and min(resting) > until

    def _start(self, number: int) -> None:
        instance = Instance(number, self.spec, self._generation, self._around, self._random)
        self._instances[number] = instance
        task = asyncio.create_task(instance.live(), name=f"agent {instance.name}")
        self._tasks[number] = task
        task.add_done_callback(lambda task: self._forget(number, task))

    def _forget(self, number: int, task: asyncio.Task[None]) -> None:
        del self._instances[number], self._tasks[number]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._around.report(f"Agent {self.spec.id}/{number}: {type(error).__name__}: {error}", "warn")
        self._around.changed()

    def _rollout(self) -> dict[str, Any] | None:
        """Return how far the replacing of older instances is; None when none of them is to stay."""
        old = [one for one in self._instances.values() if one.generation != self._generation]
        if all(one.retiring for one in old):
            return None
        new = [one for one in self._instances.values() if one.generation == self._generation]
        failing = [one for one in self._failing() if one in new]
        return {
            "replaced": sum(one.state is State.READY and not one.retiring for one in new),
            "of": self._desired,
            "failed": any(one.failures.crash_loop for one in failing),
            "why": next((one.why for one in failing if one.why), None),
        }

    def _failing(self) -> list[Instance]:
        return [
            one
            for one in self._instances.values()
            if one.state is State.FAILED
            or (one.state not in {State.READY, State.DRAINING} and one.failures.total)
        ]

    def _state(self, states: set[State], traffic: Traffic) -> str:
        if not states.isdisjoint((State.READY, State.BUSY)):
            return State.BUSY if traffic.in_flight > 0 else State.READY
        if self._failing():
            return State.FAILED
        return next((state for state in _TELLING if state in states), State.STOPPED)


def _state(one: Instance, in_flight: Mapping[str, int]) -> State:
    """Return the state that people see: nobody can ask an instance that the plane does not know yet."""
    if one.state is not State.READY:
        return one.state
    if one.target not in in_flight:
        return State.STARTING
    return State.BUSY if in_flight[one.target] else State.READY


def _row(one: Instance, in_flight: Mapping[str, int]) -> dict[str, Any]:
    left = None if one.again_at is None else max(0, round((one.again_at - time.time()) * 1000))
    return {
        "number": one.number,
        "state": _state(one, in_flight),
        "since": round(one.since, 3),
        "port": None if one.handle is None else one.handle.port,
        "pid": None if one.handle is None else one.handle.pid,
        "generation": one.generation,
        "failures": one.failures.total,
        "crash_loop": one.failures.crash_loop,
        "why": one.why,
        "until_ms": left,
        "in_flight": in_flight.get(one.target, 0),
    }


def _process(spec: AgentSpec) -> tuple[object, ...]:
    """Return what a process cannot change while it runs."""
    variables = {name: value.reveal() for name, value in spec.env.items()}
    return spec.command, spec.cwd, variables, spec.port


def _now() -> float:
    return asyncio.get_running_loop().time()
