"""The running data plane: owns the native handle, the simulator if one is needed, reloading and renewing.

Standard library only until a configuration is read in this process: `meseta up` reads it in a child.
"""

from __future__ import annotations

import copy
import json
import logging
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from meseta.config import metrics
from meseta.config import snapshot as documents
from meseta.config.credentials import fetch_all
from meseta.config.environment import gather
from meseta.config.resolved import Resolved
from meseta.control.place import home_of_snapshot, usual_home
from meseta.control.verbs import Life
from meseta.errors import ControlError
from meseta.fleet.placement import Placement, place
from meseta.native import core
from meseta.refresh import Refresh
from meseta.renewal import Renewal
from meseta.settings import Settings
from meseta.watch import mark

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from meseta.config.credentials import Credential, Lease
    from meseta.config.fleet import AgentSpec
    from meseta.config.problems import Problem
    from meseta.config.snapshot import Snapshot
    from meseta.control.changes import Comparison
    from meseta.control.server import ControlServer
    from meseta.fleet.environment import Addresses
    from meseta.fleet.fleet import Fleet
    from meseta.renewal import Fetch, Level, Report


class Source:
    """Where a plane's configuration comes from; `read` can be called again for a reload."""

    def __init__(
        self,
        name: str,
        read: Callable[[], Resolved],
        fetch: Fetch = fetch_all,
        *,
        file: Path | None = None,
        home: str | None = None,
        port: int | None = None,
    ) -> None:
        self.name = name
        """What people call it: a path, or what was found in the environment."""
        self.read = read
        """Returns the snapshot with all that belongs to it; raises ConfigError."""
        self.fetch = fetch
        """Fetches credentials again that are about to expire."""
        self.file = file
        """The absolute path of the file, when it is one."""
        self.home, self.port = home, port
        """What replaces the home and the first listener's port in any file that is read for this plane."""

    def look_at(self, file: str) -> Resolved:
        """Return what a reload would read if `file` were the file, without fetching credentials."""
        from meseta.config.child import resolve_in_child

        return resolve_in_child(file, home=self.home, port=self.port)

    @classmethod
    def of_file(
        cls, path: str | Path, *, home: str | None, port: int | None = None, child: bool = False
    ) -> Source:
        """Return a file, resolved in this process or, with `child`, in one of its own."""
        if child:
            from meseta.config.child import fetch_in_child, resolve_in_child

            def read_in_child() -> Resolved:
                return resolve_in_child(path, home=home, port=port, online=True)

            return cls(
                str(path), read_in_child, fetch_in_child, file=Path(path).absolute(), home=home, port=port
            )

        def read() -> Resolved:
            from meseta.config.resolve import resolve_file

            return resolve_file(path, home=home, port=port, online=True)

        return cls(str(path), read, file=Path(path).absolute(), home=home, port=port)

    @classmethod
    def of_environment(cls, *, home: str | None, port: int | None = None) -> Source:
        """No file: the keys in the environment and in `.env` of the working directory, and the simulator."""

        def read() -> Resolved:
            folder = Path.cwd()
            place = folder / (home or ".meseta")
            at = documents.DEFAULT_PORT if port is None else port
            dotenv = str(folder / ".env")
            looked = {dotenv: mark(dotenv)}
            return Resolved(documents.without_file(gather(folder), place, port=at), files=looked)

        return cls("the environment", read, home=home, port=port)


