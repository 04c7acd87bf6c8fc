"""The commands that ask a running plane: what they print, and their exit codes."""

from __future__ import annotations

import http.client
import json
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from meseta import Plane
from meseta.cli import health, status
from meseta.cli.main import main
from meseta.cli.running import ago, clean

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = """\
version: 1
listeners: [{name: models, port: 0}]
model_providers:
  - {model: sim/*}
  - {model: openai/gpt-5, access_key: $OPENAI_API_KEY}
"""


KEY = {"state": "ready", "until_ms": None, "failures": 0, "in_flight": 1, "cause": None}
TOLD: dict[str, dict[str, Any]] = {
    "sim/*": {"requests": 1200, "errors": 3, "in_flight": 2, "p50_ms": 11.2},
    "openai/gpt-5": {
        "state": "limited",
        "until_ms": 2500.0,
        "cause": "rate limit\x1b[31m of the\nprovider",
        "keys": [
            {**KEY, "number": 1},
            {**KEY, "number": 2, "state": "resting", "until_ms": 9000, "failures": 5, "cause": "credential"},
        ],
        "probe": {"ok": False, "at_ms_ago": 100.0, "error": "connection refused"},
    },
}
"""What the rows of the native plane say here, beside what they say of targets that nobody has called."""


def told(plane: Plane) -> list[dict[str, Any]]:
    """The native plane's rows with `TOLD` in them, which must have their form."""
    rows = {row["name"]: row for row in plane.health()}
    for name, other in TOLD.items():
        assert other.keys() <= rows[name].keys()
        assert all(key.keys() == rows[name]["keys"][0].keys() for key in other.get("keys", []))
    return [{**rows[name], **other} for name, other in TOLD.items()]


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plane]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    Path("meseta.yaml").write_text(TEXT)
    with Plane.from_config("meseta.yaml") as plane:
        # The native plane's own numbers come and go; what is printed of given ones is looked at here.
        rows = told(plane)
        monkeypatch.setattr(plane, "health", lambda: rows)
        monkeypatch.setattr(plane, "reset_health", lambda target=None: 1 if target else 2)
        plane.open_control()
        yield plane


def meseta(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


Run = Any


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return lambda *words: meseta(capsys, *words)


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["health"],
        ["health", "sim/*"],
        ["health", "reset"],
        ["health", "--watch"],
        ["reload"],
        ["config", "show", "--running"],
        ["config", "diff", "meseta.yaml"],
    ],
    ids=" ".join,
)
def test_no_plane(run: Run, words: list[str]) -> None:
    Path("meseta.yaml").write_text(TEXT)
    code, out, errors = run(*words)
    assert (code, out) == (4, "")
    assert "error: No plane serves with the home" in errors
    assert ".meseta. Start one with `meseta up`" in errors


def test_status(plane: Plane, run: Run) -> None:
    code, out, errors = run("status")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert (code, errors) == (0, "")
    assert lines["serving"].startswith("meseta.yaml for ")
    assert lines["snapshot"] == plane.stats()["snapshot"]
    assert lines["home"] == str(plane.home)
    assert lines["listens"].startswith(plane.url.removesuffix("/v1"))
    code, out, _ = run("status", "--json")
    status = json.loads(out)
    assert (code, status["file"]) == (0, str(Path("meseta.yaml").absolute()))
    assert status["stats"]["snapshot"] == plane.stats()["snapshot"]


def test_status_says_that_the_last_reload_was_refused(plane: Plane, run: Run) -> None:
    Path("meseta.yaml").write_text("version: 1\nmodel_providers: [{model: nothing}]\n")
    code, out, errors = run("reload")
    assert (code, out) == (3, "")
    assert "meseta.yaml:2:" in errors
    assert "the configuration in force stays" in errors
    code, out, errors = run("status")
    assert code == 0
    assert "was refused, so what was in force before serves" in errors
    assert "meseta.yaml:2:" in errors
    Path("meseta.yaml").write_text(TEXT)
    assert run("reload")[0] == 0
    assert run("status")[2] == ""


def test_reload(plane: Plane, run: Run) -> None:
    before = plane.stats()["snapshot"]
    assert run("reload")[:2] == (0, f"meseta.yaml was in force already: snapshot {before}.\n")
    Path("meseta.yaml").write_text(TEXT + "model_aliases: {fast: {target: sim/echo}}\n")
    code, out, _ = run("reload", "--json")
    after = plane.stats()["snapshot"]
    assert after != before
    assert json.loads(out) == {"source": "meseta.yaml", "snapshot": after, "changed": True, "warnings": []}
    Path("meseta.yaml").write_text("store: off\n" + TEXT)
    code, _, errors = run("reload")
    assert (code, "`store`" in errors) == (3, True)
    assert plane.stats()["snapshot"] == after


