"""Processes, what `/proc` says about them, and one run of the generator."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from contender import CHAT, MESSAGES

TICK = os.sysconf("SC_CLK_TCK")
GATEWAY_CORE = 0
GENERATOR_CORE = 1
PATHS = {CHAT: "/v1/chat/completions", MESSAGES: "/v1/messages"}


class FailedError(Exception):
    """A process that did not do what was asked of it; the text says what."""


def free_port() -> int:
    """Find a TCP port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pinned(command: list[str], core: int | None) -> list[str]:
    """Keep a command to one core; `None` leaves it to the scheduler."""
    return command if core is None else ["taskset", "-c", str(core), *command]


class Watchdog:
    """A process that outlives this one by a moment: `watchdog.py` says what it does."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("watchdog.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, start_new_session=True, text=True
        )

    def note(self, change: str, group: int) -> None:
        """Tell it that a process group has started, `+`, or ended, `-`."""
        if self.process.stdin:
            self.process.stdin.write(f"{change}{group}\n")
            self.process.stdin.flush()

    @staticmethod
    @functools.cache
    def instance() -> Watchdog:
        """Start it with the first server."""
        return Watchdog()


class Running:
    """A server process and its children, as a context that ends them."""

    def __init__(
        self, command: list[str], *, port: int, core: int | None, log: Path, environment: dict[str, str]
    ):
        self.port = port
        self.started = time.monotonic()
        with log.open("w") as words:
            self.process = subprocess.Popen(
                pinned(command, core),
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                cwd=log.parent,
                env=os.environ | environment,
                start_new_session=True,
            )
        Watchdog.instance().note("+", self.process.pid)

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)
        self.signal(signal.SIGKILL)
        self.process.wait()
        Watchdog.instance().note("-", self.process.pid)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group; a group that is gone is no error."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> float:
        """Poll until `ready` and return the milliseconds since the start."""
        while not ready():
            if self.process.poll() is not None:
                raise FailedError(f"exited with {self.process.returncode} before it answered")
            if time.monotonic() - self.started > seconds:
                raise FailedError(f"did not answer within {seconds:.0f} s")
            time.sleep(0.003)
        return (time.monotonic() - self.started) * 1000

    def tree(self) -> list[int]:
        """List the process and all that descend from it."""
        children: dict[int, list[int]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (fields := stat(int(entry))):
                children.setdefault(int(fields[1]), []).append(int(entry))
        found = [self.process.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def cpu_seconds(self) -> float:
        """User and system time of the tree, that of ended children included."""
        ticks = (sum(map(int, fields[11:15])) for pid in self.tree() if (fields := stat(pid)))
        return sum(ticks) / TICK

    def memory(self) -> dict[str, float]:
        """Resident and proportional size of the tree in MiB."""
        total = {"rss": 0.0, "pss": 0.0}
        for pid in self.tree():
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            for line in lines:
                key = line.partition(":")[0].lower()
                if key in total:
                    total[key] += int(line.split()[1]) / 1024
        return total


def stat(pid: int) -> list[str] | None:
    """Read `/proc/PID/stat` after the name, so index 1 is the parent; `None` once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def machine_busy_seconds() -> float:
    """Sum up the working time of the whole machine so far.

    The time of soft interrupts is listed apart here, yet processes are charged for it too.
    """
    user, nice, system, _idle, _wait, hard, soft = map(int, proc_stat()[1:8])
    return (user + nice + system + hard + soft) / TICK


def proc_stat() -> list[str]:
    """Split the first line of `/proc/stat`: the whole machine's times by kind."""
    return Path("/proc/stat").read_text().splitlines()[0].split()


def answers(port: int, model: str, headers: list[str], api: str) -> bool:
    """Whether a small request is answered with 200."""
    asked: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "ready?"}]}
    if api == MESSAGES:
        asked["max_tokens"] = 16
    body = json.dumps(asked)
    sent = {"content-type": "application/json"} | dict(header.split(":", 1) for header in headers)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", PATHS[api], body, sent)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@dataclass(frozen=True)
class Generator:
    """The generator binary, the model it asks for and the core it is kept to."""

    binary: Path
    model: str
    core: int | None

    def run(
        self,
        port: int,
        options: list[str],
        *,
        api: str,
        gateway: Running | None,
        mock: Running,
        with_memory: bool = False,
    ) -> dict[str, Any]:
        """One run against `port`: its report, and who used how much CPU time meanwhile, in seconds."""
        url = f"http://127.0.0.1:{port}{PATHS[api]}"
        command = [str(self.binary), "load", "--url", url, "--api", api, "--model", self.model, *options]
        watched = [server for server in (gateway, mock) if server]
        before = [server.cpu_seconds() for server in watched]
        own, busy, start = own_seconds(), machine_busy_seconds(), time.monotonic()
        with subprocess.Popen(pinned(command, self.core), stdout=subprocess.PIPE, text=True) as process:
            seconds = float(options[options.index("--seconds") + 1])
            if with_memory and gateway:
                time.sleep(0.7 * seconds)
                memory = gateway.memory()
            text = process.stdout.read() if process.stdout else ""
        if process.returncode != 0:
            raise FailedError(f"the generator exited with {process.returncode}")
        wall = time.monotonic() - start
        busy, own = machine_busy_seconds() - busy, own_seconds() - own
        used = [server.cpu_seconds() - earlier for server, earlier in zip(watched, before, strict=True)]
        report: dict[str, Any] = json.loads(text)
        report["wall"] = wall
        report["cpu_gateway"] = used[0] if gateway else 0.0
        # Reaped by the `with` above, the generator's own time is part of ours.
        report["cpu_generator_side"] = used[-1] + own
        report["cpu_others"] = max(0.0, busy - own - sum(used))
        if with_memory and gateway:
            report["memory"] = memory
        return report


def own_seconds() -> float:
    """User and system time of this program and its ended children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
