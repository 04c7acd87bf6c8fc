"""A Plano file becomes one that passes the check, with its comments, and says what became of every key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meseta.config import ConfigError, load_bytes, resolve_loaded
from meseta.config.from_plano import import_plano
from meseta.config.imported import Imported

FILES = Path(__file__).parent / "files"


def imported(text: str, **environment: str) -> Imported:
    return import_plano(text.encode(), "plano.yaml", Path("/nowhere"), environment)


def written(result: Imported) -> Any:
    return load_bytes(result.text.encode(), "meseta.yaml", Path("/nowhere")).document.value


def resolved(result: Imported) -> dict[str, Any]:
    """Resolve the new file as a plane would, with its variables set."""
    loaded = load_bytes(result.text.encode(), "meseta.yaml", Path("/nowhere"))
    return dict(resolve_loaded(loaded, environment=dict.fromkeys(result.variables, "value")).snapshot)


def lines_of(result: Imported, kind: str) -> list[int]:
    return sorted({note.line for note in result.notes if note.kind == kind})


@pytest.fixture(scope="module")
def models() -> Imported:
    return imported((FILES / "plano-models.yaml").read_text(), AZURE_URL="https://acme.openai.azure.com")


@pytest.fixture(scope="module")
def agents() -> Imported:
    return imported((FILES / "plano-agents.yaml").read_text())


def test_models(models: Imported) -> None:
    assert models.valid
    tree = written(models)
    assert tree["version"] == 1
    assert tree["listeners"] == [
        {
            "type": "model",
            "name": "egress",
            "address": "0.0.0.0",
            "port": 12000,
            "auth": {"keys": ["$MESETA_KEY"]},
        }
    ]
    entries = {entry["model"]: entry for entry in tree["model_providers"]}
    assert entries["azure_openai/gpt-4o-eu"]["base_url"] == "https://acme.openai.azure.com"
    assert entries["azure_openai/gpt-4o-eu"]["api_version"] == "2025-01-01-preview"
    assert entries["acme/large"]["base_url"] == "https://llm.acme.example/v1"
    assert entries["acme/large"]["headers"] == {"x-team": "search"}
    assert entries["acme/large"]["access_key"] == "$ACME_API_KEY"
    timeouts = resolved(models)["targets"][0]["timeouts"]
    assert (timeouts["total_ms"], timeouts["connect_ms"]) == (45_000, 10_000)
    assert resolved(models)["names"]["fast"] == "openai/gpt-4o-mini"


def test_preferences_of_entries_stand_at_the_top(models: Imported) -> None:
    tree = written(models)
    assert tree["routing_preferences"] == [
        {
            "name": "code generation",
            "description": "writing new code",
            "models": ["openai/gpt-4o", "openai/gpt-4o-mini"],
        },
        {"name": "small talk", "description": "greetings", "models": ["openai/gpt-4o-mini"]},
    ]
    assert tree["chooser"] == {"embedded": False, "model": "openai/gpt-4o-mini"}


def test_comments_stay_with_what_they_are_about(models: Imported) -> None:
    lines = models.text.splitlines()
    assert lines[:2] == ["# Models of three teams.", "version: 1"]
    assert lines[lines.index("  # The only way in.") + 1] == "  - type: model"
    assert "    address: 0.0.0.0 # every interface" in lines
    assert "  - model: openai/gpt-4o # the big one" in lines
    assert "    description: greetings # and thanks" in lines
    # The filters are gone, and what was said about them with them.
    assert "asks the guard" not in models.text


def test_no_secret_is_copied_or_told(models: Imported) -> None:
    told = models.text + "".join(note.message for note in models.notes) + repr(models)
    secrets = ("sk-proj-", "sk-guard-", "geheim99", "acme-token")
    assert not [secret for secret in secrets if secret in told]
    assert "# The small one; its key was *** once, too." in models.text
    # The variable of that name is in use for another key.
    assert models.variables == [
        "ACME_API_KEY",
        "AZURE_KEY",
        "MESETA_KEY",
        "OPENAI_API_KEY",
        "OPENAI_API_KEY_2",
    ]


def test_what_is_not_served_is_named_with_its_line(models: Imported) -> None:
    assert lines_of(models, "unguarded") == [12, 14, 54]
    assert set(lines_of(models, "dropped")) >= {11, 48, 52, 59}
    assert lines_of(models, "to do") == [8, 20, 37, 39]


def test_agents(agents: Imported) -> None:
    assert agents.valid
    document = resolved(agents)
    (listener,) = document["listeners"]
    orchestration = listener["orchestration"]
    assert [agent["id"] for agent in orchestration["agents"]] == ["weather", "flights"]
    assert orchestration["agents"][0]["description"].strip() == "Forecasts.\n# not a comment"
    assert orchestration["default"] == "weather"
    tree = written(agents)
    assert [agent["timeouts"] for agent in tree["agents"]] == [{"total": "90s"}, {"total": "90s"}]
    assert tree["chooser"] == {
        "embedded": False,
        "model": {
            "model": "plano/hf.co/katanemo/Plano-Orchestrator-4B",
            "prompt": "plano",
            "context_tokens": 4096,
        },
    }
    lines = agents.text.splitlines()
    assert lines[lines.index("        # What it is good at.") + 1] == "        description: |"


def test_agents_that_are_not_there_are_named(agents: Imported) -> None:
    # An agent, a listener of type prompt, and a listener whose only agent is unknown.
    assert set(lines_of(agents, "dropped")) >= {22, 23, 24}
    assert lines_of(agents, "unguarded") == [21]


def test_anchors_are_written_out() -> None:
    result = imported(
        "version: v0.4.0\n"
        "listeners: [{type: model, name: llm, port: 12000}]\n"
        "model_providers:\n"
        "  - &one {model: openai/a, access_key: $KEY}\n"
        "  - {<<: *one, model: openai/b}\n"
    )
    assert result.valid
    assert [entry["access_key"] for entry in written(result)["model_providers"]] == ["$KEY", "$KEY"]


def test_the_older_form_of_listeners() -> None:
    result = imported(
        "version: v0.3.0\n"
        "listeners:\n"
        "  egress_traffic: {port: 12001, message_format: openai}\n"
        "  ingress_traffic: {port: 10000}\n"
        "llm_providers: [{model: ollama/*}]\n"
    )
    assert result.valid
    assert written(result)["listeners"] == [{"name": "models", "type": "model", "port": 12001}]


def test_a_key_of_no_version_is_taken_out_and_named() -> None:
    result = imported(
        "version: v0.4.0\n"
        "listeners:\n  - {type: model, name: llm, port: 12000, nonsense: 1}\n"
        "model_providers: [{model: ollama/*, colour: red}]\n"
        "later: {}\n"
    )
    assert result.valid
    assert sorted(note.line for note in result.notes if "no counterpart" in note.message) == [3, 4, 5]


@pytest.mark.parametrize(
    "text", ["", "version: 1", "version: [v0.4.0]", "- 1", "version: v0.4.0\na: 1\na: 2"]
)
def test_what_is_no_file_of_plano(text: str) -> None:
    with pytest.raises(ConfigError):
        imported(text)
