"""The agents whose processes Meseta runs: everything that is needed to start, probe, scale and stop each.

Standard library only: the long-running process holds these and starts the agents; the file is resolved in a
child, whose answer travels through a pipe.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meseta.config.secrets import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

LOG_BYTES = 10_485_760
"""How much of what an agent prints is kept, unless the file says otherwise."""


@dataclass(frozen=True)
class Replicas:
    """How many instances of an agent there are."""

    minimum: int = 1
    """At least so many; 0 lets the agent stop when nobody needs it."""
    maximum: int = 1
    """At most so many; the same as `minimum` where nothing is scaled."""
    target_in_flight: int = 8
    """Requests under way per instance that scaling aims at."""


@dataclass(frozen=True)
class Ready:
    """How an instance shows that it can answer: it takes a connection, or answers `path` with 2xx."""

    path: str | None = None
    """Path to ask with GET; None where an open port is enough."""
    timeout_ms: int = 60_000
    """An instance that is not ready within this time has failed to start."""
    interval_ms: int = 200
    """Pause between two questions."""


@dataclass(frozen=True)
class Live:
    """How a running instance shows that it still works."""

    path: str | None = None
    """Path to ask with GET; None where an open port is enough."""
    interval_ms: int = 10_000
    """Pause between two questions, and how long one may take."""
    failures: int = 3
    """After so many in a row that got no answer, or none with 2xx, the instance is replaced."""


@dataclass(frozen=True)
class Restart:
    """When an instance that ended is started again."""

    base_ms: int = 1_000
    """Longest pause before the first restart; each further one is twice as long."""
    max_ms: int = 60_000
    """Longest pause of all."""
    crash_loop_failures: int = 5
    """So many failures within `window_ms` are a crash loop, which is shown as such; the pauses stay long."""
    window_ms: int = 600_000
    """The time over which failures are counted."""


@dataclass(frozen=True)
class AgentSpec:
    """One agent with `run`."""

    id: str
    """Its id in the file, letters, digits, `_`, `.` and `-`."""
    command: list[str]
    """Program and arguments; never run by a shell."""
    cwd: Path
    """Where it is started; absolute."""
    env: dict[str, Secret] = field(default_factory=dict)
    """Variables beside the few that every agent gets. Any may be a secret."""
    replicas: Replicas = field(default_factory=Replicas)
    port: int = 0
    """The first of its ports. 0: each instance gets any free one."""
    ready: Ready = field(default_factory=Ready)
    live: Live | None = None
    """None: only the end of its process is noticed."""
    idle_ms: int | None = None
    """Without a request for this long it goes back to `replicas.minimum`; None: it stays as it is."""
    drain_ms: int = 30_000
    """How long an instance may go on with its requests when it is to end."""
    restart: Restart = field(default_factory=Restart)
    watch: list[str] = field(default_factory=list)
    """Patterns below `cwd` (`*.py`, `prompts/**`); a change of such a file restarts the agent."""
    log_bytes: int = LOG_BYTES
    """How much of what it prints is kept."""
    grace_ms: int = 5_000
    """Time between the request to end and the signal that cannot be ignored."""
    hold_ms: int = 60_000
    """How long a request waits for an instance."""
    target: dict[str, Any] = field(default_factory=dict, repr=False)
    """The target of every instance as the snapshot holds it, but for `name`, and for the scheme, host and
    port of `base_url`. May hold a secret."""

    @property
    def ports(self) -> range:
        """One for each instance and one more to replace them, where `port` says which."""
        return range(self.port, self.port + self.replicas.maximum + 1) if self.port else range(0)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data with the secrets in clear text, for the pipe to the parent and nothing else."""
        # A secret refuses to be copied, which `asdict` would do.
        plain = asdict(replace(self, env={}))
        plain["cwd"] = str(self.cwd)
        plain["env"] = {name: value.reveal() for name, value in self.env.items()}
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> AgentSpec:
        """Return what `as_dict` was called on."""
        return cls(
            **{
                **plain,
                "cwd": Path(plain["cwd"]),
                "env": {name: Secret(value) for name, value in plain["env"].items()},
                "replicas": Replicas(**plain["replicas"]),
                "ready": Ready(**plain["ready"]),
                "live": None if plain["live"] is None else Live(**plain["live"]),
                "restart": Restart(**plain["restart"]),
            }
        )
