from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from meseta.config import ConfigError, load_bytes, redact, resolve_loaded
from meseta.config.prices import CATALOGUES, PublishedPrices
from meseta.config.prompt_caches import KEPT, marks, prompt_cache
from meseta.config.providers import BY_NAME, COMPATIBLE, INTERFACES
from meseta.config.secrets import SecretError
from meseta.config.shared import SharedAddress
from meseta.config.snapshot import RETRY_BUDGET, SESSIONS, TARGET_HEALTH, TARGET_LIMITS

if TYPE_CHECKING:
    from pathlib import Path

    from meseta.config.snapshot import Snapshot

ENVIRONMENT = {"KEY": "k-1", "OTHER": "k-2", "PASSWORD": "p/w:1@2", "REDIS": "redis://u:topsecret@h:6380/3"}


def resolve(text: str) -> Snapshot:
    return resolve_loaded(load_bytes(text.encode()), environment=ENVIRONMENT).snapshot


def test_the_defaults_of_the_models_are_those_of_the_snapshot() -> None:
    snapshot = resolve("version: 1\nmodel_providers: [{model: ollama/a}]\n")
    target = snapshot["targets"][0]
    assert (target["limits"], target["health"]) == (TARGET_LIMITS, TARGET_HEALTH)
    assert (snapshot["sessions"], snapshot["retry_budget"]) == (SESSIONS, RETRY_BUDGET)
    assert (snapshot["pools"], snapshot["admission"], snapshot["shared"]) == ([], None, None)


@pytest.mark.parametrize(
    ("written", "resolved"),
    [
        ("redis://h", "redis://h"),
        ("redis://127.0.0.1:6379/15", "redis://127.0.0.1:6379/15"),
        ("redis://[::1]:6379", "redis://[::1]:6379"),
        ("redis://user@h/1", "redis://user@h/1"),
        ("rediss://user:$PASSWORD@h", "rediss://user:p%2Fw%3A1%402@h"),
        ("valkeys://h", "valkeys://h"),
        ("redis+unix:///run/redis.sock", "redis+unix:///run/redis.sock"),
        ("redis://user:$PASSWORD@h", "redis://user:p%2Fw%3A1%402@h"),
        ("redis://:${PASSWORD}@h:1/2", "redis://:p%2Fw%3A1%402@h:1/2"),
        ("redis://user:lit%40eral@h", "redis://user:lit%40eral@h"),
        ("redis://user:@h", "redis://user:@h"),
        ("$REDIS", "redis://u:topsecret@h:6380/3"),
    ],
)
def test_shared_address(written: str, resolved: str, tmp_path: Path) -> None:
    address = SharedAddress.parse(written)
    assert address.resolve(ENVIRONMENT, tmp_path) == resolved
    assert "topsecret" not in repr(address)


@pytest.mark.parametrize(
    "written",
    [
        5,
        "",
        "none",
        "h:6379",
        "http://h",
        "redis://",
        "redis://:6379",
        "redis://h:port",
        "redis://h:99999",
        "redis://h:0",
        "redis://h/name",
        "redis://h/0?password=x",
        "redis://h/0#x",
        "redis://u:a@b@h",
        "redis://u:a/b@h",
        "redis://u:$PASS/@h",
        "redis://h h",
        "redis://é",
        "redis://[::1",
        "redis+unix://h/run/redis.sock",
        "redis+unix:///",
        "redisx://h",
    ],
)
def test_what_is_no_shared_address(written: object) -> None:
    with pytest.raises(SecretError):
        SharedAddress.parse(written)


def test_an_address_from_outside_is_checked_and_not_repeated(tmp_path: Path) -> None:
    for value in ("postgres://u:topsecret@h", "redis://u:topsecret@h/x", "topsecret"):
        with pytest.raises(SecretError) as caught:
            SharedAddress.parse("$URL").resolve({"URL": value}, tmp_path)
        assert "topsecret" not in str(caught.value)


def test_redact_hides_passwords_and_digests_of_keys() -> None:
    snapshot = resolve("""
version: 1
listeners: [{name: a, auth: {keys: [{key: $KEY, tenant: acme}]}}]
model_providers: [{model: openai/a, access_keys: [$KEY, $OTHER]}]
store: {shared: $REDIS}
""")
    shown = redact(snapshot)
    assert shown["shared"] is not None
    assert shown["shared"]["url"] == "redis://***@h:6380/3"
    assert [auth["value"] for auth in shown["targets"][0]["credentials"]] == ["***", "***"]
    assert shown["listeners"][0]["auth"]["keys"] == [
        {"sha256": "***", "tenant": "acme", "priority": "normal", "concurrency": 0}
    ]
    digest = snapshot["listeners"][0]["auth"]["keys"][0]["sha256"]
    text = json.dumps(shown)
    assert not any(secret in text for secret in ("k-1", "k-2", "topsecret", digest))