def test_health(plane: Plane, run: Run) -> None:
    code, out, errors = run("health")
    assert code == 0
    head, first, second, *keys = out.splitlines()
    assert tuple(re.split("  +", head)) == health.HEAD
    assert first.split() == ["sim/*", "ready", "1200", "3", "2", "0", "11", "-"]
    assert second.startswith("openai/gpt-5  limited  2.5 s ")
    assert second.endswith("rate limit [31m of the provider; probe: connection refused")
    assert [line.split()[:3] for line in keys] == [["key", "1", "ready"], ["key", "2", "resting"]]
    assert keys[1].endswith("credential")
    assert errors == "1 ready, 1 limited.\n"
    assert json.loads(run("health", "sim/*", "--json")[1])["targets"] == plane.health()[:1]
    code, out, errors = run("health", "sim/echo")
    assert (code, out) == (1, "")
    assert "Did you mean `sim/*`?" in errors


def test_health_reset(plane: Plane, run: Run) -> None:
    assert run("health", "reset")[:2] == (0, "Reset 2 targets.\n")
    assert run("health", "reset", "sim/*")[:2] == (0, "Reset 1 target.\n")
    assert json.loads(run("health", "reset", "--json")[1]) == {"reset": 2}
    assert run("health", "reset", "nothing")[0] == 1
    assert run("health", "reset", "--watch")[0] == 2
    assert run("health", "sim/*", "openai/gpt-5")[0] == 2


