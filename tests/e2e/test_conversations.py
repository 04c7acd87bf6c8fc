"""A conversation that Meseta keeps survives whoever is killed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator


AGENT = """
import meseta

@meseta.agent
def count(messages):
    said = [str(message["content"]) for message in messages if message["role"] == "user"]
    return f"{len(said)}: {said[0]}"

meseta.serve(count)
"""

FILE = """\
version: 1
listeners:
  - name: assistant
    type: agent
    port: 0
    history: keep
    agents: [{id: count, description: Counts turns.}]
agents:
  - {id: count, hold: {timeout: 4m}, run: {command: [PYTHON, count.py], ready: {path: /health}}}
"""


@contextmanager
def served(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run `meseta up` on the file; what is left of it is killed."""
    environment = os.environ | {"MESETA_HOME": str(folder / "home"), "MESETA_ALLOW_DEBUG": "1"}
    with (folder / "err").open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "meseta", "up", "meseta.yaml", "--json"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (folder / "err").read_text()
            yield process, json.loads(line)["listeners"][0]["port"]
        finally:
            process.kill()


def say(port: int, text: str) -> str:
    """Say one turn of the conversation and return the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        body = json.dumps({"messages": [{"role": "user", "content": text}]})
        headers = {"content-type": "application/json", "x-meseta-session": "ours"}
        connection.request("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
        assert response.status == 200, answer
        return str(answer["choices"][0]["message"]["content"])
    finally:
        connection.close()


def agent_pid(folder: Path) -> int:
    """Return the process of the agent."""
    environment = os.environ | {"MESETA_HOME": str(folder / "home")}
    command = [sys.executable, "-m", "meseta", "agents", "list", "--json"]

    def listed() -> list[int]:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            return []
        rows = json.loads(done.stdout)
        rows = rows["agents"] if isinstance(rows, dict) else rows
        return [int(one["pid"]) for row in rows for one in row["instances"] if one.get("pid")]

    pids: list[int] = until(listed)
    return pids[0]


def test_a_conversation_survives_its_agent_and_meseta(tmp_path: Path) -> None:
    (tmp_path / "count.py").write_text(AGENT)
    (tmp_path / "meseta.yaml").write_text(FILE.replace("PYTHON", json.dumps(sys.executable)))
    with served(tmp_path) as (process, port):
        assert say(port, "This is the first.") == "1: This is the first."
        pid = agent_pid(tmp_path)
        os.kill(pid, signal.SIGKILL)
        # While it dies it may still take a request, of which nobody then knows whether it was carried out.
        until(lambda: not Path(f"/proc/{pid}").exists())
        assert say(port, "And the second.") == "2: This is the first."
        process.send_signal(signal.SIGKILL)
        process.wait()
    with served(tmp_path) as (_process, port):
        assert say(port, "And the third.") == "3: This is the first."
