"""Where the instances of agents are at a moment, and how that is written into a resolved document."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from meseta.fleet.driver import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meseta.config.snapshot import Snapshot


@dataclass(frozen=True)
class Placed:
    """An instance that can be asked."""

    agent: str
    number: int
    port: int
    member: bool
    """Whether new requests may go to it; without that it only ends what it has."""
    target: Mapping[str, Any] = field(repr=False)
    """The target of the document, complete but for its name and its address."""

    @property
    def name(self) -> str:
        """The name of its target."""
        return target_name(self.agent, self.number)


@dataclass(frozen=True)
class Placement:
    """All instances that can be asked, and by what the calls of agents are known."""

    instances: tuple[Placed, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    """By agent: the SHA-256 of the token that its instances have, in hexadecimal."""
    absent: frozenset[str] = frozenset()
    """The agents that will have no instance for longer than requests wait for one."""


def target_name(agent: str, number: int) -> str:
    """Return what the target of an instance is called."""
    return f"agent/{agent}/{number}"


def place(snapshot: Snapshot, placement: Placement) -> Snapshot:
    """Return the document with the instances in it: all as targets, the members also in their agent's pool.

    An instance of an agent that the document does not have stays a target until it is gone. Nobody waits for
    an agent that is absent.
    """
    if not placement.instances and not placement.digests:
        return snapshot
    # Only what changes is copied: targets and pools of models may be many.
    placed: dict[str, Any] = dict(snapshot)
    placed["targets"] = [*placed["targets"], *(_target(instance) for instance in placement.instances)]
    placed["agents"] = [_agent(agent, placement) for agent in placed["agents"]]
    return placed  # type: ignore[return-value]


def _target(instance: Placed) -> dict[str, Any]:
    path = urlsplit(instance.target.get("base_url", "")).path or "/v1"
    return {
        **copy.deepcopy(dict(instance.target)),
        "name": instance.name,
        "base_url": f"http://{LOOPBACK}:{instance.port}{path}",
    }


def _agent(agent: Mapping[str, Any], placement: Placement) -> dict[str, Any]:
    names = [
        instance.name for instance in placement.instances if instance.member and instance.agent == agent["id"]
    ]
    placed = dict(agent)
    if names:
        members = [*agent["pool"]["members"], *(_member(name) for name in names)]
        placed["pool"] = {**agent["pool"], "members": members}
    if agent["id"] in placement.absent and agent["hold"] is not None:
        placed["hold"] = {**agent["hold"], "ms": 0}
    if agent["id"] in placement.digests:
        placed["token_sha256"] = placement.digests[agent["id"]]
    return placed


def _member(name: str) -> dict[str, Any]:
    return {"target": name, "model": "*", "weight": 1, "priority": 0}
