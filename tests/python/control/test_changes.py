"""What a new file would change: found, named, free of secrets, and refused where the native plane refuses."""

from __future__ import annotations

import copy
import json
import re
import socket
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meseta.config.load import load_bytes
from meseta.config.resolve import resolve_loaded
from meseta.config.snapshot import redact, with_simulator
from meseta.control.changes import NEEDS_RESTART, Change, changes
from meseta.errors import BindError, SnapshotError
from meseta.native import core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEXT = """
version: 1
listeners: [{name: models, port: 0, auth: {keys: [$CLIENT_KEY]}}]
model_providers:
  - {model: sim/*}
  - {model: openai/gpt-5, access_key: $OPENAI_API_KEY}
  - {model: openai/gpt-5-mini, access_key: $OPENAI_API_KEY}
model_aliases: {fast: {target: sim/echo}}
"""
ENVIRONMENT = {"CLIENT_KEY": "client-secret", "OPENAI_API_KEY": "sk-secret"}


def resolve(text: str = TEXT, **variables: str) -> Any:
    # Any: what is done to the document below is not always what a Snapshot may be.
    return json.loads(_resolved(text, tuple(variables.items())))


@cache
def _resolved(text: str, variables: tuple[tuple[str, str], ...]) -> str:
    environment = {**ENVIRONMENT, **dict(variables)}
    resolved = resolve_loaded(load_bytes(text.encode()), environment=environment, home="/h")
    return json.dumps(resolved.snapshot)


def summary(found: list[Change]) -> list[str]:
    """One line a change: what, and the paths of what differs in it."""
    return [
        " ".join([change.kind, change.section, change.name, *(key.path for key in change.keys)]).strip()
        for change in found
    ]


def test_the_same_is_no_change() -> None:
    assert changes(resolve(), resolve()) == []


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (
            ("model: sim/*", "model: sim/*, timeouts: {total: 60s}"),
            ["changed targets sim/* timeouts.total_ms", "changed targets sim/echo timeouts.total_ms"],
        ),
        (
            ("model: openai/gpt-5,", "model: openai/gpt-4,"),
            [
                "removed targets openai/gpt-5",
                "added targets openai/gpt-4",
                "removed names openai/gpt-5",
                "removed names gpt-5",
                "added names openai/gpt-4",
                "added names gpt-4",
                "removed catalog openai/gpt-5",
                "added catalog openai/gpt-4",
            ],
        ),
        (("target: sim/echo", "target: openai/gpt-5"), None),
        (("model_aliases: {", "model_aliases: {slow: {target: sim/echo}, "), None),
        (("version: 1", "version: 1\nstore: {keep: 1d}"), ["changed log  keep_hours"]),
        (("version: 1", "version: 1\nresponses: off"), ["changed responses"]),
    ],
    ids=["a limit", "a model", "an alias", "a second alias", "the log", "the store of responses"],
)
def test_every_difference_is_named(edit: tuple[str, str], expected: list[str] | None) -> None:
    old, new = resolve(), resolve(TEXT.replace(*edit))
    found = changes(old, new)
    if expected is not None:
        assert summary(found) == expected
    assert {change.section for change in found} == {key for key in old if old[key] != new[key]}


def test_values_are_told_from_old_to_new() -> None:
    old, new = resolve(), resolve()
    new["targets"][1]["max_output_tokens"] = 5
    new["listeners"][0]["name"] = "renamed"
    assert [asdict(change)["keys"] for change in changes(old, new) if change.section == "targets"] == [
        [{"path": "max_output_tokens", "old": old["targets"][1]["max_output_tokens"], "new": 5}]
    ]
    assert summary(changes(old, new))[:2] == ["removed listeners models", "added listeners renamed"]


def test_another_order_alone_is_told() -> None:
    old, new = resolve(), resolve()
    new["targets"].reverse()
    assert summary(changes(old, new)) == ["reordered targets"]
    new["targets"].pop()
    assert [change.kind for change in changes(old, new)] == ["removed"]


def test_lists_of_things_without_a_name_are_compared_by_place() -> None:
    """As the credentials of a target and the keys of a listener are from format 3 on."""
    old, new = resolve(), resolve()
    header = {"type": "header", "name": "authorization"}
    old["targets"][1]["headers"] = {"x": [{"a": 1}, {"a": 2}]}
    new["targets"][1]["headers"] = {"x": [{"a": 1}, {"a": 3}, header]}
    paths = [key.path for key in changes(old, new)[0].keys]
    assert paths == ["headers.x[1].a", "headers.x[2]"]