def test_a_tenant_has_one_limit_whichever_key_says_it() -> None:
    snapshot = resolve("""
version: 1
listeners:
  - {name: a, auth: {keys: [{key: $KEY, tenant: acme}]}}
  - name: b
    port: 12001
    auth: {keys: [{key: $OTHER, tenant: acme, concurrency: 7}, {key: $KEY, concurrency: 3}]}
model_providers: [{model: ollama/a}]
""")
    keys = [key for place in snapshot["listeners"] for key in place["auth"]["keys"]]
    assert [(key["tenant"], key["concurrency"]) for key in keys] == [
        ("acme", 7),
        ("acme", 7),
        (keys[2]["sha256"][:12], 3),
    ]


def test_published_prices_are_in_dollars_per_million_tokens() -> None:
    prices = PublishedPrices()
    price = prices.price("openai", "gpt-4o")
    assert price is not None
    assert price["source"].startswith("genai-prices ")
    assert price["input"] is not None
    assert price["output"] is not None
    assert 0.1 < price["input"] < price["output"] < 1_000
    tiered = prices.price("gemini", "gemini-2.5-pro")
    assert tiered is not None
    assert isinstance(tiered["input"], float)
    for provider, model in (
        ("openai", "no-such-model"),
        ("openai", "*"),
        ("ollama", "llama3"),
        ("sim", "echo"),
    ):
        assert prices.price(provider, model) is None


def test_every_catalogue_of_prices_exists() -> None:
    assert CATALOGUES.keys() <= BY_NAME.keys()
    known = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-5", "amazon_bedrock": "amazon.nova-pro-v1:0"}
    prices = PublishedPrices()
    for provider in CATALOGUES:
        prices.price(provider, known.get(provider, "no-such-model"))
    for provider, model in known.items():
        assert prices.price(provider, model) is not None, provider


def test_prices_go_to_models_of_the_provider_itself_and_to_nobody_else() -> None:
    snapshot = resolve("""
version: 1
model_providers:
  - {model: openai/gpt-4o, access_key: $KEY}
  - {model: openai/gpt-4o, name: own, access_key: $KEY, base_url: "http://10.0.0.5:8000"}
  - {model: acme/gpt-4o, access_key: $KEY, base_url: "http://10.0.0.6", provider_interface: openai}
  - {model: acme2/claude-sonnet-4-5, base_url: "http://10.0.0.7", provider_interface: anthropic}
  - {model: anthropic/*, access_key: $KEY}
  - {model: openai/gpt-4.1, access_key: $KEY, price: {input: 0, output: 0}}
model_aliases: {haiku: {target: anthropic/claude-haiku-4-5}}
""")
    priced = {
        target["name"]: target["price"] and target["price"]["source"][:6] for target in snapshot["targets"]
    }
    assert priced == {
        "openai/gpt-4o": "genai-",
        "own": None,
        "acme/gpt-4o": None,
        "acme2/claude-sonnet-4-5": None,
        "anthropic/*": None,
        "openai/gpt-4.1": "config",
        "anthropic/claude-haiku-4-5": "genai-",
    }
    kept = {target["name"]: target["prompt_cache"] for target in snapshot["targets"]}
    assert kept["own"]["window_ms"] == kept["acme/gpt-4o"]["window_ms"] == 0
    assert kept["anthropic/*"] == {"window_ms": 300_000, "minimum_tokens": 1_024, "marks": "messages"}
    assert kept["anthropic/claude-haiku-4-5"]["minimum_tokens"] == 4_096


