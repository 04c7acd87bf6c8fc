"""Run it: `PYTHONPATH=benches python -m rolling`. Exit code 0 if no turn of any conversation was lost.

Each conversation is one client that says only its new turn; Meseta keeps the rest. Every answer must come
from the third agent of the chain, after the first and the second, and count exactly the turns so far.
"""

from __future__ import annotations

import argparse
import datetime
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from table import machine_facts

AGENT = Path(__file__).with_name("agent.py")
IDS = ("first", "second", "third")
START_SECONDS = 120.0


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="rolling", description=__doc__)
    parser.add_argument("--conversations", type=int, default=50, help="at once (default %(default)s)")
    parser.add_argument("--turns", type=int, default=20, help="of each (default %(default)s)")
    parser.add_argument("--replicas", type=int, default=2, help="of each agent (default %(default)s)")
    parser.add_argument("--page", metavar="FILE", type=Path, help="write a dated page there")
    return parser.parse_args()


def configuration(replicas: int) -> str:
    """Write the file: three agents of the same program, all of them asked for every turn."""
    run = f"{{command: [{json.dumps(sys.executable)}, {json.dumps(str(AGENT))}], replicas: {replicas}, "
    run += "ready: {path: /health, timeout: 60s}, drain: 60s}"
    return json.dumps(
        {
            "version": 1,
            "listeners": [
                {
                    "name": "assistant",
                    "type": "agent",
                    "port": 0,
                    "history": "keep",
                    "agents": [{"id": name, "description": name} for name in IDS],
                    "rules": [{"name": "all", "use": list(IDS), "when": {}}],
                }
            ],
            "chooser": {"embedded": False},
            "model_providers": [{"model": "sim/*"}],
            "agents": [{"id": name, "run": "RUN"} for name in IDS],
        }
    ).replace('"RUN"', run)


class Conversation(threading.Thread):
    """One client: a turn after the other, each told on its own."""

    def __init__(self, port: int, name: str, turns: int) -> None:
        super().__init__()
        self.port, self.session, self.turns = port, name, turns
        self.seconds: list[float] = []
        self.lost: list[str] = []

    def run(self) -> None:
        """Say every turn and look at every answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"content-type": "application/json", "x-meseta-session": self.session}
        for turn in range(1, self.turns + 1):
            body = {"messages": [{"role": "user", "content": f"This is what I say in turn number {turn}."}]}
            began = time.perf_counter()
            try:
                connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
                response = connection.getresponse()
                text = response.read().decode()
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(f"turn {turn}: {error!r}")
                connection.close()
                continue
            self.seconds.append(time.perf_counter() - began)
            wanted = f"third: turn {turn} after first,second"
            if response.status != 200 or wanted not in text:
                self.lost.append(f"turn {turn}: {response.status} {text[:200]}")


def restart_all(folder: Path, stop: threading.Event, done: list[str]) -> None:
    """Replace the instances of every agent, and again, until the conversations are over."""
    while not stop.is_set():
        for name in IDS:
            before = newest(folder, name)
            if not agents(folder, "restart", name):
                continue
            while not stop.is_set() and not settled(folder, name, before):
                time.sleep(0.2)
            if not stop.is_set():
                done.append(name)


def settled(folder: Path, name: str, before: int = 0) -> bool:
    """Whether every instance of an agent is of a later generation than `before`, and answers."""
    ones = instances(folder, name)
    ready = {"ready", "busy"}
    return bool(ones) and all(one["generation"] > before and one["state"] in ready for one in ones)


def newest(folder: Path, name: str) -> int:
    """Return the number of an agent's newest generation."""
    return max((one["generation"] for one in instances(folder, name)), default=0)


def instances(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return what is known of the instances of an agent."""
    text = agents(folder, "list", "--json")
    rows = json.loads(text) if text else []
    rows = rows["agents"] if isinstance(rows, dict) else rows
    found: list[dict[str, Any]] = [one for row in rows if row["id"] == name for one in row["instances"]]
    return found


def agents(folder: Path, *words: str) -> str:
    """Ask the running Meseta."""
    command = [sys.executable, "-m", "meseta", "agents", *words]
    environment = os.environ | {"MESETA_HOME": str(folder / "home")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def main() -> int:
    """Run the conversations and say what became of them."""
    given = arguments()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "meseta.yaml").write_text(configuration(given.replicas))
        environment = os.environ | {"MESETA_HOME": str(folder / "home"), "MESETA_ALLOW_DEBUG": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", "meseta", "up", "meseta.yaml", "--json"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=(folder / "err").open("w"),
            text=True,
        )
        try:
            assert process.stdout is not None
            announced = json.loads(process.stdout.readline())
            port = next(row["port"] for row in announced["listeners"] if row["name"] == "assistant")
            deadline = time.monotonic() + START_SECONDS
            while not all(settled(folder, name) for name in IDS):
                if time.monotonic() > deadline:
                    sys.stderr.write((folder / "err").read_text())
                    return 1
                time.sleep(0.2)
            result = converse(given, folder, port)
        finally:
            process.terminate()
            process.wait()
    print(result)
    if given.page is not None:
        given.page.write_text(result)
    return 0 if "Lost: 0." in result else 1


def converse(given: argparse.Namespace, folder: Path, port: int) -> str:
    """Have all conversations at once, replace the agents meanwhile, and word what came of it."""
    stop, done = threading.Event(), list[str]()
    restarting = threading.Thread(target=restart_all, args=(folder, stop, done))
    everybody = [
        Conversation(port, f"conversation-{number}", given.turns) for number in range(given.conversations)
    ]
    began = time.monotonic()
    for thread in (*everybody, restarting):
        thread.start()
    for one in everybody:
        one.join()
    took = time.monotonic() - began
    stop.set()
    restarting.join()
    seconds = sorted(second for one in everybody for second in one.seconds)
    lost = [f"{one.session}, {what}" for one in everybody for what in one.lost]
    facts = "\n".join(f"- {name}: {fact}" for name, fact in machine_facts().items())
    half, most = seconds[len(seconds) // 2], seconds[int(len(seconds) * 0.99)]
    return (
        f"# Conversations while agents are replaced, {datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}\n\n"
        f"`PYTHONPATH=benches python -m rolling --conversations {given.conversations} --turns {given.turns} "
        f"--replicas {given.replicas}`\n\n"
        f"{given.conversations} conversations at once of {given.turns} turns each, every turn through "
        f"a chain of three agents that Meseta runs ({given.replicas} instances of each), kept by Meseta. "
        f"All agents were replaced one instance after the other, over and over: {len(done)} rolling "
        f"restarts in {took:.0f} s.\n\n"
        f"Turns answered: {len(seconds) - sum('turn' in what for what in lost)} of "
        f"{given.conversations * given.turns}. Lost: {len(lost)}. A turn took {half:.2f} s at the median and "
        f"{most:.2f} s at p99, of which the agents themselves sleep 0.15 s.\n\n"
        + "".join(f"- {what}\n" for what in lost[:20])
        + f"{facts}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
