"""The output of the commands, whole: standard output, standard error, exit code."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from meseta.cli.main import COMMANDS

if TYPE_CHECKING:
    from pathlib import Path

    from syrupy.assertion import SnapshotAssertion

GOOD = (
    "version: 1\nmodel_providers:\n  - {model: openai/gpt-4o, access_key: $OPENAI_API_KEY, "
    "price: {input: 2, output: 8}}\n  - "
    "{model: sim/*}\n"
)
BAD = "version: 1\nmodel_provider: []\nmodel_providers: [{model: openai/a, access_key: $NOT_SET}]\n"


def meseta(*arguments: str, **environment: str) -> str:
    """Run a command in the working directory and show what came of it, with what varies masked."""
    done = subprocess.run(
        [sys.executable, "-m", "meseta", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100", **environment},
        stdin=subprocess.DEVNULL,
        timeout=240,
    )
    shown = f"exit code {done.returncode}\n----- stdout\n{done.stdout}----- stderr\n{done.stderr}"
    return mask(shown)


def mask(text: str) -> str:
    text = text.replace(os.getcwd(), "/HERE")
    text = re.sub(r"req_[0-9a-f]{16}", "req_XXXXXXXXXXXXXXXX", text)
    text = re.sub(r"127\.0\.0\.1:[1-9]\d{3,4}(?=/v1, calling)", "127.0.0.1:PORT", text)
    text = re.sub(r"(?<=  200)(?:  +\d+\.\d)+(?=  )", "  TIME", text)
    # How long a request took also says how wide its column is.
    return re.sub(r"(?m)^(?:request |.*  TIME).*$", lambda line: re.sub(r"  +", "  ", line[0]), text)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    (tmp_path / "plano.yaml").write_text(
        "version: v0.4.0\nlisteners: [{type: model, name: llm, port: 12000}]\n"
        "model_providers: [{model: ollama/*}]\ntracing: {}\n"
    )
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["chek"],
        ["up", "--jsn"],
        ["up", "--drain", "30"],
        ["up", "--listen-port", "70000"],
        ["up", "bad.yaml"],
        ["up", "nowhere.yaml"],
        ["check"],
        ["check", "good.yaml"],
        ["check", "good.yaml", "--json"],
        ["check", "bad.yaml"],
        ["check", "bad.yaml", "--json"],
        ["check", "plano.yaml"],
        ["check", "nowhere.yaml"],
        ["config"],
        ["config", "show", "good.yaml"],
        ["config", "show", "bad.yaml"],
        ["explain", "config.unsafe_listener"],
        ["explain", "model.not_found"],
        ["explain", "model.not_fuond"],
        ["explain", "config.syntax", "--json"],
        ["demo"],
        ["sim", "--script", "nowhere.yaml"],
        ["completion", "tcsh"],
    ],
    ids=" ".join,
)
def test_output(arguments: list[str], snapshot: SnapshotAssertion) -> None:
    shown = meseta(*arguments)
    assert "sk-secret" not in shown
    assert "Traceback" not in shown
    assert shown == snapshot


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_help(command: str, snapshot: SnapshotAssertion) -> None:
    assert meseta(command, "--help") == snapshot


def test_a_bad_setting(snapshot: SnapshotAssertion) -> None:
    assert meseta("check", "good.yaml", MESETA_LOG="loud") == snapshot


def test_debug_shows_where_it_happened() -> None:
    assert "Traceback" in meseta("check", "bad.yaml", MESETA_LOG="debug")


def test_explain_lists_every_code() -> None:
    shown = meseta("explain")
    assert shown.startswith("exit code 0")
    for code in ("model.not_found", "upstream.cut", "config.syntax", "config.changed_default"):
        assert f"\n{code} " in shown


def test_schema_is_json() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "meseta", "config", "schema"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["required"] == ["version"]


def test_demo_as_json() -> None:
    done = subprocess.run([sys.executable, "-m", "meseta", "demo", "--json"], capture_output=True, text=True)
    shown = json.loads(done.stdout)
    assert (done.returncode, shown["right"], shown["faults"]) == (0, True, [])
    assert [row["stream"] for row in shown["log"]] == [False, True]
    assert shown["agents"]["asked"] == "weather,flights"
    assert [row["agent"] for row in shown["agents"]["log"]] == [None, "weather", None, "flights", None]


def test_doctor() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "meseta", "doctor", "bad.yaml", "--json"], capture_output=True, text=True
    )
    states = {row["check"]: row["state"] for row in json.loads(done.stdout)}
    assert (done.returncode, states["configuration"], states["keys"], states["python"]) == (
        1,
        "fail",
        "fail",
        "ok",
    )
    assert "sk-secret" not in done.stdout


def test_doctor_online(tmp_path: Path) -> None:
    """A connection is opened and nothing is sent; a host that is not there is a failure with a cure."""
    with socket.create_server(("127.0.0.1", 0)) as there, socket.create_server(("127.0.0.1", 0)) as closed:
        gone = closed.getsockname()[1]
        closed.close()
        port = there.getsockname()[1]
        (tmp_path / "own.yaml").write_text(
            "version: 1\nlisteners: [{name: a, port: 0}]\nmodel_providers:\n"
            f'  - {{model: ollama/a, base_url: "http://127.0.0.1:{port}"}}\n'
            f'  - {{model: ollama/b, base_url: "http://127.0.0.1:{gone}"}}\n'
        )
        command = [sys.executable, "-m", "meseta", "doctor", "own.yaml", "--online", "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        connection, _ = there.accept()
        with connection:
            assert connection.recv(1) == b""
    online = [row for row in json.loads(done.stdout) if row["check"] == "online"]
    assert [row["state"] for row in online] == ["ok", "fail"]
    assert online[1]["cure"]
    assert done.returncode == 1


def test_a_flood_of_mistakes_is_cut(tmp_path: Path) -> None:
    (tmp_path / "flood.yaml").write_text("version: 1\n" + "".join(f"k{number}: 1\n" for number in range(300)))
    assert "... and 201 more; `--json` lists them all." in meseta("check", "flood.yaml")


def test_output_into_a_closed_pipe_is_no_defect() -> None:
    done = subprocess.run(
        f"{sys.executable} -m meseta config schema | head -c 1", shell=True, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("{", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_every_command(shell: str) -> None:
    shown = meseta("completion", shell)
    assert all(command.name in shown for command in COMMANDS)
    assert "--listen-port" in shown or "-l listen-port" in shown


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["meseta", "ch"], {"check"}),
        (["meseta", "config", "s"], {"show", "schema"}),
        (["meseta", "up", "--li"], {"--listen-port"}),
        (["meseta", "check", "good.yaml", "--j"], {"--json"}),
    ],
)
def test_bash_completion_completes(words: list[str], expected: set[str]) -> None:
    script = subprocess.run(
        [sys.executable, "-m", "meseta", "completion", "bash"], capture_output=True, text=True, check=True
    ).stdout
    listed = " ".join(words)
    script += (
        f"\nCOMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}; _meseta; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected
