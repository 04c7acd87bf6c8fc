"""Runs instances as processes of this machine, none of which outlives Meseta."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from meseta.fleet.driver import LOOPBACK, CannotStartError
from meseta.fleet.environment import of_process
from meseta.fleet.guardian import MARK_NAME, Guardian
from meseta.fleet.launch import CANNOT_START
from meseta.fleet.output import Output, file_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from meseta.config.fleet import AgentSpec

LARGEST_PORT = 65_535
_BLOCK = 65_536
_LOOK_SECONDS = 0.1
"""How often to look whether a process ended, where the kernel does not tell."""
_LAST_OUTPUT_BYTES = 1_048_576
"""What is still read from a process that ended; a child of it might go on printing for ever."""


class ProcessDriver:
    """Starts processes; used on one loop, whose thread must live as long as they do.

    The kernel ends a process when the thread that started it ends (Linux), and the guardian ends its whole
    group when Meseta does.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._guardian = Guardian()
        self._ports: set[int] = set()

    def start(self, spec: AgentSpec, number: int, environment: Mapping[str, str]) -> Process:
        """Start one; it listens on `port` of the loopback address if it does as it is told."""
        port = self._reserve(spec, number)
        try:
            return self._start(spec, number, of_process(spec, environment, port), port)
        except BaseException:
            self._ports.discard(port)
            raise

    def check(self) -> None:
        """Start the guardian again if it is gone while there are processes to guard."""
        if self._ports:
            self._guardian.ensure()

    def close(self) -> None:
        """Have the guardian end what is left."""
        self._guardian.close()

    def _start(self, spec: AgentSpec, number: int, environment: dict[str, str], port: int) -> Process:
        if not spec.cwd.is_dir():
            raise CannotStartError(f"there is no directory {spec.cwd}")
        program = _find(spec, environment["PATH"])
        try:
            self._guardian.ensure()
        except OSError as error:
            raise CannotStartError(f"no guardian could be started ({error.strerror})") from None
        launcher = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py")), str(os.getpid())]
        pipe, end = os.pipe()
        try:
            started = subprocess.Popen(
                [*launcher, program, *spec.command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=end,
                stderr=subprocess.STDOUT,
                cwd=spec.cwd,
                env={**environment, MARK_NAME: self._guardian.mark},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            os.close(pipe)
            reason = getattr(error, "strerror", None) or str(error)
            raise CannotStartError(f"no process could be started ({reason})") from None
        finally:
            os.close(end)
        self._guardian.add(started.pid)
        output = Output(file_of(self._home, spec.id, number), spec.log_bytes)
        output.note(f"started process {started.pid} on port {port}")
        return Process(started, pipe, port, output, self._gone)

    def _gone(self, process: Process) -> None:
        self._guardian.remove(process.pid)
        self._ports.discard(process.port)

    def _reserve(self, spec: AgentSpec, number: int) -> int:
        if not spec.port:
            port = _free_port(self._ports)
        else:
            port = spec.port + number - 1
            if port > LARGEST_PORT:
                raise CannotStartError(f"there is no port {port}")
            if port in self._ports or not _is_free(port):
                raise CannotStartError(f"port {port} is taken")
        self._ports.add(port)
        return port


class Process:
    """A process in a session of its own, with everything that it starts and that stays in its group."""

    def __init__(
        self,
        started: subprocess.Popen[bytes],
        pipe: int,
        port: int,
        output: Output,
        gone: Callable[[Process], None],
    ) -> None:
        self._started = started
        self._output = output
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._killed = False
        self.port = port
        self.pid: int = started.pid
        self.ended: asyncio.Future[str] = self._loop.create_future()
        self._pipe: int | None = pipe
        os.set_blocking(pipe, False)
        self._loop.add_reader(pipe, self._read)
        self._notifier: int | None = None
        with contextlib.suppress(OSError, AttributeError):
            self._notifier = os.pidfd_open(self.pid)
        if self._notifier is None:
            self._loop.call_later(_LOOK_SECONDS, self._look)
        else:
            self._loop.add_reader(self._notifier, self._look)

    async def stop(self, grace_seconds: float) -> bool:
        """Send SIGTERM to the group, and after the grace SIGKILL."""
        if self.ended.done():
            return True
        self._signal(signal.SIGTERM)
        await asyncio.wait({self.ended}, timeout=grace_seconds)
        if self.ended.done():
            return True
        self._killed = True
        self._output.note(f"did not end within {grace_seconds:g} s of SIGTERM; killed")
        self._signal(signal.SIGKILL)
        await self.ended
        return False

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self.pid, number)

    def _look(self) -> None:
        """Finish when the process has ended. Until it is reaped, nobody else can have its number."""
        if self.ended.done():
            return
        flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
        with contextlib.suppress(ChildProcessError):
            if os.waitid(os.P_PID, self.pid, flags) is None:
                if self._notifier is None:
                    self._loop.call_later(_LOOK_SECONDS, self._look)
                return
        # What it started and left behind would keep its port, its files and its memory.
        self._signal(signal.SIGKILL)
        how = _ending(self._started.wait())
        if self._notifier is not None:
            self._loop.remove_reader(self._notifier)
            os.close(self._notifier)
        self._read(_LAST_OUTPUT_BYTES)
        self._close_pipe()
        self._output.note(how)
        self._output.close()
        self._gone(self)
        self.ended.set_result(how)

    def _read(self, most: int = _BLOCK) -> None:
        while self._pipe is not None and most > 0:
            try:
                data = os.read(self._pipe, _BLOCK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._close_pipe()
                return
            self._output.write(data)
            most -= len(data)

    def _close_pipe(self) -> None:
        if self._pipe is not None:
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = None


def _find(spec: AgentSpec, path: str) -> str:
    """Return the program to start: a path as it is, a name by the PATH of the agent."""
    program = spec.command[0] if spec.command else ""
    if "/" in program:
        found = shutil.which(str(spec.cwd / program))
    else:
        found = shutil.which(program, path=path) if program else None
    if found is None:
        raise CannotStartError(f"there is no program {program!r} that could be started")
    return found


def _ending(code: int) -> str:
    if code == CANNOT_START:
        return f"ended with exit code {code}: its program could not be started"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Connections of the one before may linger; only a listener makes a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _free_port(taken: set[int]) -> int:
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((LOOPBACK, 0))
            port: int = probe.getsockname()[1]
        if port not in taken:
            return port
    raise CannotStartError("no port is free")
