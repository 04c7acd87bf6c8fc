from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from meseta.config import ConfigError, load_bytes, redact, resolve_file, resolve_loaded
from meseta.config.child import resolve_in_child
from meseta.config.dialects import OPERATIONS, paths
from meseta.config.providers import COMPATIBLE, PROVIDERS
from meseta.config.snapshot import (
    LISTENER_LIMITS,
    LISTENER_TIMEOUTS,
    TARGET_TIMEOUTS,
    uses_simulator,
    with_simulator,
    without_file,
)
from meseta.native import core
from meseta.watch import mark

if TYPE_CHECKING:
    from pathlib import Path

SMALL = "version: 1\nmodel_providers: [{model: openai/a, access_key: $OPENAI_API_KEY}]\n"


def test_the_defaults_without_a_file_are_those_of_the_model(tmp_path: Path) -> None:
    """The start without a file does not import the models; both must say the same."""
    text = b"version: 1\nmodel_providers: [{model: openai/*, access_key: $OPENAI_API_KEY}, {model: sim/*}]\n"
    environment = {"OPENAI_API_KEY": "sk-1"}
    read = resolve_loaded(load_bytes(text, folder=tmp_path), environment=environment).snapshot
    assert without_file(environment, tmp_path / ".meseta") == read
    assert read["targets"][0]["timeouts"] == TARGET_TIMEOUTS
    assert read["listeners"][0]["limits"] == LISTENER_LIMITS
    assert read["listeners"][0]["timeouts"] == LISTENER_TIMEOUTS


def test_without_a_file_every_key_found_is_served(tmp_path: Path) -> None:
    environment = {provider.variables[-1]: "key-1" for provider in PROVIDERS if provider.variables}
    snapshot = without_file(environment, tmp_path)
    served = {target["provider"] for target in snapshot["targets"]}
    assert served == {p.name for p in PROVIDERS if p.variables and p.base_url} | {"sim"}
    core().check_snapshot(json.dumps(snapshot))


def test_without_a_file_bedrock_is_served_where_its_region_is_known(tmp_path: Path) -> None:
    key = {"AWS_BEARER_TOKEN_BEDROCK": "key-1"}
    for region in ({"AWS_REGION": "eu-central-1"}, {"AWS_DEFAULT_REGION": "eu-central-1"}):
        target = without_file({**key, **region}, tmp_path)["targets"][0]
        assert target["base_url"] == "https://bedrock-runtime.eu-central-1.amazonaws.com"
        assert target["dialects"] == ["bedrock_converse"]
        assert target["credentials"][0]["value"] == "Bearer key-1"
    for region in ({}, {"AWS_REGION": "evil.example/"}):
        targets = without_file({**key, **region}, tmp_path)["targets"]
        assert [target["provider"] for target in targets] == ["sim"]


def test_every_provider_has_an_address_for_what_it_speaks() -> None:
    for row in (*PROVIDERS, COMPATIBLE):
        assert set(row.offers) <= OPERATIONS.keys(), row.name
        for dialect in row.known_dialects():
            offered = paths([dialect], row.offers)
            assert any(OPERATIONS[name].always for name in offered), (row.name, dialect)
        assert not set(row.dialects) & set(row.selectable), row.name
        assert row.source.startswith("https://") or row.name == "sim"


def test_redact_masks_signing_keys(tmp_path: Path) -> None:
    text = """
version: 1
model_providers:
  - model: amazon_bedrock/a
    aws: {region: us-east-1, access_key_id: $ID, secret_access_key: $SECRET, session_token: $TOKEN}
"""
    environment = {"ID": "AKIA-1", "SECRET": "s-1", "TOKEN": "t-1"}
    snapshot = resolve_loaded(load_bytes(text.encode(), folder=tmp_path), environment=environment).snapshot
    core().check_snapshot(json.dumps(snapshot))
    shown = redact(snapshot)["targets"][0]["credentials"][0]
    assert shown == {
        "type": "sigv4",
        "region": "us-east-1",
        "service": "bedrock",
        "access_key_id": "***",
        "secret_access_key": "***",
        "session_token": "***",
    }
    assert snapshot["targets"][0]["credentials"][0]["secret_access_key"] == "s-1"


def test_without_a_file_a_key_that_no_header_can_carry_is_left_out(tmp_path: Path) -> None:
    for value in ("", "  ", "a\nb", "é"):
        snapshot = without_file({"OPENAI_API_KEY": value}, tmp_path)
        assert [target["provider"] for target in snapshot["targets"]] == ["sim"]


