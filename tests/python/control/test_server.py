"""The control socket before a plane whose configuration is only pretended: what it answers and bears."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import stat
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from meseta.config.problems import ConfigError, Problem
from meseta.config.snapshot import redact, with_simulator, without_file
from meseta.control import server as module
from meseta.control.changes import Change, Comparison, KeyChange
from meseta.control.client import RefusedError, ask
from meseta.control.server import LARGEST_REQUEST, MOST_CONNECTIONS, ControlServer
from meseta.control.verbs import VERBS, Life
from meseta.errors import ControlError, NotRunningError, SnapshotError
from meseta.native import core

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meseta.config.snapshot import Snapshot


UNREACHABLE = "http://127.0.0.1:1/v1"


class Pretended:
    """What the verbs need of a plane; the health is that of a native one."""

    source = "meseta.yaml"
    file: Path | None = Path("/etc/meseta.yaml")
    log_path: str | None = None
    life = Life(started=1.0, since=2.0, refused=(3.0, "no"), draining=False)

    def __init__(self, home: Path, native: Any) -> None:
        self.home = home
        self.native = native
        self.hash = "aaaa"
        self.resets: list[str | None] = []
        self.fails: Exception | None = None
        self.counters: dict[str, Any] = {}
        self.crew: list[dict[str, Any]] = [{"id": "weather"}, {"id": "flights"}]
        self.told: list[tuple[str, str, int | None]] = []

    @property
    def snapshot(self) -> Snapshot:
        return redact(without_file({"OPENAI_API_KEY": "sk-secret"}, self.home))

    def stats(self) -> dict[str, Any]:
        return {"snapshot": self.hash, "listeners": [], **self.counters}

    def health(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.native.health()
        return rows

    def reset_health(self, target: str | None = None) -> int:
        self.resets.append(target)
        return int(self.native.reset_health(target))

    def reload(self) -> list[Problem]:
        if self.fails is not None:
            raise self.fails
        self.hash = "bbbb"
        return [Problem("config.overridden", "odd", severity="warning")]

    def agents(self) -> list[dict[str, Any]]:
        return self.crew

    def restart_agent(self, agent: str) -> int:
        self.told.append(("restart", agent, None))
        return 2

    def scale_agent(self, agent: str, number: int | None) -> None:
        self.told.append(("scale", agent, number))

    def compare(self, file: str) -> Comparison:
        return Comparison("old", file, [Change("targets", "a", "changed", [KeyChange("x", 1, 2)])])


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A native plane with the two targets of `Pretended.snapshot`, of which nobody can reach the first."""
    simulator = core().Simulator()
    document = without_file({"OPENAI_API_KEY": "sk-secret"}, tmp_path_factory.mktemp("native"), port=0)
    next(target for target in document["targets"] if target["name"] == "openai/*")["base_url"] = UNREACHABLE
    native = core().Plane(json.dumps(with_simulator(document, simulator.url)), workers=1)
    yield native
    native.stop(drain_seconds=0.0)
    simulator.stop()


@pytest.fixture
def plane(tmp_path: Path, native: Any) -> Pretended:
    native.reset_health()
    return Pretended(tmp_path / "home", native)


@pytest.fixture
def reloads() -> list[str]:
    return []


@pytest.fixture
def served(plane: Pretended, reloads: list[str]) -> Iterator[ControlServer]:
    server = ControlServer(plane, plane.home, lambda: reloads.append(plane.hash))
    yield server
    server.close()