def test_health_is_watched_until_the_plane_ends(
    plane: Plane, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    rows = plane.health()

    def pause(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            plane.stop()

    monkeypatch.setattr("meseta.cli.health.time.sleep", pause)
    code, out, errors = run("health", "--watch", "--json")
    assert (code, looks) == (4, [health.WATCH_SECONDS] * 3)
    assert [json.loads(line)["targets"] for line in out.splitlines()] == [rows] * 3
    assert "No plane serves" in errors


def test_the_configuration_in_force(plane: Plane, run: Run) -> None:
    Path("meseta.yaml").write_text("something else")
    code, out, _ = run("config", "show", "--running")
    assert (code, json.loads(out)) == (0, plane.snapshot)
    assert "sk-secret" not in out
    assert run("config", "show", "--home", ".meseta")[0] == 2


def test_diff_with_the_running_plane(plane: Plane, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, errors = run("config", "diff", "--exit-code")
    assert (code, out) == (0, "")
    assert "meseta.yaml changes nothing in the plane that serves meseta.yaml." in errors
    changed = TEXT.replace("sim/*}", "sim/*, timeouts: {total: 60s}}").replace("$OPENAI", "$OTHER")
    Path("new.yaml").write_text(changed + "model_aliases: {fast: {target: openai/gpt-5}}\n")
    monkeypatch.setenv("OTHER_API_KEY", "sk-another")
    code, out, errors = run("config", "diff", "new.yaml")
    assert code == 0
    assert out.splitlines() == [
        "~ targets sim/*: timeouts.total_ms 1800000 -> 60000",
        "~ targets openai/gpt-5: credentials[0].value is another secret",
        "+ names fast",
        "+ catalog fast",
    ]
    assert errors == "4 changes, of which none needs a restart.\n"
    assert run("config", "diff", "new.yaml", "--exit-code")[0] == 1
    assert "sk-" not in run("config", "diff", "new.yaml", "--json")[1]
    assert plane.snapshot["names"].keys().isdisjoint({"fast"}), "looking at it changes nothing"


def test_diff_refuses_what_a_reload_would_refuse(plane: Plane, run: Run) -> None:
    port = plane.listeners[0]["port"]
    Path("new.yaml").write_text(TEXT.replace("port: 0", f"port: {port}") + "store: {keep: 1d}\n")
    code, out, errors = run("config", "diff", "new.yaml", "--exit-code")
    assert code == 3
    assert out.splitlines() == [f"! listeners models: port 0 -> {port}", "! log: keep_hours 168 -> 24"]
    assert "error: log needs a restart: `store` cannot change while the plane serves.\n" in errors
    assert f"listeners models needs a restart: the plane has port {port} open" in errors
    document = json.loads(run("config", "diff", "new.yaml", "--json")[1])
    assert (document["applicable"], document["new"]) == (False, "new.yaml")
    Path("new.yaml").write_text(TEXT.replace("sim/*", "nothing"))
    code, out, errors = run("config", "diff", "new.yaml")
    assert (code, out) == (3, "")
    assert "new.yaml:4:" in errors


def test_diff_of_two_files(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    Path("old.yaml").write_text(TEXT)
    Path("new.yaml").write_text(TEXT.replace("port: 0", "port: 0, address: 127.0.0.2"))
    code, out, _ = run("config", "diff", "new.yaml", "--against", "old.yaml")
    assert (code, out) == (0, "~ listeners models: address 127.0.0.1 -> 127.0.0.2\n")
    assert run("config", "diff", "new.yaml", "--against", "old.yaml", "--home", "x")[0] == 2
    assert run("config", "diff", "new.yaml", "--against", "nowhere.yaml")[0] == 3


def test_a_plane_is_found_by_its_home_and_by_its_file(
    plane: Plane, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    file = str(Path("meseta.yaml").absolute())
    monkeypatch.chdir(elsewhere)
    assert run("status")[0] == 4
    assert run("status", "--home", str(plane.home))[0] == 0
    assert run("status", "--file", file)[0] == 0
    (tmp_path / "meseta.yaml").write_text("version: 1\n: broken [\n")
    assert run("status", "--file", file)[0] == 0, "a file that is being edited does not hide the plane"
    assert run("status", "--file", str(tmp_path / "no-such-file.yaml"))[0] == 0, "its folder has a plane"
    monkeypatch.setenv("MESETA_HOME", str(plane.home))
    assert run("status")[0] == 0


def test_a_plane_is_found_by_the_path_of_its_store(run: Run) -> None:
    Path("meseta.yaml").write_text(
        "version: 1\nlisteners: [{name: m, port: 0}]\nmodel_providers: [{model: sim/*}]\n"
        "store: {path: kept/here}\n"
    )
    with Plane.from_config("meseta.yaml") as plane:
        plane.open_control()
        assert run("status")[0] == 0
        assert plane.home == Path("kept/here").absolute()


def test_a_plane_without_any_store_has_a_home(run: Run) -> None:
    Path("meseta.yaml").write_text(
        "version: 1\nlisteners: [{name: m, port: 0}]\nmodel_providers: [{model: sim/*}]\nstore: off\n"
    )
    with Plane.from_config("meseta.yaml") as plane:
        assert not Path(".meseta").exists()
        plane.open_control()
        assert plane.open_control() == Path(".meseta/control.sock").absolute()
        assert run("status")[0] == 0
    assert run("status")[0] == 4
    with pytest.raises(RuntimeError, match="stopped"):
        plane.open_control()


def test_the_socket_answers_while_the_plane_drains(plane: Plane, run: Run) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", plane.listeners[0]["port"], timeout=60)
    body = {"model": "sim/echo", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"content-type": "application/json", "x-sim": "stall=1"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    response.read1(1)
    stopping = threading.Thread(target=plane.stop, args=(120.0,))
    stopping.start()
    state = "serving"
    while state == "serving":  # until the other thread has begun
        status = json.loads(run("status", "--json")[1])
        state = status["state"]
    assert (state, status["stats"]["in_flight"]) == ("draining", 1)
    response.close()
    connection.close()
    stopping.join()
    assert run("status")[0] == 4


def test_what_comes_from_elsewhere_does_nothing_to_a_terminal() -> None:
    assert clean("a\x1b[2Jb\nc\x00\u202e") == "a [2Jb c  "
    assert clean("x" * 100, 10) == "xxxxxxx..."


def test_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meseta.cli.running.time.time", lambda: 1_000_000.0)
    moments = (0.4, 119, 120, 7_199, 7_200, 172_800, -5)
    assert [ago(1_000_000.0 - moment) for moment in moments] == [
        "0 s",
        "119 s",
        "2 min",
        "119 min",
        "2 h",
        "2 d",
        "0 s",
    ]


def test_counters_are_printed_by_name() -> None:
    counters = {
        "connected": True,
        "slow": False,
        "puts": 3,
        "last_error": None,
        "refused": {"a": 1},
        "at_most": "x\x1b",
    }
    assert list(status._counters(counters)) == ["connected yes", "slow no", "puts 3", "at most x "]
