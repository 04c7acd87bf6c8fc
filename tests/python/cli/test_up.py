"""The life of `meseta up`: start, reload, drain. Readiness is the line that it prints, never a sleep."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

TEXT = "version: 1\nlisteners: [{name: models, port: 0}]\nmodel_providers: [{model: sim/*}]\n"

Up = Any
"""Starts a `meseta up` with the words that it is given; see conftest.py."""


def test_without_a_file(up: Up) -> None:
    with up("--listen-port", "0") as running:
        assert running.models() == ["sim/echo"]
        assert running.announced["source"] == "the environment"
        assert running.until("Models:") == "Models: sim/*\n"
        assert running.until("Try:").startswith(f"Try: curl {running.url}/v1/chat/completions -H")
        running.process.terminate()
        assert running.until("Stopped.") == "Stopped.\n"
        assert running.process.wait() == 0


def test_the_command_to_try_works(up: Up, tmp_path: Path) -> None:
    with up("--listen-port", "0") as running:
        command = running.until("Try:").removeprefix("Try: ")
        done = subprocess.run(command.replace("curl", "curl -s"), shell=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == "Hello"


@pytest.mark.parametrize("how", ["watch", "signal"])
def test_reload(up: Up, how: str) -> None:
    file = Path("meseta.yaml")
    file.write_text(TEXT)
    with up(*(["--no-watch"] if how == "signal" else [])) as running:

        def change(text: str) -> None:
            file.write_text(text)
            if how == "signal":
                running.process.send_signal(signal.SIGHUP)

        running.until("Try:")
        change(TEXT + "model_aliases: {fast: {target: sim/echo}}\n")
        running.until("Reloaded meseta.yaml")
        assert running.models() == ["sim/echo", "fast"]
        change("version: 1\nlisteners: [\n")
        assert "config.syntax" in running.until("meseta.yaml:")
        running.until("warning: Nothing was changed")
        assert running.models() == ["sim/echo", "fast"]
        change(TEXT)
        running.until("Reloaded meseta.yaml")
        assert running.models() == ["sim/echo"]


def test_a_reload_over_the_control_socket_is_one_like_any_other(up: Up) -> None:
    file = Path("meseta.yaml")
    file.write_text(TEXT)
    with up("--no-watch") as running:
        assert running.announced["control"] == str(Path(".meseta/control.sock").absolute())
        running.until("Try:")
        file.write_text(TEXT + "model_aliases: {fast: {target: sim/echo}}\n")
        done = subprocess.run(
            [sys.executable, "-m", "meseta", "reload"], capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith("meseta.yaml is in force now: snapshot ")
        assert running.until("Reloaded meseta.yaml").rstrip(".\n").split()[-1] in done.stdout
        assert running.models() == ["sim/echo", "fast"]
        running.process.terminate()
        running.until("Stopped.")
        assert running.process.wait() == 0
    assert not Path(".meseta/control.sock").exists()


def test_two_planes_in_one_home_and_one_after_the_other(up: Up) -> None:
    with up("--listen-port", "0") as first:
        with up("--listen-port", "0") as second:
            assert second.announced["control"] is None
            warning = second.until("warning: Another plane")
            assert f"(process {first.process.pid})" in warning
            assert second.models() == ["sim/echo"]
        first.process.kill()
        first.process.wait()
        assert Path(".meseta/control.sock").exists(), "nobody could remove it"
        with up("--listen-port", "0") as third:
            assert third.announced["control"] is not None


def test_without_a_control_socket(up: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESETA_CONTROL", "off")
    with up("--listen-port", "0") as running:
        assert running.announced["control"] is None
        assert not Path(".meseta/control.lock").exists()
        assert running.models() == ["sim/echo"]


def test_a_changed_dotenv_is_a_reason_to_reload(up: Up) -> None:
    Path("meseta.yaml").write_text(
        "version: 1\nlisteners: [{name: m, port: 0, auth: {keys: [$CLIENT_KEY]}}]\nmodel_providers: "
        "[{model: sim/*}]\n"
    )
    Path(".env").write_text("CLIENT_KEY=first\n")
    with up() as running:
        running.until("Try:")
        Path(".env").write_text("CLIENT_KEY=second\n")
        running.until("Reloaded")
        request = urllib.request.Request(
            f"{running.url}/v1/models", headers={"authorization": "Bearer second"}
        )
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200


def test_a_stream_finishes_before_the_end(up: Up) -> None:
    with up("--listen-port", "0") as running:
        connection, response = running.stream("tokens=20;pace=20ms")
        running.process.terminate()
        assert response.read().rstrip().endswith(b"[DONE]")
        connection.close()
        assert running.process.wait() == 0


def test_the_drain_limit_ends_a_stream_that_does_not(up: Up) -> None:
    with up("--listen-port", "0", "--drain", "100ms") as running:
        connection, response = running.stream("stall=1")
        running.process.terminate()
        assert running.process.wait() == 5
        running.until("warning: Stopped; the limit")
        response.close()
        connection.close()


def test_a_second_signal_stops_at_once(up: Up) -> None:
    with up("--listen-port", "0", "--drain", "10m") as running:
        connection, response = running.stream("stall=1")
        running.process.terminate()
        running.until("Stopping: 1 in flight")
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait() == 1
        running.until("warning: Stopped at once")
        response.close()
        connection.close()


def test_credentials_are_renewed_and_the_process_stays_small(
    up: Up, google_tokens: Any, service_account: Path
) -> None:
    google_tokens.lifetime = 2
    Path("meseta.yaml").write_text(
        "version: 1\nlisteners: [{name: models, port: 0}]\nmodel_providers:\n"
        f'  - {{model: vertex_ai/*, google: {{credentials: "file:{service_account}"}}}}\n'
        "  - {model: sim/*}\n"
    )
    with up() as running:
        running.until("Try:")
        assert running.until("Renewed") == "Renewed the credentials of vertex_ai/*.\n"
        google_tokens.refuse = True
        assert "invalid_grant" in running.until(
            "warning: The credentials of vertex_ai/* could not be renewed"
        )
        assert "sim/echo" in running.models(), "it goes on"
        with Path("meseta.yaml").open("a") as file:
            file.write("model_aliases: {fast: {target: sim/echo}}\n")
        running.until("warning: The configuration in force stays. Next attempt")
        assert "fast" not in running.models()
        google_tokens.refuse = False
        running.until("Reloaded")
        assert "fast" in running.models(), "a change waits for its credentials and is not lost"
        running.until("Renewed")
        maps = Path(f"/proc/{running.process.pid}/maps").read_text()
        assert "cryptography" not in maps, "its libraries live in the child"
        running.process.terminate()
        running.until("Stopped.")
        assert running.process.wait() == 0


def test_secrets_are_not_in_the_process_list(up: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-only-in-the-environment")
    Path("meseta.yaml").write_text(
        TEXT.replace("[{model: sim/*}]", "[{model: openai/*, access_key: $OPENAI_API_KEY}]")
    )
    with up() as running:
        words = Path(f"/proc/{running.process.pid}/cmdline").read_bytes()
        assert b"sk-only" not in words


def test_memory(up: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget is 40 MiB for the plane; the program text, larger in a debug build, is not counted."""
    # As many as on the machine for which the budget is; each takes some of it.
    monkeypatch.setenv("MESETA_WORKERS", "2")
    Path("meseta.yaml").write_text(TEXT)
    with up() as running:
        running.until("Try:")
        status = Path(f"/proc/{running.process.pid}/status").read_text()
        anonymous = next(line for line in status.splitlines() if line.startswith("RssAnon"))
        assert int(anonymous.split()[1]) < 32 * 1024