class Talk:
    """One connection, spoken to in raw bytes."""

    def __init__(self, address: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(str(address))
        self.stream = self.socket.makefile("rb")

    def say(self, line: bytes) -> dict[str, Any]:
        self.socket.sendall(line)
        return self.hear()

    def hear(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.stream.readline())
        return answer

    def close(self) -> None:
        self.stream.close()
        self.socket.close()


@pytest.fixture
def talk(served: ControlServer) -> Iterator[Talk]:
    talk = Talk(served.address)
    yield talk
    talk.close()


def test_status(served: ControlServer, plane: Pretended) -> None:
    status = ask(plane.home, "status")
    assert status["stats"] == {"snapshot": "aaaa", "listeners": []}
    assert {key: status[key] for key in ("pid", "snapshot", "source", "file", "home", "state")} == {
        "pid": os.getpid(),
        "snapshot": "aaaa",
        "source": "meseta.yaml",
        "file": "/etc/meseta.yaml",
        "home": str(plane.home),
        "state": "serving",
    }
    assert (status["started"], status["since"]) == (1.0, 2.0)
    assert status["refused_reload"] == {"at": 3.0, "message": "no"}
    plane.life = plane.life._replace(draining=True, refused=None)
    status = ask(plane.home, "status")
    assert (status["state"], status["refused_reload"]) == ("draining", None)


def test_health_and_reset(served: ControlServer, plane: Pretended) -> None:
    first, second = ask(plane.home, "health")["targets"]
    assert [first, second] == plane.health()
    assert (first["name"], first["state"], first["cause"], first["probe"]) == (
        "openai/*",
        "ready",
        None,
        None,
    )
    assert [key["number"] for key in first["keys"]] == [1]
    assert ask(plane.home, "health", target="sim/*")["targets"] == [second]
    assert ask(plane.home, "reset") == {"reset": 0}, "nothing has failed"
    [listener] = plane.native.stats()["listeners"]
    for _ in range(5):
        connection = http.client.HTTPConnection("127.0.0.1", listener["port"], timeout=60)
        body = {"model": "openai/gpt-5", "messages": [{"role": "user", "content": "hi"}]}
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"}
        )
        assert connection.getresponse().status == 502
        connection.close()
    [row] = ask(plane.home, "health", target="openai/*")["targets"]
    assert (row["state"], row["failures"], row["cause"]) == ("resting", 5, "error")
    assert ask(plane.home, "reset", target="openai/*") == {"reset": 1}
    assert ask(plane.home, "health")["targets"][0]["state"] == "ready"
    assert plane.resets == [None, "openai/*"]
    for verb in ("health", "reset"):
        with pytest.raises(RefusedError, match=r"no target 'openai/'\. Did you mean `openai/\*`"):
            ask(plane.home, verb, target="openai/")
    assert len(plane.resets) == 2, "nothing was reset for a name that there is not"


def test_reload(served: ControlServer, plane: Pretended, reloads: list[str]) -> None:
    answer = ask(plane.home, "reload")
    assert (answer["snapshot"], answer["changed"], reloads) == ("bbbb", True, ["bbbb"])
    assert answer["warnings"][0]["code"] == "config.overridden"
    assert ask(plane.home, "reload")["changed"] is False
    plane.fails = ConfigError([Problem("config.syntax", "bad", "m.yaml", 3, 4)])
    with pytest.raises(RefusedError) as caught:
        ask(plane.home, "reload")
    assert caught.value.code == "config.syntax"
    assert caught.value.problems[0]["line"] == 3
    plane.fails = SnapshotError("`store` cannot change")
    with pytest.raises(RefusedError, match="`store` cannot change"):
        ask(plane.home, "reload")
    plane.fails = ZeroDivisionError("oh")
    with pytest.raises(RefusedError, match="ZeroDivisionError: oh"):
        ask(plane.home, "reload")
    assert len(reloads) == 2, "a refused reload is none"


def test_the_rest_of_the_verbs(served: ControlServer, plane: Pretended) -> None:
    assert ask(plane.home, "configuration") == plane.snapshot
    assert "sk-secret" not in json.dumps(ask(plane.home, "configuration"))
    assert ask(plane.home, "diff", file="/new.yaml")["changes"] == [
        {
            "section": "targets",
            "name": "a",
            "kind": "changed",
            "keys": [{"path": "x", "old": 1, "new": 2}],
            "refused": "",
        }
    ]
    with pytest.raises(RefusedError, match="needs the path"):
        ask(plane.home, "diff")
    assert ask(plane.home, "admission") is None
    plane.counters = {"admission": {"waiting": 3}, "shared": {"state": "up"}}
    assert ask(plane.home, "admission") == {"waiting": 3}
    assert ask(plane.home, "shared") == {"state": "up"}


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"not json\n",
        b"\xff\xfe\n",
        b"[" * 60_000 + b"\n",
        b"9" * 60_000 + b"\n",
        b"[]\n",
        b"{}\n",
        b'{"verb": 1}\n',
        b'{"verb": "nothing"}\n',
        b'{"verb": "__class__"}\n',
        b'{"verb": "status", "target": "a"}\n',
        b'{"verb": "health", "target": 1}\n',
        b'{"verb": "health", "target": null}\n',
        b'{"verb": "reset", "targets": "a"}\n',
    ],
)
def test_a_bad_request_is_told_so_and_the_next_is_answered(talk: Talk, line: bytes) -> None:
    answer = talk.say(line)
    assert (answer["ok"], answer["error"]["code"]) == (False, "control.request")
    assert talk.say(b'{"verb":"status"}\n')["ok"] is True


