"""What comes of a configuration; the same for whoever resolved it, this process or a child."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meseta.config.credentials import Lease
    from meseta.config.fleet import AgentSpec
    from meseta.config.metrics import Source
    from meseta.config.problems import Problem
    from meseta.config.snapshot import Snapshot
    from meseta.watch import Mark


@dataclass(frozen=True)
class Resolved:
    """A configuration that can be served."""

    snapshot: Snapshot = field(repr=False)
    """The document for the data plane. It holds secrets in clear text: show `redact(snapshot)` instead."""
    warnings: list[Problem] = field(default_factory=list)
    """What is odd about the file but does not stop it."""
    files: dict[str, Mark] = field(default_factory=dict)
    """Every file that it was read from and how it looked before: a change is a reason to read again."""
    leases: list[Lease] = field(default_factory=list)
    """The credentials in the snapshot that expire."""
    sources: list[Source] = field(default_factory=list)
    """Where prices and latencies in the snapshot come from; some are asked again while it is served."""
    fleet: list[AgentSpec] = field(default_factory=list)
    """The agents whose processes Meseta runs, in file order."""
