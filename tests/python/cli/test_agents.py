"""`meseta agents` and the agents of a `meseta up`, with a real plane and real processes."""

from __future__ import annotations

import functools
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.waiting import PATIENCE, alive, until

from meseta.control import client as control

if TYPE_CHECKING:
    from collections.abc import Callable

AGENT = Path(__file__).parents[1] / "fleet" / "agent.py"
Up = Any
"""Starts a `meseta up` with the words that it is given; see conftest.py."""


def write(words: str = "", run: str = "", more: str = "") -> None:
    """Write a file with one agent that is `agent.py`."""
    Path("meseta.yaml").write_text(
        "version: 1\n"
        "listeners:\n"
        "  - {name: assistant, type: agent, port: 0, agents: [{id: weather, description: Rain.}]}\n"
        "  - {name: models, port: 0}\n"
        "model_providers: [{model: sim/*}]\n"
        "agents:\n"
        "  - id: weather\n"
        # A slow machine takes long to start a process.
        "    hold: {timeout: 4m}\n"
        f"    run: {{command: [python, '{AGENT}'{words}], ready: {{path: /health}}{run}}}\n" + more
    )


def meseta(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "meseta", *words], capture_output=True, text=True)


def agents() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = control.ask(Path(".meseta"), "agents.list")["agents"]
    return rows