def test_dotenv_beside_the_file_supplements_the_environment(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(SMALL)
    with pytest.raises(ConfigError):
        resolve_file(tmp_path / "m.yaml", environment={})
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-file\n")
    resolved = resolve_file(tmp_path / "m.yaml", environment={})
    assert resolved.snapshot["targets"][0]["credentials"][0]["value"] == "Bearer sk-file"
    resolved = resolve_file(tmp_path / "m.yaml", environment={"OPENAI_API_KEY": "sk-process"})
    assert resolved.snapshot["targets"][0]["credentials"][0]["value"] == "Bearer sk-process"


def test_home_and_port(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("version: 1\nmodel_providers: [{model: ollama/*}]\n")
    resolved = resolve_file(tmp_path / "m.yaml", environment={}, home="/somewhere", port=0)
    assert resolved.snapshot["log"] is not None
    assert resolved.snapshot["log"]["path"] == "/somewhere/log.db"
    assert resolved.snapshot["listeners"][0]["port"] == 0


def test_the_child_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    file = tmp_path / "m.yaml"
    file.write_text(SMALL)
    here, there = resolve_file(file, port=5), resolve_in_child(file, port=5)
    assert (here.snapshot, here.warnings, here.files) == (there.snapshot, there.warnings, there.files)
    file.write_text("version: 1\nmodel_providers: [{model: openai/a, access_key: $NOT_SET}, {}]\n")
    with pytest.raises(ConfigError) as mine:
        resolve_file(file)
    with pytest.raises(ConfigError) as childs:
        resolve_in_child(file)
    assert mine.value.problems == childs.value.problems


def test_the_child_is_not_started_with_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    file = tmp_path / "m.yaml"
    file.write_text(SMALL)
    started: list[dict[str, str]] = []
    run: Any = subprocess.run

    def hear(command: list[str], **more: Any) -> Any:
        started.append(more["env"])
        return run(command, **more)

    monkeypatch.setattr(subprocess, "run", hear)
    assert resolve_in_child(file).snapshot["targets"], "it got the key all the same"
    assert len(started) == 1
    assert "sk-1" not in started[0].values()


def test_the_child_takes_no_module_from_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "pydantic.py").write_text("raise SystemExit('taken')")
    (tmp_path / "m.yaml").write_text("version: 1\nmodel_providers: [{model: ollama/*}]\n")
    assert resolve_in_child("m.yaml").snapshot["targets"][0]["provider"] == "ollama"


def test_resolved_does_not_show_secrets() -> None:
    resolved = resolve_loaded(load_bytes(SMALL.encode()), environment={"OPENAI_API_KEY": "sk-1"})
    assert "sk-1" not in repr(resolved)
    assert "sk-1" not in json.dumps(redact(resolved.snapshot))
    assert "sk-1" in json.dumps(resolved.snapshot)


def test_redact_masks_what_tells(tmp_path: Path) -> None:
    text = """
version: 1
listeners: [{name: a, auth: {keys: [$KEY]}}]
model_providers:
  - {model: ollama/a, headers: {x-api-token: t-1, x-team: blue}, base_url: "http://h/v1?key=q-1"}
"""
    snapshot = resolve_loaded(load_bytes(text.encode(), folder=tmp_path), environment={"KEY": "k-1"}).snapshot
    shown = redact(snapshot)
    assert shown["targets"][0]["headers"] == {"x-api-token": "***", "x-team": "blue"}
    assert shown["targets"][0]["query"] == "***"
    assert shown["listeners"][0]["auth"]["keys"][0]["sha256"] == "***"
    assert snapshot["targets"][0]["query"] == "key=q-1"


def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    one, other = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    one.private_key_pem.write_to_path(str(tmp_path / "one.key"))
    other.private_key_pem.write_to_path(str(tmp_path / "other.key"))
    one.cert_chain_pems[0].write_to_path(str(tmp_path / "one.pem"))
    text = """
version: 1
listeners: [{{name: a, tls: {{certificate: one.pem, private_key: {}}}}}]
model_providers: [{{model: ollama/*}}]
"""
    loaded = load_bytes(text.format("one.key").encode(), folder=tmp_path)
    resolved = resolve_loaded(loaded, environment={})
    tls = resolved.snapshot["listeners"][0]["tls"]
    assert tls is not None
    assert tls["certificate_pem"] == one.cert_chain_pems[0].bytes().decode()
    assert str(tmp_path / "one.key") in resolved.files
    core().check_snapshot(json.dumps(resolved.snapshot))
    assert "PRIVATE KEY" not in json.dumps(redact(resolved.snapshot))
    for key in ("other.key", "one.pem"):
        with pytest.raises(ConfigError, match="not a pair"):
            resolve_loaded(load_bytes(text.format(key).encode(), folder=tmp_path), environment={})


def test_the_simulator_is_filled_in(tmp_path: Path) -> None:
    snapshot = without_file({}, tmp_path)
    assert uses_simulator(snapshot)
    filled = with_simulator(snapshot, "http://127.0.0.1:5/v1")
    assert not uses_simulator(filled)
    assert filled["targets"][0]["base_url"] == "http://127.0.0.1:5/v1"


def test_key_files_are_watched(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-1")
    file = tmp_path / "m.yaml"
    file.write_text("version: 1\nmodel_providers: [{model: openai/a, access_key: file:key}]\n")
    files = resolve_file(file).files
    assert files == {name: mark(name) for name in (str(file), str(tmp_path / ".env"), str(tmp_path / "key"))}
    assert files[str(tmp_path / "key")] is not None
    assert files[str(tmp_path / ".env")] is None
