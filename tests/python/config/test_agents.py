"""Agents that Meseta runs, as the fleet gets them, and the chooser's data where it is installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meseta.config import ConfigError, Resolved, load_bytes, redact, resolve_file, resolve_loaded
from meseta.config.child import resolve_in_child
from meseta.config.fleet import AgentSpec, Live, Ready, Replicas, Restart
from meseta.config.secrets import Secret

LISTENER = "version: 1\nlisteners: [{name: a, type: agent, port: 0, agents: [{id: one}]}]\n"
TWO = """version: 1
listeners:
  - {name: a, type: agent, port: 0, agents: [{id: one, description: Sums}, {id: two, description: Letters}]}
"""
ADDRESSES = 'agents: [{id: one, url: "http://127.0.0.1:1"}, {id: two, url: "http://127.0.0.1:2"}]\n'
WHOLE = """
agents:
  - id: one
    apis: [openai_responses]
    auth: $KEY
    timeouts: {total: 1m}
    limits: {concurrency: 2}
    run:
      command: [python, -m, one, --port, 80]
      cwd: sub
      env: {PLAIN: text, NUMBER: 3, FLAG: true, KEY: $KEY, FILE: "file:secret", DOLLAR: "a$b", WORD: none}
      replicas: {min: 0, max: 4, target: 2}
      port: 9000
      ready: {path: /ready, timeout: 5s, interval: 50ms}
      live: {path: /live, interval: 1s, failures: 2}
      idle: 1m
      drain: 0s
      restart: {base: 10ms, max: 1s, crash_loop: 3, window: 1m}
      watch: ["*.py"]
      log_size: 2KiB
      grace: 1s
