"""A LiteLLM file becomes one that passes the check, says what became of every key, and holds no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meseta.config import ConfigError, load_bytes, resolve_loaded
from meseta.config.imported import Imported
from meseta.config.litellm import import_litellm

FILES = Path(__file__).parent / "files"
SECRETS = (
    "sk-live-0123456789abcdef",
    "AKIAEXAMPLEEXAMPLE12",
    "hunter2secret",
    "very-secret-token",
    "gsk_abcdefghijklmnopqrstuv",
    "correct-horse-battery",
    "sk-master-9876543210",
    "dbsecret",
    "sk-lf-1234567890",
)


def imported(text: str, **environment: str) -> Imported:
    return import_litellm(text.encode(), "litellm.yaml", Path("/nowhere"), environment)


def resolved(result: Imported) -> dict[str, Any]:
    """Resolve the new file as a plane would, with its variables set."""
    loaded = load_bytes(result.text.encode(), "meseta.yaml", Path("/nowhere"))
    return dict(resolve_loaded(loaded, environment=dict.fromkeys(result.variables, "value")).snapshot)


def notes(result: Imported) -> list[tuple[str, int]]:
    return [(note.kind, note.line) for note in result.notes]


@pytest.fixture(scope="module")
def everything() -> Imported:
    return imported((FILES / "litellm-everything.yaml").read_text())


def test_the_new_file_passes_the_check(everything: Imported) -> None:
    assert everything.valid
    assert {problem.severity for problem in everything.problems} <= {"warning"}
    document = resolved(everything)
    assert document["listeners"][0]["port"] == 4000
    assert document["listeners"][0]["auth"]["type"] == "keys"
    assert document["default"] == "gpt-4o"
    # The pool has the short name of one of its models, which has a name of its own.
    assert "gpt-4o" not in document["names"]
    assert document["names"]["openai/gpt-4o"] == "gpt-4o-3"
    assert document["admission"]["concurrency"] == 256
    assert set(document["wildcards"]) == {"anthropic", "openai"}


def test_no_secret_is_copied_or_told(everything: Imported) -> None:
    told = everything.text + "".join(note.message for note in everything.notes) + repr(everything)
    assert not [secret for secret in SECRETS if secret in told]
    assert {"OPENAI_API_KEY", "OPENAI_API_KEY_2", "REDIS_PASSWORD"} <= set(everything.variables)


def test_groups_become_pools(everything: Imported) -> None:
    pools = {pool["name"]: pool for pool in resolved(everything)["pools"]}
    pool = pools["gpt-4o"]
    assert pool["select"] == "least_latency"
    assert [(member["target"], member["priority"]) for member in pool["members"]] == [
        ("gpt-4o-1", 0),
        ("gpt-4o-2", 2),
        ("gpt-4o-3", 0),
    ]
    assert pool["retry"]["attempts"] == 3
    # A prompt that is too long goes to `claude` only, by its own list of fallbacks.
    assert {way["name"]: "context_length" in way["on"] for way in pool["fallback"]} == {
        "claude": True,
        "local": False,
    }
    assert pools["gpt-4"]["members"] == pool["members"]


def test_fallbacks_in_a_circle_end_at_the_deployments(everything: Imported) -> None:
    pools = {pool["name"]: pool for pool in resolved(everything)["pools"]}
    ways = [way["name"] for way in pools["claude"]["fallback"]]
    assert ways == ["gpt-4o-1", "gpt-4o-2", "gpt-4o-3", "anthropic/claude-haiku-4-5"]
    assert all("content_policy" not in way["on"] for way in pools["claude"]["fallback"])


def test_targets(everything: Imported) -> None:
    targets = {target["name"]: target for target in resolved(everything)["targets"]}
    assert "2024-10-21" in str(targets["gpt-4o-1"]["paths"]) + targets["gpt-4o-1"]["query"]
    assert targets["gpt-4o-1"]["limits"]["concurrency"] == 32
    assert targets["gpt-4o-3"]["timeouts"]["total_ms"] == 45_000
    assert targets["gpt-4o-3"]["timeouts"]["first_token_ms"] == 2_500
    assert targets["gpt-4o-3"]["headers"] == {"openai-organization": "org-acme"}
    assert targets["claude-1"]["timeouts"]["total_ms"] == 600_000
    assert targets["claude-1"]["price"]["input"] == 3
    assert targets["local-1"]["base_url"] == "http://10.0.0.7:8000/v1"
    assert targets["local-1"]["credentials"] == [{"type": "none"}]
    assert targets["local-1"]["model"] == "meta-llama/Llama-3.3-70B-Instruct"
    assert targets["fireworks-1"]["base_url"] == "https://api.fireworks.ai/inference/v1"
    assert targets["bedrock-claude-1"]["base_url"] == "https://bedrock-runtime.eu-central-1.amazonaws.com"


def test_every_key_that_is_not_translated_is_named(everything: Imported) -> None:
    told = "\n".join(note.message for note in everything.notes)
    for word in (
        "temperature",
        "supports_vision",
        "some_new_setting",
        "sagemaker",
        "Callbacks",
        "Alerts",
        "database",
    ):
        assert word in told
    assert ("unguarded", 106) in notes(everything)


@pytest.mark.parametrize("key", ["callbacks", "success_callback", "input_callback"])
def test_a_guard_among_the_callbacks_is_a_guard(key: str) -> None:
    models = "model_list: [{model_name: a, litellm_params: {model: openai/a, api_key: os.environ/KEY}}]\n"
    result = imported(f"{models}litellm_settings: {{{key}: [langfuse, presidio, custom.my_guard]}}\n")
    guards = [note for note in result.notes if note.kind == "unguarded"]
    assert [("presidio, custom.my_guard" in note.message, note.line) for note in guards] == [(True, 2)]
    assert [note.kind for note in imported(f"{models}litellm_settings: {{{key}: langfuse}}\n").notes] == [
        "changed",
        "dropped",
    ]


def test_a_model_alone_is_an_entry() -> None:
    result = imported(
        "model_list:\n"
        "  - {model_name: fast, litellm_params: {model: gpt-4o-mini, api_key: os.environ/OPENAI_API_KEY}}\n"
        "router_settings: {model_group_alias: {quick: fast}}\n"
    )
    assert [note.kind for note in result.notes] == ["changed"]
    document = resolved(result)
    assert document["pools"] == []
    assert document["names"]["fast"] == document["names"]["quick"] == "fast"
    assert document["listeners"][0]["auth"] == {"type": "none"}


def test_weights_of_requests_per_minute() -> None:
    result = imported(
        "model_list:\n"
        "  - {model_name: m, litellm_params: {model: groq/a, tpm: 30000000}}\n"
        "  - {model_name: m, litellm_params: {model: groq/b, tpm: 10000000}}\n"
        "  - {model_name: m, litellm_params: {model: groq/c, weight: 20000000}}\n"
    )
    (pool,) = resolved(result)["pools"]
    first, second, third = (member["weight"] for member in pool["members"])
    assert first == pytest.approx(3 * second)
    assert third == pytest.approx(2 * second)
    assert first <= 1_000_000


def test_addresses_in_variables() -> None:
    text = (
        "model_list:\n"
        "  - model_name: a\n"
        "    litellm_params: {model: azure/a, api_base: os.environ/BASE, api_key: os.environ/K}\n"
    )
    found = imported(text, BASE="https://acme.openai.azure.com")
    assert resolved(found)["targets"][0]["base_url"].startswith("https://acme.openai.azure.com")
    missing = imported(text)
    assert missing.valid
    assert "https://base.invalid" in missing.text
    assert ("to do", 3) in notes(missing)


def test_a_server_elsewhere_gets_no_key_of_openai() -> None:
    result = imported(
        "model_list:\n  - {model_name: a, litellm_params: {model: openai/a, api_base: 'http://10.0.0.1'}}\n"
    )
    assert "access_key: none" in result.text


def test_wildcards() -> None:
    result = imported(
        "model_list:\n"
        "  - {model_name: 'team/*', litellm_params: {model: 'openai/*', api_key: os.environ/TEAM}}\n"
        "  - {model_name: 'openai/*', litellm_params: {model: 'openai/*', api_key: os.environ/A}}\n"
        "  - {model_name: 'openai/*', litellm_params: {model: 'openai/*', api_key: os.environ/B}}\n"
        "  - {model_name: 'x-*', litellm_params: {model: 'openai/x-*', api_key: os.environ/A}}\n"
    )
    document = resolved(result)
    assert document["wildcards"] == {"team": "team/*", "openai": "openai/*"}
    assert document["targets"][0]["base_url"] == "https://api.openai.com/v1"
    assert notes(result)[:2] == [("dropped", 4), ("dropped", 5)]


@pytest.mark.parametrize("text", ["", "version: 1", "model_list: {}", "- 1", "model_list: [", "a: 1\na: 2"])
def test_what_is_no_file_of_litellm(text: str) -> None:
    with pytest.raises(ConfigError):
        imported(text)
