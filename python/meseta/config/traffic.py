"""What people write about traffic: how it is spread, limited, priced, tried again and kept in one place."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from meseta.config.form import Count, Duration, Flag, Percent, PositiveDuration, SharedText, Strict
from meseta.config.units import DURATION_PATTERN, parse_duration_ms

Cause = Literal["rate_limit", "context_length", "content_policy", "error", "timeout"]
"""Why a target did not answer."""

PassingCause = Literal["rate_limit", "error", "timeout"]
"""Causes that another try, or another target with the same abilities, may not meet."""

Dollars = Annotated[float, Field(ge=0, le=1_000_000)]
"""US dollars per million tokens."""


class Timeouts(Strict):
    """How long a call may take, each limit on its own."""

    connect: PositiveDuration = 5_000
    """Longest time to connect, TLS included. Default `5s`."""
    first_token: PositiveDuration = 300_000
    """Longest time from sending the request to the first byte of the answer. Default `5m`."""
    idle: PositiveDuration = 120_000
    """Longest pause between two pieces of an answer. Default `2m`."""
    total: PositiveDuration = 1_800_000
    """Longest time for the whole call, streaming included. Default `30m`."""


class TargetLimits(Strict):
    """How many calls there are at once."""

    concurrency: Count = 0
    """Most calls at once; 0 is no limit. Default 0."""
    queue: Count = 0
    """How many requests may wait for a call to end. Default 0: the next target is asked at once."""
    queue_timeout: PositiveDuration = 10_000
    """How long a request may wait. Default `10s`."""


class Health(Strict):
    """When something is left alone for a while after failures, and how it comes back."""

    failures: Annotated[int, Field(ge=1, le=1_000_000)] = 5
    """It rests after this many failures in a row. Default 5."""
    error_rate: Annotated[int, Field(ge=1, le=100)] = 50
    """It rests when this many percent of its calls fail. Default 50."""
    minimum_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    """Fewer calls than this say nothing about the rate. Default 20."""
    window: PositiveDuration = 30_000
    """The time over which the rate is taken. Default `30s`."""
    rest: PositiveDuration = 10_000
    """How long the first rest is; each further one is twice as long. Default `10s`."""
    rest_max: PositiveDuration = 300_000
    """How long a rest is at most. Default `5m`."""
    ramp: Duration = 15_000
    """How long its share grows after a rest until it is whole again. Default `15s`."""


class Probe(Strict):
    """Ask whether the provider is there, whether or not anybody calls it."""

    kind: Literal["connect", "models", "completion"]
    """`connect`: open a connection. `models`: list the models, which costs nothing. `completion`: ask for
    an answer of one token, which costs its price each time."""
    interval: Annotated[Duration, Field(ge=1_000)] = 10_000
    """How often, at least `1s`. Default `10s`."""
    timeout: PositiveDuration | None = None
    """How long it may take; not longer than `interval`. Default: the shorter of `5s` and `interval`."""


class Price(Strict):
    """What the model costs, in US dollars per million tokens.

    It replaces the price that Meseta knows as a whole.
    """

    input: Dollars
    """Tokens of the prompt that are not cached."""
    output: Dollars
    """Tokens of the answer."""
    cached_input: Dollars | None = None
    """Tokens of the prompt that are read from the provider's cache. Default: not known."""
    cache_write: Dollars | None = None
    """Tokens of the prompt that are written to the provider's cache. Default: not known."""


class PromptCache(Strict):
    """What the provider keeps of a prompt, where it is not what Meseta knows of this provider."""

    window: Duration | None = None
    """How long after its last use; `0s` for a provider that keeps nothing. Default: that of the provider."""
    minimum_tokens: Annotated[int, Field(ge=0, le=100_000_000)] | None = None
    """Shorter prompts are not kept. Default: that of the provider and the model."""


class Member(Strict):
    """One target of a pool."""

    model: str
    """The name of an entry, `provider/model`, an alias, or a model that a wildcard matches."""
    weight: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0
    """Its share, beside the weights of the others. Default 1."""
    priority: Annotated[int, Field(ge=0, le=1_000)] = 0
    """Targets with a higher number are asked only when none with a lower one can answer. Default 0."""


class Fallback(Strict):
    """Who is asked when the pool could not answer."""

    to: str
    """A name that clients may use: a pool, a model or an alias."""
    on: Annotated[list[Cause], Field(min_length=1)] = Field(default_factory=lambda: list(get_args(Cause)))
    """For which causes. Default: for each of them."""


def _text_kind(value: object) -> str:
    return "name" if isinstance(value, str) else "settings"


MemberOrName = Annotated[
    Annotated[str, Tag("name")] | Annotated[Member, Tag("settings")], Discriminator(_text_kind)
]
FallbackOrName = Annotated[
    Annotated[str, Tag("name")] | Annotated[Fallback, Tag("settings")], Discriminator(_text_kind)
]


class Retry(Strict):
    """How often a request is tried, on one target after the other, before anything reached the client."""

    attempts: Annotated[int, Field(ge=1, le=20)] = 3
    """How often at most, the first time included; 1 is no retry. Default 3."""
    backoff: PositiveDuration = 100
    """Longest pause before the second try of one and the same target; twice that before the third, and so
    on. The real pause is a random part of it. Default `100ms`."""
    backoff_max: PositiveDuration = 5_000
    """Longest pause of all. Default `5s`."""
    on: Annotated[list[PassingCause], Field(min_length=1)] = Field(
        default_factory=lambda: list(get_args(PassingCause))
    )
    """For which causes. Default: for each of them."""


