from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meseta.config import ConfigError, load_bytes, load_file, resolve_loaded
from meseta.config.document import LARGEST_BYTES

WORDS = [
    "version", "1", "v0.4.0", "listeners", "model_providers", "model", "openai/a", "openai/*",
    "name", "port", "auth", "keys", "$A", "none", "store", "off", "model_aliases", "target",
    "timeouts", "connect", "5s", "- ", ": ", "\n", "  ", "[", "]", "{", "}", ",", "&a ", "*a", "<<",
    "!!int ", "'", "\"", "|", ">", "#", "\t", "---", "...", "?", "%", "\0", "\x85", "\u2028", "é",
    "dialects", "openai_chat", "aws", "google", "region", "project", "credentials", "file:a", "profile",
    "role_arn", "web_identity_token_file", "api_version", "2024-10-21", "provider_interface", "base_url",
    "http://[::1", "https://openai/openai", "amazon_bedrock/*", "vertex_ai/*", "azure_openai/a", "anthropic",
    "pools", "targets", "fallback", "to", "on", "retry", "hedge", "after", "p95", "error", "shared",
    "redis://u:$A@h", "routing", "routing_budget", "session_cache", "prompt_caching", "admission", "limits",
    "health", "probe", "kind", "price", "input", "weight", "access_keys", "key", "tenant", "priority",
    "concurrency", "url", "type", "redis",
    "@", "`", "~", "null", "true", "1e999", "0x1f", "-.inf", "999999999999999999999999999999",
]  # fmt: skip

yamlish = st.lists(st.sampled_from(WORDS), max_size=60).map("".join)

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS)
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
)


def digest(content: bytes) -> None:
    """Read and resolve; anything but a result or a ConfigError with well-formed problems fails the test."""
    try:
        problems = resolve_loaded(load_bytes(content), environment={}).warnings
    except ConfigError as error:
        problems = error.problems
        if not error.errors:
            raise AssertionError("refused without an error") from error
    for problem in problems:
        assert problem.message.endswith((".", "?"))
        assert "Traceback" not in str(problem)


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbfversion: 1")
@example(b"\xff\xfeversion: 1")
def test_any_bytes(content: bytes) -> None:
    digest(content)


@settings(max_examples=400)
@given(yamlish)
@example("version: 1\nmodel_providers: [&a {<<: *a}]")
@example("version: 1\nmodel_providers: [{<<: [1, {model: ollama/*}]}]")
@example("version: 1\nmodel_aliases: {<<: {}}\nmodel_providers: [{model: ollama/*}]")
def test_any_yamlish_text(text: str) -> None:
    digest(text.encode())


@settings(max_examples=400)
@given(trees, trees, trees, st.sampled_from(["1", "v0.4.0", "v0.3.0"]))
def test_any_tree_under_the_known_keys(
    listeners: object, providers: object, aliases: object, version: str
) -> None:
    import json

    text = f"version: {version}\n"
    for key, value in (("listeners", listeners), ("model_providers", providers), ("model_aliases", aliases)):
        text += f"{key}: {json.dumps(value)}\n"
    digest(text.encode())


@pytest.mark.parametrize(
    "content",
    [
        b"#" * (LARGEST_BYTES + 1),
        b"[" * 100_000,
        b"{a: " * 10_000,
        b"- " * 100_000,
        b"version: 1\nx: [" + b"1," * 300_000 + b"]",
    ],
    ids=["bytes", "flow", "mappings", "block", "values"],
)
def test_bounds(content: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        load_bytes(content)
    assert caught.value.code == "config.too_large"


def test_invalid_utf_8_has_a_place() -> None:
    with pytest.raises(ConfigError) as caught:
        load_bytes("version: 1\n# é".encode() + b"\xff\n")
    assert str(caught.value).startswith(
        "configuration:2:4: error[config.syntax]: The file is not UTF-8 text."
    )


def test_a_missing_file(tmp_path: object) -> None:
    for path in ("nowhere.yaml", f"{tmp_path}", "a\0b"):
        with pytest.raises(ConfigError) as caught:
            load_file(path)
        assert caught.value.code == "config.not_found"


entries = st.dictionaries(
    st.sampled_from(
        ["model", "aws", "google", "dialects", "api_version", "base_url", "provider_interface", "access_key"]
    ),
    scalars
    | st.lists(scalars, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["region", "project", "location", "credentials", "profile", "role_arn", "access_key_id"]
        ),
        scalars,
        max_size=4,
    ),
)


@settings(max_examples=400)
@given(
    st.sampled_from(["amazon_bedrock/*", "vertex_ai/*", "azure_openai/a", "sim/a", "acme/a", "openai/a"]),
    entries,
    st.sampled_from(["1", "v0.4.0"]),
)
def test_any_entry_of_a_cloud(model: str, entry: dict[str, object], version: str) -> None:
    import json

    text = f"version: {version}\nlisteners: [{{type: model, name: a, port: 0}}]\n"
    digest((text + f"model_providers: [{json.dumps({**entry, 'model': model})}]\n").encode())


hub_keys = st.sampled_from(
    [
        "id", "url", "urls", "run", "command", "cwd", "env", "replicas", "min", "max", "port", "ready",
        "path", "apis", "auth", "token", "hold", "retry", "type", "agents", "rules", "use", "when", "text",
        "headers", "parallel", "merge", "supervise", "history", "name", "models", "selection_policy",
        "prefer", "embedded", "model", "provider", "query", "model_aliases", "routing_preferences",
        "description",
    ]
)  # fmt: skip
hub_words = scalars | st.sampled_from(
    ["agent", "a", "a/b", "openai/a", "http://a", "template", "cost", "keep"]
)
hub_trees = st.recursive(
    hub_words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hub_keys, inner, max_size=5),
    max_leaves=6,
)
hub_entries = st.dictionaries(hub_keys, hub_trees, max_size=3)


@settings(max_examples=500, deadline=None)
@given(hub_entries, hub_entries, hub_entries, hub_entries, st.sampled_from(["1", "v0.4.0"]))
def test_any_entry_of_the_hub(
    listener: dict[str, object],
    agent: dict[str, object],
    preference: dict[str, object],
    chooser: dict[str, object],
    version: str,
) -> None:
    import json

    listener = {
        "type": "agent",
        "name": "a",
        "port": 0,
        "agents": [{"id": "a", "description": "b"}],
        **listener,
    }
    agent = {"id": "a", **({} if "run" in agent else {"url": "http://a"}), **agent}
    preference = {"name": "a", "description": "b", "models": ["openai/a"], **preference}
    text = f"version: {version}\nmodel_providers: [{{model: openai/a, access_key: none}}]\n"
    text += f"listeners: [{json.dumps(listener)}]\nagents: [{json.dumps(agent)}]\n"
    text += f"routing_preferences: [{json.dumps(preference)}]\n"
    text += f"{'chooser' if version == '1' else 'overrides'}: {json.dumps(chooser)}\n"
    digest(text.encode())