"""


def resolve(text: str, folder: Path, *, found: tuple[Path, Path] | None = None) -> Resolved:
    loaded = load_bytes(text.encode(), "meseta.yaml", folder)
    return resolve_loaded(loaded, environment={"KEY": "k-1"}, weights=lambda: found)


def whole(folder: Path) -> AgentSpec:
    (folder / "sub").mkdir()
    (folder / "secret").write_text("from-a-file\n")
    [spec] = resolve(LISTENER + WHOLE, folder).fleet
    return spec


def test_every_setting_of_a_run(tmp_path: Path) -> None:
    spec = whole(tmp_path)
    assert (spec.id, spec.command) == ("one", ["python", "-m", "one", "--port", "80"])
    assert spec.cwd == tmp_path / "sub"
    assert {name: value.reveal() for name, value in spec.env.items()} == {
        "PLAIN": "text",
        "NUMBER": "3",
        "FLAG": "true",
        "KEY": "k-1",
        "FILE": "from-a-file",
        "DOLLAR": "a$b",
        "WORD": "none",
    }
    assert spec.replicas == Replicas(0, 4, 2)
    assert (spec.port, spec.idle_ms, spec.drain_ms, spec.grace_ms) == (9000, 60_000, 0, 1_000)
    assert spec.ready == Ready("/ready", 5_000, 50)
    assert spec.live == Live("/live", 1_000, 2)
    assert spec.restart == Restart(10, 1_000, 3, 60_000)
    assert (spec.watch, spec.log_bytes) == (["*.py"], 2_048)


def test_an_instance_is_asked_like_an_agent_with_an_address(tmp_path: Path) -> None:
    template = whole(tmp_path).target
    settings = "apis: [openai_responses], auth: $KEY, timeouts: {total: 1m}, limits: {concurrency: 2}"
    text = LISTENER + f'agents: [{{id: one, url: "http://127.0.0.1:5", {settings}}}]\n'
    [target] = resolve(text, tmp_path).snapshot["targets"]
    assert template["paths"] == {"responses": "/responses"}
    assert {**template, "name": target["name"], "base_url": target["base_url"]} == target


def test_the_defaults_are_those_of_the_fleet(tmp_path: Path) -> None:
    [spec] = resolve(LISTENER + "agents: [{id: one, run: {command: [x]}}]\n", tmp_path).fleet
    assert spec == AgentSpec("one", ["x"], tmp_path, target=spec.target)


@pytest.mark.parametrize(
    ("replicas", "idle_ms"), [("3", None), ("{min: 1, max: 2}", 300_000), ("{min: 2, max: 2}", None)]
)
def test_who_is_scaled_goes_idle(tmp_path: Path, replicas: str, idle_ms: int | None) -> None:
    text = f"{LISTENER}agents: [{{id: one, run: {{command: [x], replicas: {replicas}}}}}]\n"
    [spec] = resolve(text, tmp_path).fleet
    assert spec.idle_ms == idle_ms


def test_the_child_says_the_same_and_hides_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "k-1")
    (tmp_path / "sub").mkdir()
    (tmp_path / "secret").write_text("from-a-file")
    file = tmp_path / "meseta.yaml"
    file.write_text(LISTENER + WHOLE)
    here, there = resolve_file(file), resolve_in_child(file)
    assert here.fleet == there.fleet
    assert here.fleet[0].env["KEY"] == Secret("k-1")
    for text in (repr(here.fleet), str(there.fleet), repr(here)):
        assert "k-1" not in text
        assert "from-a-file" not in text
    assert str(tmp_path / "secret") in here.files


def test_a_key_of_an_agent_is_never_shown(tmp_path: Path) -> None:
    text = LISTENER + 'agents: [{id: one, url: "http://127.0.0.1:5", token: $KEY, auth: $KEY}]\n'
    snapshot = resolve(text, tmp_path).snapshot
    digest = snapshot["agents"][0]["token_sha256"]
    assert digest is not None
    assert len(digest) == 64
    snapshot["context_key"] = "c" * 64
    shown = json.dumps(redact(snapshot))
    assert digest not in shown
    assert "k-1" not in shown
    assert "ccc" not in shown
    assert snapshot["agents"][0]["token_sha256"] == digest


def test_the_embedded_chooser_is_on_where_it_is_installed_and_needed(tmp_path: Path) -> None:
    found = (tmp_path / "w", tmp_path / "t")
    resolved = resolve(TWO + ADDRESSES, tmp_path, found=found)
    assert resolved.snapshot["chooser"]["embedded"] == {
        "weights": str(found[0]),
        "tokenizer": str(found[1]),
        "threshold": 0.5,
        "margin": 0.1,
    }
    assert not resolved.warnings
    alone = resolve(LISTENER + ADDRESSES, tmp_path, found=found)
    assert alone.snapshot["chooser"]["embedded"] is None, "one agent alone needs no chooser"


def test_its_settings_turn_it_on(tmp_path: Path) -> None:
    text = LISTENER + ADDRESSES + "chooser: {embedded: {threshold: 0.7}}\n"
    embedded = resolve(text, tmp_path, found=(tmp_path, tmp_path)).snapshot["chooser"]["embedded"]
    assert (embedded["threshold"], embedded["margin"]) == (0.7, 0.1)
    off = resolve(TWO + ADDRESSES + "chooser: {embedded: false}\n", tmp_path, found=(tmp_path, tmp_path))
    assert off.snapshot["chooser"]["embedded"] is None
    assert not off.warnings


def test_it_is_missed_only_where_it_is_needed(tmp_path: Path) -> None:
    alone = 'agents: [{id: one, url: "http://127.0.0.1:1"}]\n'
    assert not resolve(LISTENER + alone, tmp_path).warnings
    [warning] = resolve(TWO + ADDRESSES, tmp_path).warnings
    assert warning.code == "config.missing_extra"
    with pytest.raises(ConfigError) as caught:
        resolve(TWO + ADDRESSES + "chooser: {embedded: true}\n", tmp_path)
    assert caught.value.code == "config.missing_extra"