def test_members_of_a_pool_are_told_apart_by_their_target() -> None:
    old, new = resolve(), resolve()
    members = [{"target": "a", "weight": 1}, {"target": "b", "weight": 1}]
    old["pools"] = [{"name": "smart", "members": members}]
    new["pools"] = [
        {"name": "smart", "members": [{"target": "b", "weight": 5}]},
        {"name": "second", "members": []},
    ]
    found = [change for change in changes(old, new) if change.section == "pools"]
    assert summary(found) == ["changed pools smart members[a] members[b].weight", "added pools second"]


def test_a_secret_that_differs_is_told_and_not_shown() -> None:
    found = changes(resolve(), resolve(OPENAI_API_KEY="sk-other", CLIENT_KEY="client-other"))
    assert {change.section for change in found} == {"listeners", "targets"}
    assert len(found) == 3
    shown = json.dumps([asdict(change) for change in found])
    assert "secret" not in shown
    assert "other" not in shown
    # A key without a tenant is a tenant of its own, named by a part of its digest.
    keys = [key for change in found for key in change.keys if key.path != "auth.keys[0].tenant"]
    assert len(keys) == 3
    assert all(key.old == key.new for key in keys)


def secret_places() -> list[Callable[[Any, str], None]]:
    """Everywhere that a secret can be in a document."""

    def in_target(key: str, value: Callable[[str], Any]) -> Callable[[Any, str], None]:
        return lambda document, secret: document["targets"][1].update({key: value(secret)})

    def in_listener(key: str, value: Callable[[str], Any]) -> Callable[[Any, str], None]:
        return lambda document, secret: document["listeners"][0].update({key: value(secret)})

    return [
        in_target("headers", lambda secret: {"x-api-key": secret}),
        in_target("query", lambda secret: f"key={secret}"),
        in_target("base_url", lambda secret: f"https://user:{secret}@example.com/v1"),
        in_listener("tls", lambda secret: {"certificate_pem": "c", "private_key_pem": secret}),
        lambda document, secret: document.update({"shared": {"url": f"redis://:{secret}@host:6379"}}),
    ]


@given(
    place=st.sampled_from(secret_places()),
    secrets=st.lists(st.from_regex(r"[a-z0-9]{16,40}", fullmatch=True), min_size=2, max_size=2, unique=True),
    absent=st.booleans(),
)
def test_no_secret_is_ever_shown(place: Callable[[Any, str], None], secrets: list[str], absent: bool) -> None:
    old, new = resolve(), resolve()
    if not absent:
        place(old, secrets[0])
    place(new, secrets[1])
    found = changes(old, new)
    assert found, "it is told that it differs"
    shown = json.dumps([asdict(change) for change in found])
    assert secrets[0] not in shown
    assert secrets[1] not in shown
    backwards = json.dumps([asdict(change) for change in changes(new, old)])
    assert secrets[1] not in backwards


def test_credentials_that_are_fetched_are_not_compared() -> None:
    """Whoever only looks at a file has no token; the plane that serves it has a new one every hour."""
    old, new = resolve(), resolve()
    fetched = {"type": "sigv4", "region": "r", "access_key_id": "AKIA", "secret_access_key": "s"}
    old["targets"][1]["auth"] = {**fetched, "session_token": "t"}
    new["targets"][1]["auth"] = {
        **fetched,
        "access_key_id": "***",
        "secret_access_key": "***",
        "session_token": None,
    }
    assert changes(old, new) == []
    new["targets"][1]["auth"]["region"] = "other"
    assert summary(changes(old, new)) == ["changed targets openai/gpt-5 auth.region"]


_ADMISSION = {"concurrency": 100, "tenant_concurrency": 0, "queue": 10, "queue_ms": 1_000}
_PREFERENCE = {
    "name": "code",
    "description": "Writing programs.",
    "examples": [],
    "models": ["openai/gpt-5"],
    "prefer": "none",
}
_HISTORIES = {"path": "/nowhere/sessions.db", "keep_hours": 1, "max_bytes": 1, "max_message_bytes": 1}
_SHARED = {"url": "redis://127.0.0.1:1/0", "prefix": "meseta:", "timeout_ms": 25}

MUTATIONS: dict[str, Callable[[Any], object]] = {
    "listeners": lambda document: document["listeners"][0]["limits"].update(connections=17),
    "targets": lambda document: document["targets"][1]["timeouts"].update(idle_ms=54_321),
    "names": lambda document: document["names"].update(another=document["names"]["fast"]),
    "wildcards": lambda document: document["wildcards"].update(another="sim/*"),
    "default": lambda document: document.update(default="openai/gpt-5"),
    "catalog": lambda document: document["catalog"].pop(),
    "log": lambda document: document["log"].update(keep_hours=1),
    "responses": lambda document: document["responses"].update(keep_hours=1),
    "pools": lambda document: document.update(pools=[_pool(document)]),
    "retry_budget": lambda document: document["retry_budget"].update(percent=33.0),
    "admission": lambda document: document.update(admission=_ADMISSION),
    "sessions": lambda document: document["sessions"].update(max_entries=77),
    "shared": lambda document: document.update(shared=_SHARED),
    "agents": lambda document: document.update(agents=[_agent(document)]),
    "preferences": lambda document: document.update(preferences=[_PREFERENCE]),
    "chooser": lambda document: document["chooser"].update(user_turns_only=True),
    "context_key": lambda document: document.update(context_key="ab" * 32),
    "latencies": lambda document: document.update(latencies={"openai/gpt-5": 1.5}),
    "histories": lambda document: document.update(histories=_HISTORIES),
}
"""For each section a change that makes a good document of a good one."""


