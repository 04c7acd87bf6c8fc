"""Agents as written to agents as served: a pool of instances each, and what starts those with `run`."""

from __future__ import annotations

import copy
import hashlib
from typing import TYPE_CHECKING

from meseta.config import snapshot
from meseta.config.calls import CallSettings
from meseta.config.endpoint import host_and_path, is_loopback, read_agent_url
from meseta.config.fleet import AgentSpec, Live, Ready, Replicas, Restart
from meseta.config.model_agents import Agent, Hold, ReplicaBounds, Run
from meseta.config.providers import Provider
from meseta.config.secrets import SecretError
from meseta.config.targets import AGENT, is_usable_name
from meseta.program import find_program, search_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from meseta.config.document import Path as KeyPath
    from meseta.config.load import Loaded
    from meseta.config.problems import Problem
    from meseta.config.secrets import Secret, SecretReference

IDLE_MS = 300_000
"""When an agent that is scaled goes back to its fewest replicas, unless the file says otherwise."""

HOLD_MS = 30_000
"""How long a request waits for an instance of an agent that somebody else runs, unless the file says."""

INSTANCE_URL = "http://127.0.0.1:0/v1"
"""Stands for the address of an instance, which is known when it runs."""


class AgentBuilder:
    """Turns agents into their resolved form and collects what is wrong with them."""

    def __init__(self, loaded: Loaded, environment: Mapping[str, str]) -> None:
        self.loaded = loaded
        self.environment = environment
        self.problems: list[Problem] = []
        self.agents: list[snapshot.Agent] = []
        self.targets: list[snapshot.Target] = []
        self.fleet: list[AgentSpec] = []
        self.calls = CallSettings(loaded, self.problems)
        self._tokens: set[str] = set()
        self._ports: dict[int, str] = {}

    def add(self, agent: Agent, path: KeyPath, total_ms: int | None = None) -> None:
        """Add an agent; `total_ms` caps its calls."""
        if any(other["id"] == agent.id for other in self.agents):
            self._error("config.duplicate", (*path, "id"), f"There is an agent {agent.id!r} already.")
            return
        template = self._template(agent, path, total_ms)
        urls = self._urls(agent, path)
        members = []
        for number, url in enumerate(urls, start=1):
            target = copy.deepcopy(template)
            target["name"] = f"{AGENT}/{agent.id}/{number}"
            target["base_url"], target["query"] = url
            self.targets.append(target)
            members.append({"target": target["name"], "model": None, "weight": 1.0, "priority": 0})
        hold = self._hold(agent)
        if agent.run is not None:
            self._run(agent.id, agent.run, (*path, "run"), template, 0 if hold is None else hold["ms"])
        self.agents.append(
            {
                "id": agent.id,
                "pool": {
                    "name": f"{AGENT}/{agent.id}",
                    "select": "least_busy",
                    "members": members,
                    "fallback": [],
                    "retry": self.calls.retry(agent.retry, (*path, "retry")),
                    "hedge": None,
                    # What an agent said and did before its stream broke cannot be gone on with by another.
                    "resume": "off",
                    "affinity": False,
                    "timeouts": None,
                },
                "hold": hold,
                "token_sha256": self._token(agent, path),
                "tenant": self._tenant(agent, path),
            }
        )

    def _urls(self, agent: Agent, path: KeyPath) -> list[tuple[str, str]]:
        """Return base URL and query of each instance; of an agent with `run` there is none yet."""
        ways = [key for key in ("url", "urls", "run") if getattr(agent, key) is not None]
        if len(ways) > 1:
            message = f"`{ways[0]}` and `{ways[1]}` cannot stand together."
            self._error("config.conflict", (*path, ways[1]), message, "Remove one of the two.", key=True)
        if not ways:
            message = f"The agent {agent.id!r} has neither `url` nor `run`."
            hint = "Write where it is, such as `url: http://127.0.0.1:10510`, or how it is started."
            self._error("config.missing_key", path, message, hint)
        written = [((*path, "url"), agent.url)] if agent.url is not None else []
        written += [((*path, "urls", number), url) for number, url in enumerate(agent.urls or [])]
        found: list[tuple[str, str]] = []
        for here, url in written:
            try:
                endpoint = read_agent_url(url, agent.apis)
            except ValueError as error:
                self._error("config.invalid_value", here, str(error))
                continue
            place = (endpoint.base_url, endpoint.query)
            if place in found:
                self._error("config.duplicate", here, "This address stands here already.", "Remove one.")
            found.append(place)
        return found

    def _template(self, agent: Agent, path: KeyPath, total_ms: int | None) -> snapshot.Target:
        """Return the target of any instance, but for its name and address."""
        row = Provider(AGENT, None, "/v1", (), dialects=tuple(agent.apis), needs_key=False)
        target = snapshot.target(f"{AGENT}/{agent.id}", AGENT, "*", INSTANCE_URL, row)
        target["ask_stream_usage"] = False
        target["timeouts"] = self.calls.timeouts(agent.timeouts, total_ms)
        target["limits"] = self.calls.limits(agent.limits, (*path, "limits"))
        target["health"] = self.calls.health(agent.health, (*path, "health"))
        target["probe"] = self.calls.probe(agent.probe, (*path, "probe"))
        target["headers"] = self.calls.headers(agent.headers, (*path, "headers"))
        target["forward_headers"] = self.calls.forwarded(
            agent.forward_headers,
            (*path, "forward_headers"),
            hint="`forward_credentials: true` is for the client's own key.",
        )
        key = None if agent.auth is None else self._secret(agent.auth, (*path, "auth"), "auth")
        if key is not None:
            target["credentials"] = [snapshot.header_auth(row, key.reveal())]
            if "authorization" in target["headers"]:
                message = "The header authorization is set by `auth` already."
                here = (*path, "headers")
                self._error("config.conflict", here, message, "Remove one of the two.", key=True)
        if agent.forward_credentials:
            self._pass_credentials(agent, path, target)
        return target

    def _pass_credentials(self, agent: Agent, path: KeyPath, target: snapshot.Target) -> None:
        """Have the client's own credential travel on, where nothing else is said to take its place."""
        here = (*path, "forward_credentials")
        taken = ["`auth`"] if agent.auth is not None else []
        taken += [
            f"the header {name}" for name in ("authorization", "x-api-key") if name in target["headers"]
        ]
        if taken:
            message = f"The client's own credential and {taken[0]} cannot both be sent."
            self._error("config.conflict", here, message, "Remove one of the two.", key=True)
        target["credentials"] = [{"type": "passthrough"}]
        for url in [agent.url, *(agent.urls or [])]:
            if url is not None and url.startswith("http://") and not is_loopback(host_and_path(url)[0]):
                message = f"Clients' credentials travel to {agent.id!r} without encryption."
                hint = "Write an address that begins with https://."
                self.problems.append(self.loaded.warning("config.clear_text", here, message, hint, key=True))
                break

    def _hold(self, agent: Agent) -> dict[str, int] | None:
        hold = agent.hold or (Hold() if agent.run is not None else None)
        if hold is None:
            return None
        # Whoever comes first to an agent without an instance waits until one is ready.
        usual = HOLD_MS if agent.run is None else agent.run.ready.timeout
        return {"requests": hold.requests, "ms": hold.timeout or usual}

    def _token(self, agent: Agent, path: KeyPath) -> str | None:
        """Return the digest of an agent's own key. One that Meseta runs gets a new key at each start."""
        if agent.token is None:
            return None
        if agent.run is not None:
            message = "An agent that Meseta runs gets a key by itself."
            self._error("config.conflict", (*path, "token"), message, "Remove `token`.", key=True)
            return None
        token = self._secret(agent.token, (*path, "token"), "token")
        if token is None:
            return None
        digest = hashlib.sha256(token.reveal().encode()).hexdigest()
        if digest in self._tokens:
            message = "Another agent has this key, so that nobody could tell the two apart."
            self._error("config.duplicate", (*path, "token"), message, "Give each agent a key of its own.")
        self._tokens.add(digest)
        return digest

    def _tenant(self, agent: Agent, path: KeyPath) -> str:
        if not is_usable_name(agent.tenant):
            message = "`tenant` must be ASCII without control characters or outer spaces, and not empty."
            self._error("config.invalid_value", (*path, "tenant"), message)
        return agent.tenant

    def _run(self, name: str, run: Run, path: KeyPath, template: snapshot.Target, hold_ms: int) -> None:
        cwd = self._folder(run, path)
        replicas = self._replicas(run, path)
        env = {}
        for variable, written in run.env.items():
            here = (*path, "env", variable)
            if not variable or "=" in variable or "\0" in variable:
                self._error("config.invalid_value", here, "This cannot be the name of a variable.", key=True)
                continue
            value = self._secret(written, here, variable, plain=True)
            if value is not None:
                env[variable] = value
        if not run.command[0] or any("\0" in part for part in run.command):
            message = "`command` begins with the name or path of a program."
            self._error("config.invalid_value", (*path, "command"), message)
        self._look_for(run.command[0], cwd, env.get("PATH"), path)
        if run.restart.base > run.restart.max:
            message = "`base` is longer than `max`."
            self._error("config.conflict", (*path, "restart"), message, "Make one of them fit.", key=True)
        self._reserve(name, run, replicas.maximum, path)
        for key, probe in (("ready", run.ready), ("live", run.live)):
            if probe is not None and probe.path is not None and not _is_path(probe.path):
                message = "`path` must begin with / and be ASCII without spaces."
                self._error("config.invalid_value", (*path, key, "path"), message)
        live = run.live
        self.fleet.append(
            AgentSpec(
                id=name,
                command=list(run.command),
                cwd=cwd,
                env=env,
                replicas=replicas,
                port=run.port,
                ready=Ready(run.ready.path, run.ready.timeout, run.ready.interval),
                live=None if live is None else Live(live.path, live.interval, live.failures),
                idle_ms=run.idle or (IDLE_MS if replicas.minimum < replicas.maximum else None),
                drain_ms=run.drain,
                restart=Restart(
                    run.restart.base, run.restart.max, run.restart.crash_loop, run.restart.window
                ),
                watch=list(run.watch),
                log_bytes=run.log_size,
                grace_ms=run.grace,
                hold_ms=hold_ms,
                target={**template},
            )
        )

    def _look_for(self, program: str, cwd: Path, own: Secret | None, path: KeyPath) -> None:
        """Warn of a program that is not there; it may come before the agent is started."""
        search = search_path(self.environment.get("PATH")) if own is None else own.reveal()
        if program and cwd.is_dir() and find_program(program, cwd, search) is None:
            message = f"There is no program {program[:80]!r} here that could be started."
            hint = "Correct the name, give its path, or set PATH under `env`."
            warning = self.loaded.warning("config.not_found", (*path, "command"), message, hint)
            self.problems.append(warning)

    def _folder(self, run: Run, path: KeyPath) -> Path:
        folder = (self.loaded.folder / run.cwd).absolute()
        try:
            there = folder.is_dir()
        except ValueError:  # a zero byte
            there = False
        if not there:
            message = f"`cwd` is not a directory: {run.cwd[:80]!r}."
            self._error("config.not_found", (*path, "cwd"), message, "Paths are relative to this file.")
        return folder

    def _replicas(self, run: Run, path: KeyPath) -> Replicas:
        written = run.replicas
        if not isinstance(written, ReplicaBounds):
            return Replicas(written, written)
        if written.min > written.max:
            message = "`min` is more than `max`."
            self._error("config.conflict", (*path, "replicas"), message, "Make one of them fit.", key=True)
        return Replicas(written.min, written.max, written.target)

    def _reserve(self, name: str, run: Run, instances: int, path: KeyPath) -> None:
        """Check that the ports of the instances exist and are nobody else's.

        A rolling restart needs a port more than there are instances.
        """
        if run.port == 0:
            return
        ports = range(run.port, run.port + instances + 1)
        if ports[-1] > 65_535:
            message = "There are not enough ports after this one for all replicas and one more."
            self._error("config.invalid_value", (*path, "port"), message, "Write a lower one, or 0.")
        taken = next((port for port in ports if port in self._ports), None)
        if taken is not None:
            message = f"The agent {self._ports[taken]!r} has port {taken} already."
            hint = "Leave room for all replicas and one more, or write `port: 0`."
            self._error("config.conflict", (*path, "port"), message, hint)
        self._ports.update(dict.fromkeys(ports, name))

    def _secret(
        self, reference: SecretReference, path: KeyPath, key: str, *, plain: bool = False
    ) -> Secret | None:
        """Fetch a secret; None when there is none. A `plain` value may well stand in the file."""
        if reference.kind == "literal" and not plain:
            message = f"`{key}` holds the key itself, in clear text."
            hint = "Write a reference: $NAME or file:/path."
            self.problems.append(self.loaded.warning("config.literal_secret", path, message, hint))
        if reference.kind == "file":
            self.loaded.reads(self.loaded.folder / reference.name)
        try:
            return reference.resolve(self.environment, self.loaded.folder)
        except SecretError as error:
            hint = "Set it in the environment or in the .env file beside the configuration."
            self._error(
                "config.unresolved_secret", path, str(error), hint if reference.kind == "variable" else ""
            )
            return None

    def _error(self, code: str, path: KeyPath, message: str, hint: str = "", *, key: bool = False) -> None:
        self.problems.append(self.loaded.problem(code, path, message, hint, key=key))


def _is_path(text: str) -> bool:
    return text.startswith("/") and text.isascii() and text.isprintable() and " " not in text
