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

from meseta.config import snapshot as documents
from meseta.config.credentials import fetch_all
from meseta.config.environment import gather
from meseta.config.resolved import Resolved
from meseta.control.place import home_of_snapshot, usual_home
from meseta.control.verbs import Life
from meseta.native import core
from meseta.renewal import Renewal
from meseta.settings import Settings
from meseta.watch import mark

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from meseta.config.credentials import Credential, Lease
    from meseta.config.problems import Problem
    from meseta.config.snapshot import Snapshot
    from meseta.control.changes import Comparison
    from meseta.control.server import ControlServer
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
    goes; without it the logger `meseta` does.
    """

    def __init__(
        self, source: Source, *, settings: Settings | None = None, report: Report | None = None
    ) -> None:
        self._settings = settings or Settings.from_environment()
        self._source = source
        self._lock = threading.Lock()
        self._simulator: Any = None
        self._stopped = False
        self._control: ControlServer | None = None
        self._life = Life(started=time.time(), since=time.time(), refused=None, draining=False)
        self._renewal = Renewal(source.fetch, self._put_credentials, report or _log)
        self._generation = 0
        resolved = source.read()
        self._snapshot = resolved.snapshot
        self.warnings, self.files = resolved.warnings, resolved.files
        """`warnings` of the configuration in force, and the `files` that it was read from."""
        try:
            self._handle = core().Plane(self._for_native(self._snapshot), workers=self._settings.workers)
        except BaseException:
            self._stop_simulator()
            raise
        with self._lock:
            self._generation = self._renewal.follow(resolved.leases)

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
        folder = Path.cwd() if self._source.file is None else self._source.file.parent
        return home_of_snapshot(self._snapshot, usual_home(folder, self._source.home))

    @property
    def life(self) -> Life:
        """When it started, since when the configuration in force is, and why the last reload was refused."""
        return self._life

    @property
    def snapshot(self) -> Snapshot:
        """The configuration in force, without its secrets."""
        return documents.redact(self._snapshot)

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
            if self._stopped:
                raise RuntimeError("The plane is stopped; make a new one.")
            if self._control is None:
                self._control = ControlServer(self, self.home, on_reload)
            return self._control.address

    def reload(self) -> list[Problem]:
        """Read the configuration again and put it in force whole; return its warnings.

        On any error the configuration in force stays as it is and the error is raised.
        """
        with self._lock:
            if self._stopped:
                raise RuntimeError("The plane is stopped; make a new one.")
            try:
                resolved = self._source.read()
                self._handle.swap(self._for_native(resolved.snapshot))
            except Exception as error:
                self._life = self._life._replace(refused=(time.time(), str(error)))
                raise
            self._snapshot = resolved.snapshot
            self._life = self._life._replace(since=time.time(), refused=None)
            self.warnings, self.files = resolved.warnings, resolved.files
            self._generation = self._renewal.follow(resolved.leases)
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
        limit = self._settings.drain_seconds if drain_seconds is None else drain_seconds
        try:
            return bool(self._handle.stop(drain_seconds=limit))
        finally:
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
            self._handle.swap(self._for_native(snapshot))
            self._snapshot = snapshot
            return True

    def _for_native(self, snapshot: Snapshot) -> str:
        if documents.uses_simulator(snapshot):
            if self._simulator is None:
                self._simulator = core().Simulator()
            snapshot = documents.with_simulator(snapshot, self._simulator.url)
        return json.dumps(snapshot, separators=(",", ":"))

    def _stop_simulator(self) -> None:
        if self._simulator is not None:
            self._simulator.stop()
            self._simulator = None


def _log(text: str, level: Level) -> None:
    logging.getLogger("meseta").log(logging.WARNING if level == "warn" else logging.INFO, "%s", text)


def listener_url(listener: dict[str, Any]) -> str:
    """Return the URL of a listener as `stats` shows it; an unspecified address becomes loopback."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listener["address"], listener["address"])  # noqa: S104
    host = f"[{address}]" if ":" in address else address
    return f"{'https' if listener.get('tls') else 'http'}://{host}:{listener['port']}"