def _agent(document: Any) -> dict[str, Any]:
    pool = {**_pool(document), "name": "agent/weather", "members": [], "resume": "off"}
    hold = {"requests": 1, "ms": 1_000}
    return {"id": "weather", "pool": pool, "hold": hold, "token_sha256": None, "tenant": "default"}


def _pool(document: Any) -> dict[str, Any]:
    member = {"target": "openai/gpt-5", "model": None, "weight": 1, "priority": 0}
    return {
        "name": "a-new-pool",
        "select": "weighted",
        "members": [member],
        "fallback": [],
        "retry": {"attempts": 3, "base_ms": 100, "max_ms": 5_000, "on": ["rate_limit", "error", "timeout"]},
        "hedge": None,
        "resume": "text",
        "affinity": True,
        "timeouts": None,
    }


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[tuple[Any, Any, Any]]:
    """A native plane, the document that it serves, and how to have the simulator in another document."""
    simulator = core().Simulator()
    document = resolve()
    for section in ("log", "responses"):
        document[section]["path"] = str(tmp_path / Path(document[section]["path"]).name)
    native = core().Plane(json.dumps(with_simulator(document, simulator.url)), workers=1)
    yield native, document, lambda changed: json.dumps(with_simulator(changed, simulator.url))
    native.stop(drain_seconds=0.0)
    simulator.stop()


@pytest.mark.parametrize("section", [key for key in resolve() if key != "format"])
def test_the_native_plane_refuses_exactly_what_the_table_says(
    plane: tuple[Any, Any, Any], section: str
) -> None:
    native, document, as_json = plane
    changed = copy.deepcopy(document)
    MUTATIONS[section](changed)
    found = changes(document, changed)
    assert {change.section for change in found} == {section}
    if section not in NEEDS_RESTART:
        native.swap(as_json(changed))
        assert not any(change.refused for change in found)
        return
    with pytest.raises(SnapshotError, match="restart") as caught:
        native.swap(as_json(changed))
    told = set(re.findall(r"`(\w+)`", str(caught.value)))
    assert told == {file_key for key, file_key in NEEDS_RESTART.items() if key in document}
    assert [change.refused for change in found] == [
        f"`{NEEDS_RESTART[section]}` cannot change while the plane serves"
    ]


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "0.0.0.0", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "::", True),
        ("::", "127.0.0.1", True),
        ("::1", "0.0.0.0", False),
        # The same address, but no longer with a port that the system chose.
        ("127.0.0.1", "127.0.0.1", True),
    ],
)
def test_the_native_plane_refuses_a_move_when_we_say_so(
    plane: tuple[Any, Any, Any], first: str, second: str, refused: bool
) -> None:
    if ":" in first + second and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    native, document, as_json = plane
    document["listeners"][0]["address"] = first
    native.swap(as_json(document))
    bound = native.stats()["listeners"][0]["port"]
    other = copy.deepcopy(document)
    other["listeners"][0].update(address=second, port=bound)
    found = changes(document, other, {"models": (first, bound)})
    says = [change.refused for change in found if change.refused]
    assert bool(says) is refused
    if not refused:
        native.swap(as_json(other))
        return
    assert str(bound) in says[0]
    with pytest.raises(BindError, match="restart it for this change"):
        native.swap(as_json(other))


def test_a_listener_that_stays_where_it_is_needs_no_restart() -> None:
    old, new = resolve(), resolve()
    for document in (old, new):
        document["listeners"][0]["port"] = 12_000
    new["listeners"][0]["name"] = "renamed"
    new["listeners"].append({**copy.deepcopy(new["listeners"][0]), "name": "more", "port": 12_001})
    assert not any(change.refused for change in changes(old, new))


def test_what_is_redacted_has_the_shape_of_the_document() -> None:
    """The comparison walks both side by side; a section that `redact` drops would be one secret."""

    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shape(inner) for key, inner in value.items()}
        return [shape(inner) for inner in value] if isinstance(value, list) else None

    document = resolve()
    assert shape(redact(document)) == shape(document)
