"""The resolved document that the data plane runs on: its shape, its builders, and how it is shown.

Standard library only: the long-running process and the start without a file use this module and nothing
heavier.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from meseta.config.dialects import MESSAGES, paths
from meseta.config.prompt_caches import PromptCache, prompt_cache
from meseta.config.providers import (
    ANTHROPIC_VERSION,
    AWS_REGIONS,
    BEDROCK,
    BY_NAME,
    PROVIDERS,
    SIMULATOR,
    Provider,
    bedrock_url,
    is_region,
)
from meseta.config.secrets import MASK
from meseta.config.shared import hidden

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from meseta.config.dialects import Dialect

FORMAT = 4
SIMULATOR_URL = "http://127.0.0.1:0/v1"
"""Stands for the address of the simulator that is assigned when the plane starts."""

SIMULATOR_HEADERS = ["x-sim", "x-sim-*"]
"""What the simulator reads: its directives, and room for more of them."""
LOG_NAME = "log.db"
RESPONSES_NAME = "responses.db"
HISTORIES_NAME = "sessions.db"
DEFAULT_PORT = 12000
MAX_OUTPUT_TOKENS = 8_192
"""Sent where a dialect demands a limit and the client gave none."""

Auth = dict[str, Any]


class Listener(TypedDict):
    """Where clients connect."""

    name: str
    type: Literal["model", "agent"]
    address: str
    port: int
    auth: Auth
    tls: dict[str, str] | None
    limits: dict[str, int]
    timeouts: dict[str, int]
    orchestration: dict[str, Any] | None
    """What is done with a conversation, exactly for a listener of type agent."""


class Price(TypedDict):
    """US dollars per million tokens; None where nobody said."""

    input: float | None
    cached_input: float | None
    cache_write: float | None
    output: float | None
    source: str
    """`config`, or the name and version of a collection of prices."""


class Target(TypedDict):
    """One place that a request can be sent to."""

    name: str
    provider: str
    model: str
    dialects: list[Dialect]
    base_url: str
    paths: dict[str, str]
    query: str
    credentials: list[Auth]
    """Never empty; calls are spread over them."""
    headers: dict[str, str]
    default_headers: dict[str, str]
    forward_headers: list[str]
    http_version: str
    ask_stream_usage: bool
    max_output_tokens: int
    quirks: dict[str, Any]
    timeouts: dict[str, int]
    limits: dict[str, int]
    health: dict[str, int]
    probe: dict[str, Any] | None
    price: Price | None
    prompt_cache: PromptCache


class Pool(TypedDict):
    """A name for several targets that stand in for each other."""

    name: str
    select: str
    members: list[dict[str, Any]]
    fallback: list[dict[str, Any]]
    retry: dict[str, Any]
    hedge: dict[str, float] | None
    resume: str
    affinity: bool
    timeouts: dict[str, int] | None


class Agent(TypedDict):
    """A service that answers conversations; `pool` has its instances."""

    id: str
    pool: Pool
    hold: dict[str, int] | None
    token_sha256: str | None
    tenant: str


class Snapshot(TypedDict):
    """The whole document; every key is always present."""

    format: int
    listeners: list[Listener]
    targets: list[Target]
    names: dict[str, str]
    wildcards: dict[str, str]
    default: str | None
    pools: list[Pool]
    retry_budget: dict[str, float]
    admission: dict[str, int] | None
    sessions: dict[str, Any]
    shared: dict[str, Any] | None
    catalog: list[dict[str, str]]
    log: dict[str, Any] | None
    responses: dict[str, Any] | None
    agents: list[Agent]
    preferences: list[dict[str, Any]]
    chooser: dict[str, Any]
    histories: dict[str, Any] | None
    context_key: str | None
    latencies: dict[str, float]


TARGET_TIMEOUTS = {"connect_ms": 5_000, "first_token_ms": 300_000, "idle_ms": 120_000, "total_ms": 1_800_000}
TARGET_LIMITS = {"concurrency": 0, "queue": 0, "queue_ms": 0}
TARGET_HEALTH = {
    "failures": 5,
    "error_percent": 50,
    "minimum_requests": 20,
    "window_ms": 30_000,
    "rest_ms": 10_000,
    "rest_max_ms": 300_000,
    "ramp_ms": 15_000,
}
RETRY_BUDGET = {"percent": 20.0, "minimum_per_second": 10}
SESSIONS = {
    "implicit": False,
    "max_entries": 10_000,
    "idle_ms": None,
    "tenant_header": None,
    "budget": None,
    "cache_marks": False,
    "minimum_prefix_tokens": 1_024,
}
NO_CHOOSER: dict[str, Any] = {"rules": [], "embedded": None, "model": None, "user_turns_only": False}
"""What chooses where there is nothing to choose among."""
SHARED_PREFIX = "meseta:"
SHARED_TIMEOUT_MS = 25
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
        "orchestration": None,
    }


def target(
    name: str,
    provider: str,
    model: str,
    base_url: str,
    speaks: Provider,
    dialects: Sequence[Dialect] | None = None,
) -> Target:
    """Return a target without a credential and with every limit at its default.

    `speaks` is the row that says how it is asked, which for an unknown `provider` is that of another one;
    `dialects` replaces those of the row.
    """
    chosen = list(dialects or speaks.dialects)
    return {
        "name": name,
        "provider": provider,
        "model": model,
        "dialects": chosen,
        "base_url": base_url,
        "paths": paths(chosen, speaks.offers),
        "query": "",
        "credentials": [{"type": "none"}],
        "headers": {},
        "default_headers": dict(ANTHROPIC_VERSION) if MESSAGES in chosen else {},
        "forward_headers": list(SIMULATOR_HEADERS) if provider == SIMULATOR else [],
        "http_version": "auto",
        "ask_stream_usage": True,
        "max_output_tokens": MAX_OUTPUT_TOKENS,
        "quirks": speaks.quirks.as_dict(),
        "timeouts": dict(TARGET_TIMEOUTS),
        "limits": dict(TARGET_LIMITS),
        "health": dict(TARGET_HEALTH),
        "probe": None,
        "price": None,
        "prompt_cache": prompt_cache(speaks, model, chosen[0]),
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


def responses(
    folder: Path,
    *,
    keep_hours: int = 720,
    max_bytes: int = 1_073_741_824,
    max_response_bytes: int = 8_388_608,
) -> dict[str, Any]:
    """Return the store of Responses conversations in `folder`, which must be absolute."""
    return {
        "path": str(folder / RESPONSES_NAME),
        "keep_hours": keep_hours,
        "max_bytes": max_bytes,
        "max_response_bytes": max_response_bytes,
    }


def histories(
    folder: Path,
    *,
    keep_hours: int = 168,
    max_bytes: int = 1_073_741_824,
    max_message_bytes: int = 1_048_576,
) -> dict[str, Any]:
    """Return the store of kept conversations in `folder`, which must be absolute."""
    return {
        "path": str(folder / HISTORIES_NAME),
        "keep_hours": keep_hours,
        "max_bytes": max_bytes,
        "max_message_bytes": max_message_bytes,
    }


def shared(url: str) -> dict[str, Any]:
    """Return the store that replicas share; a request waits for it no longer than its time-out."""
    return {"url": url, "prefix": SHARED_PREFIX, "timeout_ms": SHARED_TIMEOUT_MS}


def header_auth(provider: Provider, key: str) -> Auth:
    """Return the credential `key` as the provider wants it."""
    name, value = provider.credential(key)
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
        key = first_set(provider.variables, environment)
        base_url = usual_url(provider, environment)
        if key and base_url:
            found = target(f"{provider.name}/*", provider.name, "*", base_url, provider)
            found["credentials"] = [header_auth(provider, key)]
            targets.append(found)
    targets.append(target(f"{SIMULATOR}/*", SIMULATOR, "*", simulator_url, BY_NAME[SIMULATOR]))
    return {
        "format": FORMAT,
        "listeners": [listener("models", port=port)],
        "targets": targets,
        "names": {},
        "wildcards": {found["provider"]: found["name"] for found in targets},
        "default": None,
        "pools": [],
        "retry_budget": dict(RETRY_BUDGET),
        "admission": None,
        "sessions": dict(SESSIONS),
        "shared": None,
        "catalog": catalog_of_wildcards(targets),
        "log": log(home),
        "responses": responses(home),
        "agents": [],
        "preferences": [],
        "chooser": copy.deepcopy(NO_CHOOSER),
        "histories": None,
        "context_key": None,
        "latencies": {},
    }


def catalog_of_wildcards(targets: list[Target]) -> list[dict[str, str]]:
    """Return the models that are known to exist behind the wildcards among `targets`."""
    return [
        {"id": f"{found['provider']}/{model}", "owned_by": found["provider"]}
        for found in targets
        if found["model"] == "*" and found["provider"] in BY_NAME
        for model in BY_NAME[found["provider"]].models
    ]


def usual_url(provider: Provider, environment: Mapping[str, str]) -> str | None:
    """Return where a provider is when nobody says so; None when only the user can know."""
    if provider.name == BEDROCK:
        region = first_set(AWS_REGIONS, environment)
        return bedrock_url(region) if region and is_region(region) else None
    return provider.base_url


def first_set(variables: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Return the first of these variables that holds something that a header can carry."""
    for variable in variables:
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


_SECRETS = {"value", "access_key_id", "secret_access_key", "session_token"}
_TELLING = ("auth", "cookie", "key", "password", "secret", "token")


def redact(snapshot: Snapshot) -> Snapshot:
    """Return a copy that may be shown: credentials, key digests and telling headers are `***`."""
    shown = copy.deepcopy(snapshot)
    for found in shown["targets"]:
        for auth in found["credentials"]:
            for key in _SECRETS & auth.keys():
                if auth[key] is not None:
                    auth[key] = MASK
        for headers in (found["headers"], found["default_headers"]):
            for name in headers:
                if any(word in name for word in _TELLING):
                    headers[name] = MASK
        if any(word in found["query"].lower() for word in _TELLING):
            found["query"] = MASK
    for place in shown["listeners"]:
        if place["tls"] is not None:
            place["tls"]["private_key_pem"] = MASK
        for key in place["auth"].get("keys", ()):
            key["sha256"] = MASK
    for agent in shown["agents"]:
        if agent["token_sha256"] is not None:
            agent["token_sha256"] = MASK
    if shown["context_key"] is not None:
        shown["context_key"] = MASK
    if shown["shared"] is not None:
        shown["shared"]["url"] = hidden(shown["shared"]["url"], MASK)
    return shown
