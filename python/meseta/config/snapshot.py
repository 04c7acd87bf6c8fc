"""The resolved document that the data plane runs on: its shape, its builders, and how it is shown.

Standard library only: the long-running process and the start without a file use this module and nothing
heavier.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from meseta.config.providers import PROVIDERS, SIMULATOR, Provider
from meseta.config.secrets import MASK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = 1
SIMULATOR_URL = "http://127.0.0.1:0/v1"
"""Stands for the address of the simulator that is assigned when the plane starts."""

SIMULATOR_HEADERS = ["x-sim", "x-sim-*"]
"""What the simulator reads: its directives, and room for more of them."""
LOG_NAME = "log.db"
DEFAULT_PORT = 12000

Auth = dict[str, Any]


class Listener(TypedDict):
    """Where clients connect."""

    name: str
    type: Literal["model"]
    address: str
    port: int
    auth: Auth
    tls: dict[str, str] | None
    limits: dict[str, int]
    timeouts: dict[str, int]


class Target(TypedDict):
    """One place that a request can be sent to."""

    name: str
    provider: str
    model: str
    dialect: Literal["openai_chat"]
    base_url: str
    query: str
    auth: Auth
    headers: dict[str, str]
    forward_headers: list[str]
    http_version: str
    ask_stream_usage: bool
    timeouts: dict[str, int]


class Snapshot(TypedDict):
    """The whole document; every key is always present."""

    format: int
    listeners: list[Listener]
    targets: list[Target]
    names: dict[str, str]
    wildcards: dict[str, str]
    default: str | None
    catalog: list[dict[str, str]]
    log: dict[str, Any] | None


TARGET_TIMEOUTS = {"connect_ms": 5_000, "first_token_ms": 300_000, "idle_ms": 120_000, "total_ms": 1_800_000}
LISTENER_TIMEOUTS = {"head_ms": 60_000, "body_ms": 60_000}
LISTENER_LIMITS = {
    "body_bytes": 33_554_432,
    "head_bytes": 65_536,
    "head_count": 128,
    "connections": 4_096,
    "streams_per_connection": 128,
}


def listener(name: str, address: str = "127.0.0.1", port: int = DEFAULT_PORT) -> Listener:
    """Return a model listener with every limit at its default."""
    return {
        "name": name,
        "type": "model",
        "address": address,
        "port": port,
        "auth": {"type": "none"},
        "tls": None,
        "limits": dict(LISTENER_LIMITS),
        "timeouts": dict(LISTENER_TIMEOUTS),
    }


def target(name: str, provider: str, model: str, base_url: str) -> Target:
    """Return a target without a credential and with every limit at its default."""
    return {
        "name": name,
        "provider": provider,
        "model": model,
        "dialect": "openai_chat",
        "base_url": base_url,
        "query": "",
        "auth": {"type": "none"},
        "headers": {},
        "forward_headers": list(SIMULATOR_HEADERS) if provider == SIMULATOR else [],
        "http_version": "auto",
        "ask_stream_usage": True,
        "timeouts": dict(TARGET_TIMEOUTS),
    }


def log(folder: Path, *, keep_hours: int = 168, max_bytes: int = 2_147_483_648) -> dict[str, Any]:
    """Return the log in `folder`, which must be absolute."""
    return {
        "path": str(folder / LOG_NAME),
        "queue_records": 65_536,
        "commit_ms": 20,
        "keep_hours": keep_hours,
        "max_bytes": max_bytes,
    }


def header_auth(provider: Provider | None, key: str) -> Auth:
    """Return the credential `key` as the provider wants it; a bearer token for an unknown one."""
    name, value = provider.credential(key) if provider else ("authorization", f"Bearer {key}")
    return {"type": "header", "name": name, "value": value}


def without_file(
    environment: Mapping[str, str],
    home: Path,
    *,
    port: int = DEFAULT_PORT,
    simulator_url: str = SIMULATOR_URL,
) -> Snapshot:
    """Return what `meseta up` serves without a file: every provider whose key is set, and the simulator.

    `home` is the absolute directory of the log.
    """
    targets: list[Target] = []
    for provider in PROVIDERS:
        key = _usual_key(provider, environment)
        if key and provider.base_url:
            found = target(f"{provider.name}/*", provider.name, "*", provider.base_url)
            found["auth"] = header_auth(provider, key)
            targets.append(found)
    targets.append(target(f"{SIMULATOR}/*", SIMULATOR, "*", simulator_url))
    return {
        "format": FORMAT,
        "listeners": [listener("models", port=port)],
        "targets": targets,
        "names": {},
        "wildcards": {found["provider"]: found["name"] for found in targets},
        "default": None,
        "catalog": catalog_of_wildcards(targets),
        "log": log(home),
    }


def catalog_of_wildcards(targets: list[Target]) -> list[dict[str, str]]:
    """Return the models that are known to exist behind the wildcards among `targets`."""
    by_name = {provider.name: provider for provider in PROVIDERS}
    return [
        {"id": f"{found['provider']}/{model}", "owned_by": found["provider"]}
        for found in targets
        if found["model"] == "*" and found["provider"] in by_name
        for model in by_name[found["provider"]].models
    ]


def _usual_key(provider: Provider, environment: Mapping[str, str]) -> str | None:
    for variable in provider.variables:
        value = environment.get(variable, "").strip()
        if value and value.isascii() and value.isprintable():
            return value
    return None


def uses_simulator(snapshot: Snapshot) -> bool:
    """Whether a simulator must be started for this snapshot."""
    return any(found["base_url"] == SIMULATOR_URL for found in snapshot["targets"])


def with_simulator(snapshot: Snapshot, url: str) -> Snapshot:
    """Return the snapshot with the simulator's assigned address filled in."""
    filled = copy.deepcopy(snapshot)
    for found in filled["targets"]:
        if found["base_url"] == SIMULATOR_URL:
            found["base_url"] = url
    return filled


_TELLING = ("auth", "cookie", "key", "password", "secret", "token")


def redact(snapshot: Snapshot) -> Snapshot:
    """Return a copy that may be shown: credentials, key digests and telling headers are `***`."""
    shown = copy.deepcopy(snapshot)
    for found in shown["targets"]:
        if "value" in found["auth"]:
            found["auth"]["value"] = MASK
        for name in found["headers"]:
            if any(word in name for word in _TELLING):
                found["headers"][name] = MASK
        if any(word in found["query"].lower() for word in _TELLING):
            found["query"] = MASK
    for place in shown["listeners"]:
        if place["tls"] is not None:
            place["tls"]["private_key_pem"] = MASK
        if "sha256" in place["auth"]:
            place["auth"]["sha256"] = [MASK] * len(place["auth"]["sha256"])
    return shown
