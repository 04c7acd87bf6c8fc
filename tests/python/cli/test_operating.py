"""`health`, `status` and `config diff` against a `meseta up` whose pool loses a target, end to end."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from meseta.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = """\
version: 1
listeners: [{name: models, port: 0}]
model_providers:
  - {model: "sim/echo;status=503", name: broken, health: {failures: 2, rest: 10m, rest_max: 10m}}
  - {model: sim/echo, name: well, access_keys: [$FIRST_KEY, $SECOND_KEY]}
admission: {concurrency: 64}
pools:
  - {name: tough, select: priority, targets: [broken, well]}
"""

Run = Any
Up = Any


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def running(up: Up, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield a `meseta up` that serves `TEXT`."""
    monkeypatch.setenv("FIRST_KEY", "sk-first-secret")
    monkeypatch.setenv("SECOND_KEY", "sk-second-secret")
    Path("meseta.yaml").write_text(TEXT)
    with up("--no-watch") as running:
        running.until("Try:")
        yield running


def ask(running: Any, model: str) -> tuple[int, str | None]:
    """Send one request; return the status, and how many targets were asked."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Still there?"}]}).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{running.url}/v1/chat/completions", body, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["choices"][0]["message"]["content"] == "Still there?"
            return answer.status, answer.headers["x-meseta-attempts"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["x-meseta-attempts"]


def states(run: Run) -> dict[str, str]:
    code, out, _ = run("health", "--json")
    assert code == 0
    rows = {row["name"]: row["state"] for row in json.loads(out)["targets"]}
    assert rows.pop("sim/*") == "ready", "the simulated provider is always there"
    return rows


def test_health_and_its_reset(running: Any, run: Run) -> None:
    assert states(run) == {"broken": "ready", "well": "ready"}
    assert [ask(running, "tough") for _ in range(2)] == [(200, "2"), (200, "2")]
    assert states(run) == {"broken": "resting", "well": "ready"}
    assert (
        running.until("warning:") == "warning: The target broken rests after 2 failures in a row (error).\n"
    )
    assert ask(running, "tough") == (200, "1"), "who rests is not asked"

    code, out, errors = run("health")
    assert (code, errors) == (0, "1 resting, 2 ready.\n")
    _, broken, _, well, *keys = out.splitlines()
    assert broken.split()[:2] == ["broken", "resting"]
    left = float(broken.split()[2])
    assert 0 < left <= 600
    assert broken.endswith("error; 2 failures in a row")
    assert well.split()[:4] == ["well", "ready", "3", "0"]
    assert [line.split()[:3] for line in keys] == [["key", "1", "ready"], ["key", "2", "ready"]]
    assert [row["name"] for row in json.loads(run("health", "well", "--json")[1])["targets"]] == ["well"]

    assert run("health", "reset", "broken")[:2] == (0, "Reset 1 target.\n")
    assert states(run) == {"broken": "ready", "well": "ready"}
    assert running.until("The target broken") == "The target broken is back.\n"
    assert ask(running, "tough") == (200, "2"), "it has another chance"
    assert run("health", "reset", "broke")[0] == 1


def test_status(running: Any, run: Run) -> None:
    assert ask(running, "tough") == (200, "2")
    assert ask(running, "broken")[0] == 503
    code, out, errors = run("status")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert (code, errors) == (0, "")
    assert lines["process"].startswith(f"{running.process.pid}, meseta ")
    assert lines["listens"].startswith(running.url)
    assert lines["requests"].startswith("2, 0 in flight, 1 ended in an error")
    assert lines["admission"] == "in flight 0, waiting 0, admitted 2"
    status = json.loads(run("status", "--json")[1])
    assert (status["snapshot"], status["stats"]["requests"]) == (lines["snapshot"], 2)
    assert "secret" not in json.dumps(status)
    with urllib.request.urlopen(f"{running.url}/readyz") as answer:
        assert json.load(answer) == {"status": "ok", "snapshot": lines["snapshot"]}


def test_a_change_is_looked_at_and_taken(running: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("config", "diff", "--exit-code")[:2] == (0, "")
    changed = TEXT.replace("select: priority", "select: round_robin, hedge: {after: 1s}")
    changed = changed.replace("failures: 2", "failures: 9").replace("$SECOND_KEY", "$THIRD_KEY")
    Path("new.yaml").write_text(changed + "  - {name: calm, targets: [well]}\n")
    code, out, errors = run("config", "diff", "new.yaml")
    # The plane reads the file, with the environment that it was started with.
    assert (code, out, "THIRD_KEY" in errors) == (3, "", True)
    Path("new.yaml").write_text(
        changed.replace("$THIRD_KEY", "sk-third-secret") + "  - {name: calm, targets: [well]}\n"
    )
    code, out, errors = run("config", "diff", "new.yaml", "--exit-code")
    assert code == 1
    assert "sk-" not in out + errors
    assert out.splitlines() == [
        "~ targets broken: health.failures 2 -> 9",
        "~ targets well: credentials[1].value is another secret",
        "~ pools tough: select priority -> round_robin",
        '~ pools tough: hedge null -> {"after_ms": 1000, "minimum_ms": 50, "spend_percent": 5.0}',
        "+ pools calm",
        "+ catalog calm",
    ]
    before = json.loads(run("status", "--json")[1])["snapshot"]
    Path("meseta.yaml").write_text(Path("new.yaml").read_text())
    assert run("reload")[0] == 0
    assert run("config", "diff", "--exit-code")[:2] == (0, "")
    assert json.loads(run("status", "--json")[1])["snapshot"] != before
    assert ask(running, "calm") == (200, "1")


def test_a_change_that_needs_a_restart_is_refused(running: Any, run: Run) -> None:
    Path("meseta.yaml").write_text(TEXT + "store: {keep: 1d}\n")
    code, out, errors = run("config", "diff")
    assert (code, out) == (3, "! log: keep_hours 168 -> 24\n")
    assert "log needs a restart" in errors
    assert run("reload")[0] == 3
    assert ask(running, "tough") == (200, "2"), "what was in force serves"