class Plane:
    """A data plane that serves from construction until `stop`; a context manager.

    Raises ConfigError for a configuration that cannot be used, and SnapshotError, BindError or LogError of
    `meseta.errors` when the plane cannot start. Thread-safe. `report` hears how the renewal of credentials
    goes and what becomes of agents; without it the logger `meseta` does.
    """

    def __init__(
        self, source: Source, *, settings: Settings | None = None, report: Report | None = None
    ) -> None:
        self._settings = settings or Settings.from_environment()
        self._source = source
        self._report = report or _log
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        """Held while a configuration is read, which may take long; always taken before the other one."""
        self._simulator: Any = None
        self._fleet: Fleet | None = None
        self._placement = Placement()
        self._context_key: str | None = None
        self._stopped = False
        self._control: ControlServer | None = None
        self._life = Life(started=time.time(), since=time.time(), refused=None, draining=False)
        self._renewal = Renewal(source.fetch, self._put_credentials, self._report)
        self._generation = 0
        self._refresh = Refresh(_measure, self._put_metrics, self._report)
        self._measured = 0
        resolved = source.read()
        self._snapshot = resolved.snapshot
        self.warnings, self.files = resolved.warnings, resolved.files
        """`warnings` of the configuration in force, and the `files` that it was read from."""
        try:
            self._handle = core().Plane(
                self._for_native(self._snapshot, self._placement), workers=self._settings.workers
            )
        except BaseException:
            self._stop_simulator()
            raise
        with self._lock:
            self._generation = self._renewal.follow(resolved.leases)
            self._measured = self._refresh.follow(resolved.sources)
            self._follow_agents(resolved.fleet)

    @classmethod
    def from_config(
        cls, path: str | Path | None = None, *, port: int | None = None, settings: Settings | None = None
    ) -> Plane:
        """Serve the file at `path`, or without one what `meseta up` serves without a file.

        `port` replaces the port of the first listener; 0 lets the system choose one.
        """
        settings = settings or Settings.from_environment()
        if path is None:
            return cls(Source.of_environment(home=settings.home, port=port), settings=settings)
        return cls(Source.of_file(path, home=settings.home, port=port), settings=settings)

    @classmethod
    def from_text(cls, text: str, *, port: int | None = None, settings: Settings | None = None) -> Plane:
        """Serve a configuration given as YAML text.

        The log goes to a new temporary directory unless the text or
        MESETA_HOME says where.
        """
        settings = settings or Settings.from_environment()
        home = settings.home

        def read() -> Resolved:
            from meseta.config.load import load_bytes
            from meseta.config.resolve import resolve_loaded

            nonlocal home
            home = home or tempfile.mkdtemp(prefix="meseta-")
            loaded = load_bytes(text.encode(), "configuration")
            return replace(resolve_loaded(loaded, home=home, port=port, online=True), files={})

        return cls(Source("configuration", read, home=home, port=port), settings=settings)

    @property
    def source(self) -> str:
        """What the configuration was read from."""
        return self._source.name

    @property
    def file(self) -> Path | None:
        """The absolute path of the file that it serves, or None when it serves none."""
        return self._source.file

    @property
    def home(self) -> Path:
        """The directory of the log, of state and of the control socket."""
        return self._home_of(self._snapshot)

    def _home_of(self, snapshot: Snapshot) -> Path:
        folder = Path.cwd() if self._source.file is None else self._source.file.parent
        return home_of_snapshot(snapshot, usual_home(folder, self._source.home))

    @property
    def life(self) -> Life:
        """When it started, since when the configuration in force is, and why the last reload was refused."""
        return self._life

    @property
    def snapshot(self) -> Snapshot:
        """The configuration in force with the instances that agents have now, without its secrets."""
        with self._lock:
            snapshot, placement = self._snapshot, self._placement
        return documents.redact(place(snapshot, placement))

    @property
    def log_path(self) -> str | None:
        """The file of the log, or None when `store: off`."""
        log = self._snapshot["log"]
        return None if log is None else str(log["path"])

    @property
    def listeners(self) -> list[dict[str, Any]]:
        """Where it listens: `name`, `address`, `port` as really bound, and `tls`."""
        listeners: list[dict[str, Any]] = self.stats()["listeners"]
        return listeners

    @property
    def url(self) -> str:
        """The base URL of the first listener, `/v1` included, as an OpenAI client takes it."""
        return listener_url(self.listeners[0]) + "/v1"

    def stats(self) -> dict[str, Any]:
        """Counters of the native plane at this moment."""
        stats: dict[str, Any] = self._handle.stats()
        return stats

    def health(self) -> list[dict[str, Any]]:
        """Return the state of every target and of each of its keys at this moment."""
        rows: list[dict[str, Any]] = self._handle.health()
        return rows

    def reset_health(self, target: str | None = None) -> int:
        """Forget the failures of one target, or of all of them; return how many there were."""
        return int(self._handle.reset_health(target))

    def agents(self) -> list[dict[str, Any]]:
        """Return the state of every agent and of its instances at this moment."""
        from meseta.fleet.served import external_rows

        rows = [] if self._fleet is None else self._fleet.rows()
        rows += external_rows(self._snapshot, self._handle)
        order = {agent["id"]: number for number, agent in enumerate(self._snapshot["agents"])}
        return sorted(rows, key=lambda row: order.get(row["id"], len(order)))

    def restart_agent(self, agent: str) -> int:
        """Replace the instances of an agent one after the other; return how many there should be.

        Raises ControlError for one that this plane does not run.
        """
        return self._agents_of(agent).restart(agent)

    def scale_agent(self, agent: str, number: int | None) -> None:
        """Have so many instances of an agent, whatever its work; None goes back to what the file says.

        Raises ControlError for one that this plane does not run, and for more than 64.
        """
        self._agents_of(agent).scale(agent, number)

    def compare(self, file: str) -> Comparison:
        """Say what would change if `file` were in force, read with this process's environment."""
        from meseta.control.changes import Comparison, bound_addresses, changes

        resolved = self._source.look_at(file)
        core().check_snapshot(json.dumps(resolved.snapshot))
        found = changes(self._snapshot, resolved.snapshot, bound_addresses(self.listeners))
        warnings = [warning.as_dict() for warning in resolved.warnings]
        return Comparison(f"the plane that serves {self.source}", file, found, warnings)

    def open_control(self, on_reload: Callable[[], None] | None = None) -> Path:
        """Open the control socket in the home and return its path; it closes when the plane has stopped.

        `on_reload` is called after each reload that came over it. Raises ControlError when another plane has
        the home, or it cannot be opened.
        """
        from meseta.control.server import ControlServer

        with self._lock:
            self._must_serve()
            if self._control is None:
                self._control = ControlServer(self, self.home, on_reload)
            return self._control.address

    def reload(self) -> list[Problem]:
        """Read the configuration again and put it in force whole; return its warnings.

        On any error the configuration in force stays as it is and the error is raised.
        """
        with self._reading:
            self._must_serve()
            try:
                resolved = self._source.read()
                with self._lock:
                    self._must_serve()
                    self._handle.swap(self._for_native(resolved.snapshot, self._placement))
                    self._snapshot = resolved.snapshot
                    self._life = self._life._replace(since=time.time(), refused=None)
                    self.warnings, self.files = resolved.warnings, resolved.files
                    self._generation = self._renewal.follow(resolved.leases)
                    self._measured = self._refresh.follow(resolved.sources)
                    self._follow_agents(resolved.fleet)
            except Exception as error:
                with self._lock:
                    self._life = self._life._replace(refused=(time.time(), str(error)))
                raise
            return resolved.warnings

    def stop(self, drain_seconds: float | None = None) -> bool:
        """Accept nothing new, let requests in flight finish, stop.

        They get up to `drain_seconds` (default MESETA_DRAIN).
        True if every request finished in time. Further calls do nothing and return True.
        """
        with self._lock:
            if self._stopped:
                return True
            self._stopped = True
            self._life = self._life._replace(draining=True)
        self._renewal.stop()
        self._refresh.stop()
        if self._fleet is not None:
            self._fleet.hold()
        limit = self._settings.drain_seconds if drain_seconds is None else drain_seconds
        try:
            return bool(self._handle.stop(drain_seconds=limit))
        finally:
            # Requests in flight needed the agents.
            if self._fleet is not None:
                self._fleet.stop()
            # Until here it tells who asks that the plane drains.
            if self._control is not None:
                self._control.close()
            self._stop_simulator()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(None if error is None else 0.0)

    def _put_credentials(self, generation: int, renewed: Sequence[tuple[Lease, Credential]]) -> bool:
        """Exchange the credentials of some targets and nothing else, unless a reload came between."""
        with self._lock:
            if self._stopped or generation != self._generation:
                return False
            snapshot = copy.deepcopy(self._snapshot)
            for lease, credential in renewed:
                for target in snapshot["targets"]:
                    if target["name"] in lease.targets:
                        target["credentials"] = [dict(credential.auth)]
            self._handle.swap(self._for_native(snapshot, self._placement))
            self._snapshot = snapshot
            return True

    def _put_metrics(
        self, generation: int, sources: Sequence[metrics.Source], newer: metrics.Metrics
    ) -> None:
        """Exchange prices and latencies and nothing else, unless a reload came between."""
        with self._lock:
            if self._stopped or generation != self._measured:
                return
            snapshot = metrics.apply(self._snapshot, sources, newer)
            self._handle.swap(self._for_native(snapshot, self._placement))
            self._snapshot = snapshot
            # For the next reload, whose own question may get no answer.
            kept = metrics.load(self.home)
            kept.take(newer)
            metrics.save(self.home, kept)

    def _put_instances(self, placement: Placement) -> bool:
        """Exchange the instances of agents and nothing else."""
        with self._lock:
            if self._stopped:
                return False
            self._handle.swap(self._for_native(self._snapshot, placement))
            self._placement = placement
            return True

    def _follow_agents(self, specs: Sequence[AgentSpec]) -> None:
        if self._fleet is None:
            if not specs:
                return
            from meseta.fleet.fleet import Fleet
            from meseta.fleet.served import NativePlane

            self._fleet = Fleet(NativePlane(self._handle, self._put_instances), self.home, self._report)
        self._fleet.follow(specs, self._addresses())

    def _addresses(self) -> Addresses:
        """Return where the listeners of the configuration in force are really bound."""
        from meseta.fleet.environment import Addresses

        kinds = {listener["name"]: listener["type"] for listener in self._snapshot["listeners"]}
        urls = [(kinds.get(row["name"]), row["name"], listener_url(row)) for row in self.listeners]
        models = next((url for kind, _, url in urls if kind == "model"), None)
        return Addresses(models, tuple((name, url) for kind, name, url in urls if kind == "agent"))

    def _agents_of(self, agent: str) -> Fleet:
        """Return what runs an agent."""
        if self._fleet is None or agent not in {row["id"] for row in self._fleet.rows()}:
            if any(known["id"] == agent for known in self._snapshot["agents"]):
                raise ControlError(f"The agent {agent!r} has a `url`; whoever runs it starts and stops it.")
            raise ControlError(
                f"There is no agent {agent!r}. `meseta agents list` shows those that there are."
            )
        return self._fleet

    def _must_serve(self) -> None:
        if self._stopped:
            raise RuntimeError("The plane is stopped; make a new one.")

    def _for_native(self, snapshot: Snapshot, placement: Placement) -> str:
        """Return the text of everything that is in force: configuration, credentials, instances of agents."""
        snapshot = place(snapshot, placement)
        if snapshot["agents"]:
            from meseta.context_key import context_key

            self._context_key = self._context_key or context_key(self._home_of(snapshot))
            snapshot = {**snapshot, "context_key": self._context_key}
        if documents.uses_simulator(snapshot):
            if self._simulator is None:
                self._simulator = core().Simulator()
            snapshot = documents.with_simulator(snapshot, self._simulator.url)
        return json.dumps(snapshot, separators=(",", ":"))

    def _stop_simulator(self) -> None:
        if self._simulator is not None:
            self._simulator.stop()
            self._simulator = None


def _measure(sources: Sequence[metrics.Source]) -> tuple[metrics.Metrics, dict[str, str]]:
    from meseta.config.child import measure_in_child

    return measure_in_child(sources)


def _log(text: str, level: Level) -> None:
    logging.getLogger("meseta").log(logging.WARNING if level == "warn" else logging.INFO, "%s", text)


def listener_url(listener: dict[str, Any]) -> str:
    """Return the URL of a listener as `stats` shows it; an unspecified address becomes loopback."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listener["address"], listener["address"])  # noqa: S104
    host = f"[{address}]" if ":" in address else address
    return f"{'https' if listener.get('tls') else 'http'}://{host}:{listener['port']}"
