"""The processes: simulated providers, and one `meseta up` in front of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chaos.plan import Layout

BENCHES = Path(__file__).parents[1]
PACE = "pace=10ms;continue=rest"
"""How a target that is well answers."""
KEPT = 100_000
START_SECONDS = 30.0
RELOAD_SECONDS = 60.0
"""The longest that the reading of a file may take."""

HEALTH = "{failures: 3, minimum_requests: 10, window: 5s, rest: 1s, rest_max: 4s, ramp: 2s}"
"""A run is short, so what is down rests for seconds and not for minutes."""
RETRY = "{attempts: 6, backoff: 20ms, backoff_max: 500ms, on: [rate_limit, error, timeout]}"
BUDGET = "{share: 100}"
"""What an operator writes who expects three of four targets to be ill at once.

Until they are known to be, a request may take three calls more; on average it may take one."""

PROVIDERS = (
    ("openai", "/v1"),
    ("anthropic", ""),
    ("openai", "/v1"),
    ("gemini", "/v1beta"),
)
"""Dialects of the targets in turn, and what their base URLs end with."""


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Watchdog:
    """Ends what was started, if this process itself is killed: a suspended child would stay for ever."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(BENCHES / "watchdog.py")], stdin=subprocess.PIPE, text=True
        )

    def tell(self, sign: str, group: int) -> None:
        """Note a group that began (`+`) or ended (`-`)."""
        if self.process.stdin:
            self.process.stdin.write(f"{sign}{group}\n")
            self.process.stdin.flush()

    def close(self) -> None:
        """Let it end what is left, and end itself."""
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()


class Target:
    """A simulated provider in a process of its own, so that it can be killed and suspended."""

    def __init__(self, number: int, command: list[str], folder: Path, watchdog: Watchdog) -> None:
        self.number = number
        self.port = free_port()
        self.watchdog = watchdog
        self.log = folder / f"target-{number}.log"
        script = folder / "script.json"
        script.write_text(json.dumps([{"reply": {"directives": PACE}}]))
        self.command = [*command, "sim", "--port", str(self.port), "--script", str(script)]
        self.process: subprocess.Popen[bytes] | None = None
        self.records: list[dict[str, Any]] = []
        """What those of its processes that have ended had recorded."""

    async def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True)
        self.watchdog.tell("+", self.process.pid)
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while True:
            try:
                await asyncio.to_thread(self._call, "DELETE", f"requests?keep={KEPT}")
            except OSError as error:
                if asyncio.get_running_loop().time() > deadline or self.process.poll() is not None:
                    raise RuntimeError(f"target {self.number} did not start, see {self.log}") from error
                await asyncio.sleep(0.05)
            else:
                return

    def signal(self, number: int) -> None:
        """Send a signal to its process."""
        if self.process:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once; whoever waits for it hears nothing more."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.watchdog.tell("-", self.process.pid)
            self.process = None

    async def collect(self) -> None:
        """Keep what it has recorded: it is about to end."""
        with contextlib.suppress(OSError, ValueError):
            self.records += await asyncio.to_thread(self._call, "GET", "requests")

    async def order(self, directives: str, share: float) -> None:
        """Switch faults on."""
        body = json.dumps({"directives": directives, "share": share}).encode()
        await asyncio.to_thread(self._call, "PUT", "faults", body)

    async def calm(self) -> None:
        """Switch faults off."""
        await asyncio.to_thread(self._call, "DELETE", "faults")

    def _call(self, method: str, what: str, body: bytes | None = None) -> Any:
        url = f"http://127.0.0.1:{self.port}/sim/{what}"
        request = urllib.request.Request(url, data=body, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


class Gateway:
    """`meseta up` on a file that changes."""

    def __init__(self, command: list[str], folder: Path, targets: list[Target], *, single: bool) -> None:
        self.folder = folder
        self.targets = targets
        self.single = single
        self.port = free_port()
        self.file = folder / "meseta.yaml"
        self.log = folder / "meseta.log"
        self.command = [*command, "up", str(self.file), "--no-watch", "--drain", "20s"]
        self.process: subprocess.Popen[bytes] | None = None
        self.layouts: list[Layout] = []
        """What the file has said, in order."""
        self.reload_seconds: list[float] = []
        """How long it took until each reload was in force, or refused."""

    @property
    def store(self) -> Path:
        """Where the plane records its requests."""
        return self.folder / "store" / "log.db"

    def write(self, layout: Layout) -> None:
        """Write the file anew, whole or not at all."""
        self.layouts.append(layout)
        lines = [
            "version: 1",
            "listeners:",
            f"  - {{name: models, type: model, port: {self.port}}}",
            "model_providers:",
        ]
        for number in sorted(layout.members):
            provider, tail = PROVIDERS[number % len(PROVIDERS)]
            url = f"http://127.0.0.1:{self.targets[number].port}{tail}"
            lines += [
                f"  - name: t{number}",
                f"    model: {provider}/echo",
                f'    base_url: "{url}"',
                "    access_key: none",
                "    timeouts: {connect: 1s, first_token: 3s, idle: 2s, total: 25s}",
            ]
            if not self.single:
                lines.append(f"    health: {HEALTH}")
        if self.single:
            lines += ["model_aliases:", f"  smart: {{target: t{layout.members[0]}}}"]
        else:
            lines += [
                "pools:",
                "  - name: smart",
                "    select: weighted",
                f"    retry: {RETRY}",
                "    targets:",
            ]
            members = zip(layout.members, layout.weights, strict=True)
            lines += [f"      - {{model: t{number}, weight: {weight}}}" for number, weight in members]
            lines.append(f"retry_budget: {BUDGET}")
        lines.append(f'store: {{path: "{self.store.parent}"}}')
        draft = self.file.with_suffix(".new")
        draft.write_text("\n".join(lines) + "\n")
        draft.replace(self.file)

    async def start(self, watchdog: Watchdog) -> None:
        """Start it and wait until it answers."""
        environment = {**os.environ, "MESETA_HOME": str(self.folder), "NO_COLOR": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, start_new_session=True, env=environment
            )
        watchdog.tell("+", self.process.pid)
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while not await asyncio.to_thread(self._well):
            if asyncio.get_running_loop().time() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"meseta up did not start, see {self.log}")
            await asyncio.sleep(0.05)

    def _well(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    async def reload(self, layout: Layout) -> None:
        """Change the file, have it read, and wait until it is in force."""
        if not self.process:
            return
        loop = asyncio.get_running_loop()
        begun = loop.time()
        self.write(layout)
        wanted = len(self.layouts) - 1
        self.process.send_signal(signal.SIGHUP)
        while self._read() < wanted:
            if loop.time() - begun > RELOAD_SECONDS:
                raise RuntimeError(f"a reload did not end, see {self.log}")
            await asyncio.sleep(0.02)
        self.reload_seconds.append(loop.time() - begun)

    def possible(self) -> list[Layout]:
        """Tell which versions of the file may be in force: the last one read, and one written since."""
        return self.layouts[min(self._read(), len(self.layouts) - 1) :]

    def _read(self) -> int:
        return self.log.read_text(errors="replace").count("\nReloaded ") + self.refused()

    def memory(self) -> int:
        """Resident memory in bytes."""
        if not self.process:
            return 0
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    async def stop(self) -> int:
        """Stop it as operators do; its exit code."""
        if not self.process:
            return 0
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 60)

    def refused(self) -> int:
        """Count the reloads that it did not take."""
        return self.log.read_text(errors="replace").count("configuration in force stays")
