"""A fleet before a plane that is only pretended, with real processes."""

from __future__ import annotations

import os
import queue
import random
import socket
import sys
import threading
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from meseta.config.fleet import AgentSpec, Ready, Replicas, Restart
from meseta.fleet.environment import Addresses
from meseta.fleet.fleet import Fleet, Pace
from meseta.fleet.output import file_of
from meseta.fleet.scale import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from meseta.fleet.placement import Placed, Placement
    from meseta.renewal import Level

AGENT = Path(__file__).with_name("agent.py")
ADDRESSES = Addresses("http://127.0.0.1:12000", (("assistant", "http://127.0.0.1:8001"),))
PACE = Pace(tick=0.02, watch=0.05, demand=0.05, refused=0.05, settle=0.3)


def get(port: int, path: str = "/health") -> int:
    """Ask an instance, past the plane."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
        return int(answer.status)


def free_ports(count: int) -> int:
    """Return the first of so many ports in a row that are free.

    The system itself hands out others, to whoever asks for any port and to every connection.
    """
    for first in random.sample(range(20_000, 30_000, count), 100):
        with ExitStack() as open_ones:
            try:
                for port in range(first, first + count):
                    open_ones.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return first
    raise AssertionError("no ports are free")


class PretendedPlane:
    """What a fleet needs of a plane, and what it was told."""

    def __init__(self) -> None:
        self.placements: list[Placement] = []
        self.requests: dict[str, int] = {}
        self.work: dict[str, Traffic] = {}
        self.demand: queue.Queue[str] = queue.Queue()
        self.refuses: Exception | None = None
        self.refuses_instances: Exception | None = None
        self.stopped = False

    @property
    def placed(self) -> tuple[Placed, ...]:
        return self.placements[-1].instances if self.placements else ()

    @property
    def members(self) -> list[str]:
        return sorted(instance.name for instance in self.placed if instance.member)

    def port(self, name: str) -> int:
        return next(instance.port for instance in self.placed if instance.name == name)

    def place(self, placement: Placement) -> bool:
        if self.refuses is not None:
            raise self.refuses
        if self.refuses_instances is not None and placement.instances:
            raise self.refuses_instances
        if self.stopped:
            return False
        self.placements.append(placement)
        return True

    def in_flight(self) -> dict[str, int]:
        return {instance.name: self.requests.get(instance.name, 0) for instance in self.placed}

    def traffic(self) -> dict[str, Traffic]:
        return dict(self.work)

    def wanted(self, timeout_seconds: float) -> list[str]:
        try:
            return [self.demand.get(timeout=timeout_seconds)]
        except queue.Empty:
            return []


class Ship:
    """A fleet and its pretended plane."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.plane = PretendedPlane()
        self.reports: list[str] = []
        self.fleet = Fleet(self.plane, home, self._report, pace=PACE)

    def _report(self, text: str, level: Level) -> None:
        self.reports.append(text)

    def follow(self, *specs: AgentSpec) -> None:
        self.fleet.follow(specs, ADDRESSES)

    def row(self, agent: str) -> dict[str, Any]:
        return next(row for row in self.fleet.rows() if row["id"] == agent)

    def pids(self, agent: str) -> list[int]:
        return [row["pid"] for row in self.row(agent)["instances"] if row["pid"] is not None]

    def output(self, agent: str, number: int = 1) -> str:
        file = file_of(self.home, agent, number)
        return file.read_text() if file.exists() else ""

    def said(self, part: str) -> bool:
        return any(part in report for report in self.reports)


@pytest.fixture
def ship(tmp_path: Path) -> Iterator[Ship]:
    ship = Ship(tmp_path / "home")
    yield ship
    ship.fleet.stop()
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"meseta-fleet", "meseta-demand"}


@pytest.fixture
def spec(tmp_path: Path) -> Callable[..., AgentSpec]:
    """Make the specification of an agent that is `agent.py` with the words given."""

    def make(*words: str, agent: str = "weather", **more: Any) -> AgentSpec:
        given = {
            "ready": Ready("/health", timeout_ms=60_000, interval_ms=20),
            "restart": Restart(base_ms=10, max_ms=40, crash_loop_failures=3),
            "grace_ms": 30_000,
            "target": {"provider": "agent", "base_url": "http://127.0.0.1:0/v1"},
            **more,
        }
        given.setdefault("command", [sys.executable, str(AGENT), *words])
        return AgentSpec(id=agent, cwd=tmp_path, **given)

    return make


def replicas(minimum: int, maximum: int | None = None, target: int = 2) -> Replicas:
    return Replicas(minimum, minimum if maximum is None else maximum, target)


def no_such_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