def _after(value: object) -> int:
    return 0 if value == "p95" else parse_duration_ms(value)


After = Annotated[
    int,
    BeforeValidator(_after),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "p95"},
                {"type": "string", "pattern": DURATION_PATTERN, "examples": ["500ms", "2s", "5m"]},
            ]
        }
    ),
]


class Hedge(Strict):
    """Ask a second target when the first one is slow to begin, and take who begins first."""

    after: After = 0
    """When: `p95` is the time within which 95 of 100 answers of that target began lately. Default `p95`."""
    spend: Annotated[float, Field(gt=0, le=100)] = 5.0
    """What second targets may cost, in percent of what the pool costs anyway. Default 5."""


class PoolTimeouts(Strict):
    """Time limits of one request to the pool; those of the targets hold as well."""

    first_token: PositiveDuration | None = None
    """Longest time until a target begins to answer; then the next one is asked. Default: that of the
    target."""
    total: PositiveDuration | None = None
    """Longest time for the whole request, every try included. Default: that of the target."""


class Pool(Strict):
    """Targets that stand in for each other under one name."""

    name: str
    """What clients send as `model`."""
    select: Literal[
        "weighted", "round_robin", "least_latency", "least_busy", "cheapest", "priority", "session_hash"
    ] = "weighted"
    """How the target of a request is chosen. Default `weighted`."""
    targets: Annotated[list[MemberOrName], Field(min_length=1)]
    """The targets, each a model or a mapping with `model`."""
    fallback: list[FallbackOrName] = Field(default_factory=list)
    """Who is asked, in order, when no target of the pool could answer; each a name or a mapping with `to`.

    A name alone stands for every cause. Default: nobody."""
    retry: Retry | None = None
    """How often it is tried. Keys that are absent here are those of the top-level `retry`."""
    hedge: Hedge | None = None
    """Ask a second target when the first one is slow. Default: never."""
    resume: Literal["text", "off"] = "text"
    """`text`: when a stream breaks, another target goes on with the answer. `off`: the client gets an error.
    Default `text`."""
    affinity: Flag = True
    """Keep a session on one target while the target's prompt cache is warm. Default `true`."""
    timeouts: PoolTimeouts | None = None
    """Time limits of a request to the pool. Default: those of the targets."""
    default: Flag = False
    """Answer requests that name no model. At most one pool or entry. Default `false`."""


class RetryBudget(Strict):
    """How many tries there are beyond the first ones, so that an outage is not multiplied."""

    share: Percent = 20.0
    """In percent of the requests of the last seconds. Default 20."""
    minimum: Count = 10
    """Per second, however few requests there are. Default 10."""


class Admission(Strict):
    """How many requests are under way at once, and who waits."""

    concurrency: Annotated[int, Field(ge=1, le=1_000_000)] = 512
    """Most requests at once. Default 512."""
    tenant_concurrency: Count = 0
    """Most requests of one tenant at once; 0 is no limit. Default 0."""
    queue: Count = 1_024
    """How many requests may wait. Default 1024."""
    queue_timeout: PositiveDuration = 10_000
    """How long a request may wait. Default `10s`."""


class PromptCaching(Strict):
    """Make use of the providers' prompt caches. The keys are Plano's."""

    enabled: Flag = False
    """Whether anything here counts. Default `false`."""
    session_affinity: Flag = True
    """Recognise a conversation by its beginning, so that it stays where its cache is warm.

    Without it only requests with a session of their own stay. Default `true`."""
    inject_cache_control: Flag = True
    """Mark what is worth keeping for providers that want it marked. Default `true`."""
    min_prefix_tokens: Annotated[int, Field(ge=0, le=100_000_000)] = 1_024
    """Shorter prompts are not marked. Default 1024."""
    session_ttl_seconds: Annotated[int, Field(ge=1, le=315_360_000)] | None = None
    """How long a session is remembered after its last request. Default: the `prompt_cache.window` of its
    target."""


class RoutingBudget(Strict):
    """What a session may spend on leaving a target whose cache is warm."""

    max_switch_spend_pct: Percent
    """In percent of what its turns would have cost on the cache that it leaves; 0 is nothing."""
    replenish_on_rebind: Flag = True
    """Begin again with nothing spent when the cache has gone cold. Default `true`."""
    cache_read_discount: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Price of a cached token where only that of a fresh one is known, as a part of it. Default 0.1."""


class SessionCache(Strict):
    """Where sessions are remembered."""

    type: Literal["memory", "redis"] = "memory"
    """`memory` of this process, or `redis` for several replicas. Default `memory`."""
    url: SharedText | None = None
    """Of `redis`: its address, in the form of `store.shared`."""
    tenant_header: str | None = None
    """Header that tells tenants apart where keys do not, such as `x-tenant`.

    Only for clients that are trusted to send the right one."""


class Routing(Strict):
    """Sessions, and what it may cost to move one. The keys are Plano's."""

    routing_budget: RoutingBudget | None = None
    """What moving a session may cost. Default: a session stays while its cache is warm and its target can
    answer."""
    session_ttl_seconds: Annotated[int, Field(ge=1, le=315_360_000)] | None = None
    """How long a session is remembered after its last request. Default: the `prompt_cache.window` of its
    target."""
    session_max_entries: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """How many sessions are remembered. Default 10000."""
    session_cache: SessionCache | None = None
    """Where sessions are remembered. Default: in memory, or in `store.shared`."""
    route_on_user_only: Flag = False
    """Choose by preference only when the last message is the user's; the turns of an agent's loop go where
    the one before went. Default `false`."""
