"""The handle of a running plane, with the real native module."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import openai
import pytest

from meseta import ConfigError, Plane
from meseta.errors import BindError, ControlError
from meseta.plane import listener_url

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """
version: 1
listeners: [{{name: models, port: {port}}}]
model_providers: [{{model: sim/*}}]
model_aliases: {aliases}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESETA_HOME", str(tmp_path / "home"))


def models(url: str) -> list[str]:
    with urllib.request.urlopen(f"{url}/models") as answer:
        return [row["id"] for row in json.load(answer)["data"]]


def write(file: Path, aliases: str, port: int = 0) -> None:
    file.write_text(TEXT.format(aliases=aliases, port=port))


def test_an_openai_client_is_answered_without_any_file() -> None:
    with Plane.from_config(port=0) as plane:
        client = openai.OpenAI(base_url=plane.url, api_key="unused")
        with client:
            answer = client.chat.completions.create(
                model="sim/echo", messages=[{"role": "user", "content": "Hello there"}]
            )
    assert answer.choices[0].message.content == "Hello there"


def test_reload_is_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    write(file, "{}")
    with Plane.from_config(file) as plane:
        before, first = plane.url, plane.stats()["snapshot"]
        write(file, "{fast: {target: sim/echo}}")
        plane.reload()
        assert plane.url == before, "the assigned port stays"
        assert models(plane.url) == ["sim/echo", "fast"]
        second = plane.stats()["snapshot"]
        assert second != first
        write(file, "{fast: {target: nowhere/x}}")
        with pytest.raises(ConfigError):
            plane.reload()
        assert models(plane.url) == ["sim/echo", "fast"]
        assert plane.stats()["snapshot"] == second


def test_a_reload_that_cannot_bind_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    write(file, "{}")
    with socket.create_server(("127.0.0.1", 0)) as taken, Plane.from_config(file) as plane:
        url, snapshot = plane.url, plane.stats()["snapshot"]
        write(file, "{fast: {target: sim/echo}}", port=taken.getsockname()[1])
        with pytest.raises(BindError):
            plane.reload()
        assert (plane.url, plane.stats()["snapshot"]) == (url, snapshot)
        assert models(url) == ["sim/echo"]


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_behind() -> None:
    before = set(threading.enumerate())
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(BindError, match=r"127\.0\.0\.1"),
    ):
        Plane.from_config(port=taken.getsockname()[1])
    assert set(threading.enumerate()) <= before


def test_stop_lets_a_stream_finish() -> None:
    plane = Plane.from_config(port=0)
    connection = http.client.HTTPConnection("127.0.0.1", plane.listeners[0]["port"], timeout=120)
    body = {"model": "sim/echo", "stream": True, "messages": [{"role": "user", "content": "one two three"}]}
    headers = {"content-type": "application/json", "x-sim": "pace=20ms"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    answers: list[bool] = []
    stopping = threading.Thread(target=lambda: answers.append(plane.stop(20.0)))
    stopping.start()
    content = response.read()
    stopping.join()
    connection.close()
    assert response.status == 200
    assert content.rstrip().endswith(b"[DONE]")
    assert answers == [True]
    assert plane.stop() is True, "a second stop does nothing"
    with pytest.raises(RuntimeError, match="stopped"):
        plane.reload()


def test_health_and_its_reset() -> None:
    text = """
version: 1
listeners: [{name: models, port: 0}]
model_providers:
  - model: sim/*
    headers: {x-sim: status=503}
    health: {failures: 2}
"""
    with Plane.from_text(text) as plane:
        (fresh,) = plane.health()
        (key,) = fresh.pop("keys")
        assert key == {
            "number": 1,
            "state": "ready",
            "until_ms": None,
            "failures": 0,
            "in_flight": 0,
            "cause": None,
        }
        assert fresh == {
            "name": "sim/*",
            "state": "ready",
            "since_ms_ago": None,
            "until_ms": None,
            "failures": 0,
            "requests": 0,
            "errors": 0,
            "in_flight": 0,
            "waiting": 0,
            "latency_ms": None,
            "p50_ms": None,
            "p95_ms": None,
            "cause": None,
            "probe": None,
        }
        with openai.OpenAI(base_url=plane.url, api_key="unused", max_retries=0) as client:
            for _ in range(2):
                with pytest.raises(openai.InternalServerError):
                    client.chat.completions.create(
                        model="sim/echo", messages=[{"role": "user", "content": "Hello there"}]
                    )
        (tired,) = plane.health()
        assert (tired["state"], tired["cause"], tired["in_flight"]) == ("resting", "error", 0)
        assert 0 < tired["until_ms"] <= 11_000
        assert (plane.reset_health("nobody"), plane.reset_health("sim/*"), plane.reset_health()) == (0, 1, 0)
        assert plane.health()[0]["state"] == "ready"


def test_client_keys() -> None:
    text = """
version: 1
listeners: [{name: models, port: 0, auth: {keys: [letmein]}}]
model_providers: [{model: sim/*}]
"""
    with Plane.from_text(text) as plane:
        assert [warning.code for warning in plane.warnings] == ["config.literal_secret"]
        assert "letmein" not in json.dumps(plane.snapshot)
        with openai.OpenAI(base_url=plane.url, api_key="letmein", max_retries=0) as right:
            assert right.models.list().data
        wrong = openai.OpenAI(base_url=plane.url, api_key="wrong", max_retries=0)
        with wrong, pytest.raises(openai.AuthenticationError) as caught:
            wrong.models.list()
    assert caught.value.code == "auth.invalid"


AGENT = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def test_a_plane_runs_the_agents_of_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    file = tmp_path / "m.yaml"
    text = TEXT.format(aliases="{}", port=0)
    run = f"{{command: [python, '{tmp_path}/agent.py'], ready: {{path: /, interval: 10ms}}}}"
    far = "{id: far, url: 'http://127.0.0.1:9'}"
    file.write_text(text)
    with Plane.from_config(file) as plane:
        assert plane.agents() == []
        file.write_text(f"{text}agents: [{far}, {{id: near, run: {run}}}]\n")
        plane.reload()
        assert [(row["id"], row["driver"]) for row in plane.agents()] == [
            ("far", "external"),
            ("near", "process"),
        ]
        limit = time.monotonic() + 240
        while plane.agents()[1]["ready"] < 1:
            assert time.monotonic() < limit
            time.sleep(0.02)
        names = [target["name"] for target in plane.snapshot["targets"]]
        assert names[-2:] == ["agent/far/1", "agent/near/1"]
        assert "agent/near/1" in [row["name"] for row in plane.health()]
        assert {agent["token_sha256"] for agent in plane.snapshot["agents"]} == {None, "***"}
        (near,) = plane.agents()[1]["instances"]
        write(file, "{fast: {target: sim/echo}}")
        plane.reload()
        assert models(plane.url) == ["sim/echo", "fast"], "configuration and instances go together"
        for agent, why in (("far", "There is no agent 'far'"), ("nobody", "There is no agent 'nobody'")):
            with pytest.raises(ControlError, match=why):
                plane.scale_agent(agent, 1)
        file.write_text(f"{text}agents: [{far}]\n")
        plane.reload()
        with pytest.raises(ControlError, match="whoever runs it"):
            plane.restart_agent("far")
    with pytest.raises(ProcessLookupError):
        os.kill(near["pid"], 0)


@pytest.mark.parametrize(
    ("listener", "url"),
    [
        ({"address": "127.0.0.1", "port": 1, "tls": False}, "http://127.0.0.1:1"),
        ({"address": "0.0.0.0", "port": 1, "tls": True}, "https://127.0.0.1:1"),
        ({"address": "::", "port": 1, "tls": False}, "http://[::1]:1"),
    ],
)
def test_listener_url(listener: dict[str, Any], url: str) -> None:
    assert listener_url(listener) == url