def test_several_requests_in_one_piece(talk: Talk) -> None:
    talk.socket.sendall(b'{"verb":"admission"}\n{"verb":"shared"}\n{"ver')
    assert [talk.hear()["ok"], talk.hear()["ok"]] == [True, True]
    assert talk.say(b'b":"status"}\n')["ok"] is True


def test_a_request_is_bounded(talk: Talk) -> None:
    padding = LARGEST_REQUEST - len(b'{"verb":"status"}\n')
    assert talk.say(b" " * padding + b'{"verb":"status"}\n')["ok"] is True
    answer = talk.say(b" " * LARGEST_REQUEST)
    assert str(LARGEST_REQUEST) in answer["error"]["message"]
    assert talk.stream.readline() == b"", "the rest of it is not read"


def test_connections_are_bounded(served: ControlServer, plane: Pretended) -> None:
    talks = [Talk(served.address) for _ in range(MOST_CONNECTIONS)]
    assert all(talk.say(b'{"verb":"admission"}\n')["ok"] for talk in talks)
    with pytest.raises(RefusedError, match="others are connected"):
        ask(plane.home, "status")
    for talk in talks:
        talk.close()
    code = "control.busy"
    while code == "control.busy":  # until the server has seen that one of them is gone
        try:
            code = ask(plane.home, "status")["snapshot"]
        except RefusedError as error:
            code = error.code
    assert code == "aaaa"


@pytest.mark.parametrize("begun", [b"", b'{"verb":'])
def test_who_says_nothing_is_left(
    plane: Pretended, served: ControlServer, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.2)
    talk = Talk(served.address)
    # On a busy machine it is left before it has said anything.
    with contextlib.suppress(ConnectionError):
        talk.socket.sendall(begun)
        assert talk.stream.readline() == b""
    talk.close()


def test_only_the_owner_may_ask(
    served: ControlServer, plane: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stat.S_IMODE(served.address.stat().st_mode) == 0o600
    assert stat.S_IMODE(plane.home.stat().st_mode) == 0o700
    monkeypatch.setattr(module, "_may", lambda _: False)
    with pytest.raises(RefusedError, match="Only the user that runs the plane") as caught:
        ask(plane.home, "status")
    assert caught.value.code == "control.forbidden"


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="the kernel does not say who asks")
@pytest.mark.parametrize(("user", "may"), [(1000, True), (0, True), (1001, False)])
def test_the_kernel_says_who_asks(monkeypatch: pytest.MonkeyPatch, user: int, may: bool) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    class Connection:
        def getsockopt(self, level: int, option: int, size: int) -> bytes:
            assert (level, option, size) == (socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return struct.pack("3i", 77, user, 88)

    assert module._may(Connection()) is may  # type: ignore[arg-type]


def test_closing(plane: Pretended) -> None:
    server = ControlServer(plane, plane.home)
    talk = Talk(server.address)
    assert talk.say(b'{"verb":"status"}\n')["ok"] is True
    server.close()
    server.close()
    assert talk.stream.readline() == b""
    talk.close()
    assert not server.address.exists()
    with pytest.raises(NotRunningError, match="meseta up"):
        ask(plane.home, "status")
    ControlServer(plane, plane.home).close()


def test_a_second_plane_is_told(served: ControlServer, plane: Pretended) -> None:
    with pytest.raises(ControlError, match="Another plane"):
        ControlServer(plane, plane.home)
    assert ask(plane.home, "status")["pid"] == os.getpid(), "the first one still answers"


def test_a_place_that_is_taken_by_something_else(plane: Pretended) -> None:
    plane.home.mkdir()
    (plane.home / "control.sock").write_text("mine")
    for _ in range(2):  # the second time shows that the first gave the lock back
        with pytest.raises(ControlError, match="cannot be opened: Address already in use"):
            ControlServer(plane, plane.home)


@pytest.mark.parametrize("answer", [b"\n", b"{}\n", b"no\n", b"[1]\n", b'{"ok": false, "error": 3}\n'])
def test_an_answer_that_cannot_be_understood(tmp_path: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "control.sock"))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ControlError, match="does not understand"):
            ask(tmp_path, "status")
        thread.join()


def test_every_verb_says_what_it_is() -> None:
    assert all(verb.about and name.islower() for name, verb in VERBS.items())