def ask(port: int, text: str = "Will it rain?", patience: float = PATIENCE) -> tuple[int, str]:
    """Send a conversation to a listener."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    try:
        body = {"model": "assistant", "messages": [{"role": "user", "content": text}]}
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"}
        )
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.fixture
def children() -> Callable[[], list[int]]:
    """What the agent with `--children` has started: one in its group, one that left it, a daemon."""

    def find() -> list[int]:
        for line in meseta("agents", "logs", "weather").stdout.splitlines():
            if "children " in line:
                return [int(word) for word in line.partition("children ")[2].split()]
        return []

    return find


@pytest.mark.parametrize("end", ["kill", "second signal", "terminate"])
def test_no_process_outlives_meseta(up: Up, children: Callable[[], list[int]], end: str) -> None:
    write(", --children, --stubborn", ", grace: 100ms")
    with up("--drain", "10m") as running:
        running.until("Agent weather/1 is ready")
        (row,) = agents()
        pids = [row["instances"][0]["pid"], *children()]
        assert len(pids) == 4
        assert all(map(alive, pids))
        if end == "kill":
            running.process.kill()
        elif end == "terminate":
            running.process.terminate()
            running.until("Stopped.")
        else:
            connection, response = model_stream(running)
            running.process.terminate()
            running.until("Stopping: 1 in flight")
            running.process.send_signal(signal.SIGINT)
            running.process.wait()
            response.close()
            connection.close()
        until(lambda: not any(map(alive, pids)))


def model_stream(running: Any) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """Begin a stream of the simulator that never ends."""
    port = next(row["port"] for row in running.announced["listeners"] if row["name"] == "models")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    body = {"model": "sim/echo", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"content-type": "application/json", "x-sim": "stall=1"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    response.read1(1)
    return connection, response


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads the memory and the environment of everybody")
def test_an_agent_cannot_read_what_meseta_was_started_with(up: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-operator")
    write(", --pries")
    with up() as running:
        running.until("Agent weather/1 is ready")
        printed = meseta("agents", "logs", "weather").stdout
        assert f"environment of {running.process.pid}: Permission denied" in printed
        assert "sk-of-the-operator" not in printed


def test_an_agent_is_started_when_it_is_needed(up: Up) -> None:
    write(run=", replicas: {min: 0, max: 2}, idle: 10m")
    with up() as running:
        assert running.until("Agents:") == "Agents: weather\n"
        assert [(row["state"], row["ready"]) for row in agents()] == [("stopped", 0)]
        status, text = ask(running.port)
        assert status == 200
        (row,) = agents()
        assert (row["state"], row["ready"]) == ("ready", 1)
        assert f"I am {row['instances'][0]['pid']}" in text
        status_lines = meseta("status").stdout.splitlines()
        assert "agents    weather ready 1/1" in status_lines
        assert "choices   only chosen 1" in status_lines


def test_one_that_crashed_is_replaced_while_a_request_waits(up: Up) -> None:
    write(run=", restart: {base: 500ms}")
    with up() as running:
        running.until("Agent weather/1 is ready")
        (row,) = agents()
        os.kill(row["instances"][0]["pid"], signal.SIGKILL)
        running.until("warning: Agent weather/1 was ended by SIGKILL")
        status, text = ask(running.port)
        assert status == 200, text


def refused(port: int) -> bool:
    """Whether a conversation is refused rather than held."""
    try:
        return ask(port, patience=5.0)[0] == 503
    except TimeoutError:
        return False


def test_one_that_will_not_come_is_not_waited_for(up: Up) -> None:
    write(", --fails", ", restart: {base: 1h, max: 1h}")
    with up() as running:
        running.until("warning: Agent weather/1 ended with exit code 3")
        until(lambda: refused(running.port))
        meseta("agents", "scale", "weather", "0")
        until(lambda: agents()[0]["desired"] == 0)
        until(lambda: refused(running.port))


def test_a_rolling_restart_under_load_loses_nothing(up: Up) -> None:
    write(run=", replicas: 2, env: {TAKES: '0.05'}")
    with up() as running:
        running.until("Agent weather/1 is ready")
        until(lambda: agents()[0]["ready"] == 2)
        before = {one["pid"] for one in agents()[0]["instances"]}
        stop = threading.Event()
        answers: list[tuple[int, str]] = []

        def answered(before: int) -> bool:
            return len(answers) > before

        def load() -> None:
            while not stop.is_set():
                answers.append(ask(running.port))

        threads = [threading.Thread(target=load) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            for generation in (2, 3):
                seen = len(answers)
                done = meseta("agents", "restart", "weather")
                assert done.stdout == "Restarting weather: 2 instances, one after the other.\n"

                def over(generation: int = generation) -> bool:
                    ones = agents()[0]["instances"]
                    new = [one for one in ones if one["generation"] == generation]
                    return len(new) == len(ones) == 2 and {one["state"] for one in new} <= {"ready", "busy"}

                until(over)
                until(functools.partial(answered, seen))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert {status for status, _ in answers} == {200}, [text for status, text in answers if status != 200]
        assert not before & {one["pid"] for one in agents()[0]["instances"]}


def test_a_changed_file_is_a_rolling_restart(up: Up) -> None:
    write()
    with up() as running:
        running.until("Agent weather/1 is ready")
        first = agents()[0]["instances"][0]["pid"]
        write(", changed")
        # The agents have a thread of their own, which does not wait for the word about the file.
        running.until_each("Reloaded", "Agent weather/2 is ready", "Agent weather/1 has ended")
        assert not alive(first)
        assert "changed" in ask(running.port)[1]
        write(", --fails")
        running.until("warning: Agent weather/1 ended with exit code 3")
        assert ask(running.port)[0] == 200, "the one before still answers"


def test_a_restart_that_is_waited_for(up: Up) -> None:
    write(", --fails-later", ", restart: {base: 100ms, max: 200ms, crash_loop: 2}")
    with up() as running:
        running.until("Agent weather/1 is ready")
        before = agents()[0]["instances"][0]["pid"]
        done = meseta("agents", "restart", "weather", "--wait", "5m")
        assert (done.returncode, done.stdout) == (0, "Restarted weather: 1 of 1 replaced.\n")
        assert agents()[0]["instances"][0]["pid"] != before
        Path("broken").touch()
        done = meseta("agents", "restart", "weather", "--wait", "5m")
        assert done.returncode == 1
        assert "0 of 1 replaced; the new ones fail: ended with exit code 3" in done.stderr
        assert "weather: 0 of 1 replaced; the new ones fail" in meseta("agents", "list").stderr
        assert "(0 of 1 replaced; the new ones fail" in meseta("status").stdout
        for words in (("restart", "weather", "--wait", "soon"), ("list", "--wait", "1m")):
            assert meseta("agents", *words).returncode == 2


def test_scale_and_what_it_says(up: Up) -> None:
    write()
    with up() as running:
        running.until("Agent weather/1 is ready")
        assert meseta("agents", "scale", "weather", "2").stdout == "Agent weather gets 2 instances.\n"
        running.until("Agent weather/2 is ready")
        until(lambda: agents()[0]["ready"] == 2)
        assert json.loads(meseta("agents", "--json").stdout)["agents"] == agents()
        shown = meseta("agents", "list")
        assert shown.returncode == 0
        assert "2/2 by hand" in shown.stdout
        assert "2 ready" in shown.stdout
        assert meseta("agents", "scale", "weather", "auto").stdout == (
            "Agent weather gets as many instances as the file says.\n"
        )
        running.until("Agent weather/2 has ended")
        for words, code, text in (
            (("scale", "weather", "1001"), 1, "0 to 1000"),
            (("scale", "weather", "many"), 1, "`replicas` is a number, or `auto`"),
            (("scale", "weather"), 2, "needs the number of instances"),
            (("restart",), 2, "needs the ID of an agent"),
            (("restart", "wether"), 1, "Did you mean `weather`?"),
            (("list", "nobody"), 1, "There is no agent 'nobody'"),
            (("list", "weather", "1"), 2, "`1` is not understood here"),
            (("list", "--follow"), 2, "belong to `logs`"),
            (("logs", "weather", "--lines", "-1"), 2, "`--lines` must be"),
        ):
            done = meseta("agents", *words)
            assert (done.returncode, text in done.stderr) == (code, True), done


def test_logs(up: Up) -> None:
    write(", --tells")
    with up() as running:
        running.until("Agent weather/1 is ready")
        shown = meseta("agents", "logs", "weather", "--lines", "1").stdout
        assert shown.startswith("1 | listening on ")
        rows = [
            json.loads(line) for line in meseta("agents", "logs", "weather", "--json").stdout.splitlines()
        ]
        assert [row["instance"] for row in rows] == [1] * len(rows)
        follower = subprocess.Popen(
            [sys.executable, "-m", "meseta", "agents", "logs", "weather", "-f", "--instance", "2"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert follower.stdout is not None
        meseta("agents", "restart", "weather")
        assert "started process" in follower.stdout.readline()
        # Not SIGINT, which whoever runs the tests in the background may have had ignored.
        follower.terminate()
        follower.communicate()
        running.process.kill()
        running.process.wait()
        assert meseta("agents", "logs", "weather").stdout, "a plane that is gone is no obstacle"
    for words in (("nobody",), ("weather", "--instance", "9"), ("..",)):
        done = meseta("agents", "logs", *words)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr


def test_logs_of_one_whose_newer_file_is_gone() -> None:
    folder = Path(".meseta/agents/weather")
    folder.mkdir(parents=True)
    (folder / "1.log.1").write_text("begun\n")
    assert meseta("agents", "logs", "weather").stdout == "1 | begun\n"
    done = meseta("agents", "logs", "weather", "--instance", "2")
    assert (done.returncode, "Instance 2 of agent `weather` has printed nothing" in done.stderr) == (1, True)
    assert "Meseta does not run there" in meseta("agents", "logs", "flights").stderr


def test_logs_of_one_whose_program_is_missing(up: Up) -> None:
    write()
    file = Path("meseta.yaml")
    file.write_text(file.read_text().replace("command: [python", "command: [pythn"))
    with up() as running:
        running.until("warning: Agent weather/1 there is no program 'pythn'")
        done = meseta("agents", "logs", "weather")
        assert (done.returncode, "has printed nothing: there is no program 'pythn'" in done.stderr) == (
            1,
            True,
        )


def test_what_an_agent_prints_does_not_steer_the_terminal() -> None:
    folder = Path(".meseta/agents/weather")
    folder.mkdir(parents=True)
    (folder / "1.log").write_bytes(b"red \x1b[31m and \xff bad\tend\r\nbegun")
    shown = meseta("agents", "logs", "weather").stdout
    assert shown == "1 | red \ufffd[31m and \ufffd bad\tend\n1 | begun\n"


def test_an_agent_with_an_url_is_listed_and_left_alone(up: Up) -> None:
    Path("meseta.yaml").write_text(
        "version: 1\n"
        "listeners: [{name: a, type: agent, port: 0, agents: [{id: far, description: Far away.}]}]\n"
        "agents: [{id: far, url: 'http://127.0.0.1:9'}]\n"
        "model_providers: [{model: sim/*}]\n"
    )
    with up() as running:
        running.until("Try:")
        (row,) = agents()
        assert (row["id"], row["driver"], row["state"]) == ("far", "external", "ready")
        done = meseta("agents", "logs", "far")
        assert (done.returncode, "is run by somebody else" in done.stderr) == (1, True), done
        done = meseta("agents", "logs", "fa")
        assert (done.returncode, "Did you mean `far`?" in done.stderr) == (1, True), done
        done = meseta("agents", "restart", "far")
        assert (done.returncode, "whoever runs it" in done.stderr) == (1, True)


def test_without_a_plane() -> None:
    done = meseta("agents", "list")
    assert done.returncode == 4