def test_prices_are_not_loaded_where_nobody_asks_for_one() -> None:
    code = """
import sys
from meseta.config import load_bytes, resolve_loaded
text = b"version: 1\\nmodel_providers: [{model: openai/*, access_key: $KEY}, {model: sim/echo}]\\n"
resolve_loaded(load_bytes(text), environment={"KEY": "k"})
import meseta.plane, meseta.cli.main
assert "genai_prices" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("provider", "model", "dialect", "where"),
    [
        ("anthropic", "*", "anthropic_messages", "messages"),
        ("openrouter", "anthropic/claude-opus-4.6", "openai_chat", "chat_parts"),
        ("openrouter", "openai/gpt-4o", "openai_chat", "none"),
        ("openrouter", "*", "openai_chat", "none"),
        ("openrouter", "anthropic/claude-opus-4.6", "anthropic_messages", "messages"),
        ("amazon_bedrock", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "bedrock_converse", "converse"),
        ("amazon_bedrock", "amazon.nova-lite-v1:0", "bedrock_converse", "converse"),
        ("amazon_bedrock", "meta.llama3-70b-instruct-v1:0", "bedrock_converse", "none"),
        ("amazon_bedrock", "*", "bedrock_converse", "none"),
        ("openai", "gpt-4o", "openai_responses", "none"),
        ("gemini", "gemini-2.5-pro", "gemini_generate_content", "none"),
    ],
)
def test_marks(provider: str, model: str, dialect: str, where: str) -> None:
    assert marks(BY_NAME[provider], model, dialect) == where  # type: ignore[arg-type]


def test_what_providers_keep() -> None:
    assert KEPT.keys() <= BY_NAME.keys()
    for name, kept in KEPT.items():
        assert kept.window_ms > 0, name
        assert kept.source.startswith("https://"), name
    assert prompt_cache(COMPATIBLE, "gpt-4o", "openai_chat")["window_ms"] == 0
    assert prompt_cache(INTERFACES["openai"], "gpt-4o", "openai_chat")["window_ms"] > 0
    for model, tokens in (
        ("claude-opus-4-5-20251101", 4_096),
        ("claude-sonnet-4-5", 1_024),
        ("claude-3-5-haiku-20241022", 2_048),
        ("claude-opus-4-1", 1_024),
        ("*", 1_024),
    ):
        assert prompt_cache(BY_NAME["anthropic"], model, "anthropic_messages")["minimum_tokens"] == tokens


def test_a_pool_takes_over_what_it_does_not_say() -> None:
    snapshot = resolve("""
version: 1
model_providers: [{model: ollama/a}, {model: ollama/b}]
retry: {attempts: 7, on: [timeout]}
pools: [{name: p, targets: [a, b], retry: {backoff: 1ms, on: [error, error]}}, {name: q, targets: [a]}]
""")
    first, second = (pool["retry"] for pool in snapshot["pools"])
    assert first == {"attempts": 7, "base_ms": 1, "max_ms": 5_000, "on": ["error"]}
    assert second == {"attempts": 7, "base_ms": 100, "max_ms": 5_000, "on": ["timeout"]}


def test_the_targets_of_a_pool_out_of_a_wildcard_have_its_credentials_and_limits() -> None:
    snapshot = resolve("""
version: 1
model_providers: [{model: groq/*, access_keys: [$KEY, $OTHER], limits: {concurrency: 3}}]
pools: [{name: p, targets: [groq/a, {model: groq/b}]}]
""")
    pattern, *concrete = snapshot["targets"]
    assert [target["name"] for target in concrete] == ["groq/a", "groq/b"]
    for target in concrete:
        assert (target["credentials"], target["limits"]) == (pattern["credentials"], pattern["limits"])
        assert target["credentials"] is not pattern["credentials"]
    assert {"id": "p", "owned_by": "meseta"} in snapshot["catalog"]
    assert {"id": "groq/a", "owned_by": "groq"} in snapshot["catalog"]


def test_a_pool_may_be_the_default() -> None:
    snapshot = resolve(
        "version: 1\nmodel_providers: [{model: ollama/a}]\npools: [{name: p, targets: [a], default: true}]\n"
    )
    assert snapshot["default"] == "p"


def chain(pools: int, last: str) -> str:
    rows = [f"  - {{name: p{number}, targets: [a], fallback: [p{number + 1}]}}\n" for number in range(pools)]
    end = f"  - {{name: p{pools}, targets: [a], fallback: [{last}]}}\n"
    return f"version: 1\nmodel_providers: [{{model: ollama/a}}]\npools:\n{''.join(rows)}{end}"


def test_thousands_of_pools_in_a_row() -> None:
    assert len(resolve(chain(1_100, "a"))["pools"]) == 1_101
    with pytest.raises(ConfigError) as caught:
        resolve(chain(1_100, "p0"))
    [problem] = caught.value.problems
    assert (problem.code, problem.line) == ("config.conflict", 1_104)
    assert problem.message.endswith("p0 → p1 → p2 → p3 → p4 → … → p1100 → p0.")


def test_a_broken_pool_or_entry_hides_no_name_of_it() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("""
version: 1
model_providers: [{model: ollama/a}, {model: ollama/b, base_url: "nonsense"}]
pools:
  - {name: broken, targets: []}
  - {name: p, targets: [b], fallback: [broken]}
""")
    assert [(problem.line, problem.code) for problem in caught.value.problems] == [
        (3, "config.invalid_value"),
        (5, "config.missing_key"),
    ]
