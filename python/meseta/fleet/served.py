"""The plane as a fleet sees it: where instances are told, and what agents have to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from meseta.fleet.scale import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from meseta.config.snapshot import Snapshot
    from meseta.fleet.placement import Placement


class Served(Protocol):
    """What a fleet needs of a plane. Any of it may be called from any thread."""

    def place(self, placement: Placement) -> bool:
        """Have these instances asked from now on; False when the plane has stopped."""

    def in_flight(self) -> Mapping[str, int]:
        """Return how many requests each target has that the plane knows."""

    def traffic(self) -> Mapping[str, Traffic]:
        """Return what each agent has to do."""

    def wanted(self, timeout_seconds: float) -> list[str]:
        """Wait until a request waits for an agent without an instance; return the ids of such agents."""


class NativePlane:
    """A plane in this process, by its native handle."""

    def __init__(self, handle: Any, place: Callable[[Placement], bool]) -> None:
        self._handle = handle
        self._place = place

    def place(self, placement: Placement) -> bool:
        """Have these instances asked from now on."""
        return self._place(placement)

    def in_flight(self) -> Mapping[str, int]:
        """Return how many requests each target has."""
        return {row["name"]: row["in_flight"] for row in self._handle.health()}

    def traffic(self) -> Mapping[str, Traffic]:
        """Return what each agent has to do."""
        return {row["id"]: traffic_of(row) for row in self._handle.agents()}

    def wanted(self, timeout_seconds: float) -> list[str]:
        """Wait for demand without holding up other threads."""
        wanted: list[str] = self._handle.wanted(timeout_seconds)
        return wanted


def traffic_of(row: Mapping[str, Any]) -> Traffic:
    """Return what a row of the native plane says."""
    idle = row["idle_ms"]
    return Traffic(row["waiting"], row["in_flight"], None if idle is None else idle / 1000)


def external_rows(snapshot: Snapshot, handle: Any) -> list[dict[str, Any]]:
    """Return the agents that somebody else runs: those with instances before any was placed."""
    traffic = {row["id"]: traffic_of(row) for row in handle.agents()}
    health = {row["name"]: row for row in handle.health()}
    rows = []
    for agent in snapshot["agents"]:
        if not agent["pool"]["members"]:
            continue
        targets = [
            health[member["target"]] for member in agent["pool"]["members"] if member["target"] in health
        ]
        now = traffic.get(agent["id"], Traffic())
        ready = sum(target["state"] != "resting" for target in targets)
        since = now.last_request_seconds
        rows.append(
            {
                "id": agent["id"],
                "driver": "external",
                "state": "failed" if not ready else "busy" if now.in_flight else "ready",
                "ready": ready,
                "desired": len(targets),
                "in_flight": now.in_flight,
                "waiting": now.waiting,
                "last_request_ms_ago": None if since is None else round(since * 1000),
                "crash_loop": False,
                "instances": [
                    {
                        "number": number,
                        "state": "failed" if target["state"] == "resting" else "ready",
                        "in_flight": target["in_flight"],
                        "why": target["cause"],
                    }
                    for number, target in enumerate(targets, start=1)
                ],
            }
        )
    return rows
