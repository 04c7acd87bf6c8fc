"""What people write about agents: where they are, how they are asked, and how their processes are kept."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag

from meseta.config.form import (
    Duration,
    Flag,
    Identifier,
    Port,
    PositiveDuration,
    SecretText,
    Size,
    Strict,
    VariableValue,
)
from meseta.config.traffic import Health, PassingCause, TargetLimits, Timeouts

AgentApi = Literal["openai_chat", "openai_responses", "anthropic_messages"]
"""What an agent may speak: the APIs of an agent listener."""

Instances = Annotated[int, Field(ge=0, le=1_000)]


def _chat() -> list[AgentApi]:
    return ["openai_chat"]


class AgentRetry(Strict):
    """How often a call is tried. An agent may act, so nothing is repeated after it may have begun to."""

    attempts: Annotated[int, Field(ge=1, le=20)] = 2
    """How often at most, the first time included; 1 is no retry. Default 2."""
    backoff: PositiveDuration = 100
    """Longest pause before the second try; twice that before the third, and so on. The real pause is a random
    part of it. Default `100ms`."""
    backoff_max: PositiveDuration = 5_000
    """Longest pause of all. Default `5s`."""
    on: Annotated[list[PassingCause], Field(min_length=1)] = Field(
        default_factory=lambda: list(get_args(PassingCause))
    )
    """For which causes; of all of them only what the agent cannot have begun, such as a call that it refused
    or that never reached it. Default: for each of them."""


class AgentProbe(Strict):
    """Ask whether the agent is there, whether or not anybody calls it."""

    kind: Literal["connect"] = "connect"
    """`connect`: open a connection. Default `connect`."""
    interval: Annotated[Duration, Field(ge=1_000)] = 10_000
    """How often, at least `1s`. Default `10s`."""
    timeout: PositiveDuration | None = None
    """How long it may take; not longer than `interval`. Default: the shorter of `5s` and `interval`."""


class Hold(Strict):
    """Requests that wait for an instance: while the first one starts, or while it is restarted."""

    requests: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """How many may wait. Default 100."""
    timeout: PositiveDuration | None = None
    """How long one waits. Default: as long as an instance may take to become ready (`ready.timeout`) where
    Meseta runs the agent, else `30s`."""


class ReplicaBounds(Strict):
    """Between which numbers of instances the agent is scaled."""

    min: Instances = 1
    """At least so many; 0 lets the agent stop after `idle` and start on demand. Default 1."""
    max: Annotated[int, Field(ge=1, le=1_000)]
    """At most so many."""
    target: Annotated[int, Field(ge=1, le=100_000)] = 8
    """Requests under way per instance that is aimed at. Default 8."""


class ReadyProbe(Strict):
    """How an instance shows that it can answer."""

    path: str | None = None
    """Path that must answer with 2xx. Default: an open port is enough."""
    timeout: PositiveDuration = 60_000
    """How long it may take to become ready before the start has failed. Default `60s`."""
    interval: PositiveDuration = 200
    """Pause between two questions. Default `200ms`."""


class LiveProbe(Strict):
    """How a running instance shows that it still works."""

    path: str | None = None
    """Path that must answer with 2xx. Default: an open port is enough."""
    interval: Annotated[Duration, Field(ge=100)] = 10_000
    """Pause between two questions, and how long one may take; at least `100ms`. Default `10s`."""
    failures: Annotated[int, Field(ge=1, le=1_000)] = 3
    """After so many failures in a row the instance is replaced. Default 3."""


class RestartPolicy(Strict):
    """When an instance that ended by itself is started again."""

    base: PositiveDuration = 1_000
    """Longest pause before the first restart; twice that before the second, and so on. Default `1s`."""
    max: PositiveDuration = 60_000
    """Longest pause of all. Default `60s`."""
    crash_loop: Annotated[int, Field(ge=1, le=1_000)] = 5
    """So many failures within `window` are called a crash loop. Default 5."""
    window: PositiveDuration = 600_000
    """The time over which failures are counted. Default `10m`."""


def _replicas_kind(value: object) -> str:
    return "bounds of replicas" if isinstance(value, dict) else "count of replicas"


ReplicasOrBounds = Annotated[
    Annotated[int, Field(ge=1, le=1_000), Tag("count of replicas")]
    | Annotated[ReplicaBounds, Tag("bounds of replicas")],
    Discriminator(_replicas_kind),
]


def _command(value: object) -> object:
    if isinstance(value, str):
        raise ValueError("Write a list, such as [python, agent.py]; no shell takes a text apart.")
    if isinstance(value, list):
        # A port or another number of a command line is text there.
        return [
            str(part) if isinstance(part, (int, float)) and not isinstance(part, bool) else part
            for part in value
        ]
    return value


class Run(Strict):
    """Meseta starts this agent, keeps it running, and ends it."""

    command: Annotated[list[str], Field(min_length=1, max_length=1_000), BeforeValidator(_command)]
    """Program and arguments, such as `[python, weather.py]`. It must serve its API at the port in PORT on
    127.0.0.1. No shell is involved."""
    cwd: str = "."
    """Where it is started, relative to the folder of this file. Default: that folder."""
    env: dict[str, VariableValue] = Field(default_factory=dict)
    """Its environment: text, a number, `$NAME`, or `file:PATH`.

    Meseta adds PORT, MESETA_URL, MESETA_KEY and a few that every program needs; its own variables are not
    inherited."""
    replicas: ReplicasOrBounds = 1
    """How many instances run, or `{min, max, target}` to scale with the requests under way. Default 1."""
    port: Port = 0
    """The first of its ports, of which there is one for each instance and one more for replacing them; an
    instance gets the lowest that is free. 0: any free ones are chosen. Default 0."""
    ready: ReadyProbe = Field(default_factory=ReadyProbe)
    """When an instance that was started gets requests. Default: as soon as its port is open."""
    live: LiveProbe | None = None
    """How a running instance shows that it still works. Default: only the end of its process is noticed."""
    idle: PositiveDuration | None = None
    """Without a request for this long it goes back to the fewest replicas. Default: `5m` where those are
    fewer than the most, and never otherwise."""
    drain: Duration = 30_000
    """How long an instance that is to end may go on with its requests. Default `30s`."""
    restart: RestartPolicy = Field(default_factory=RestartPolicy)
    """Pauses before an instance that ended by itself is started again."""
    watch: Annotated[list[str], Field(max_length=100)] = Field(default_factory=list)
    """Patterns of files below `cwd`, such as `*.py`; when one changes, the instances are replaced one after
    the other. Default: none."""
    log_size: Annotated[Size, Field(ge=1_024)] = 10_485_760
    """How much of what it prints is kept, at least `1KiB`. Default `10MiB`."""
    grace: Duration = 5_000
    """Time between asking it to end and ending it. Default `5s`."""


class PlanoAgent(Strict):
    """An agent of a Plano file."""

    id: Identifier
    """Name of the agent; listeners refer to it."""
    url: str
    """Where it is. Without a path, `/v1` is added and requests go to `/v1/chat/completions`."""


class Agent(Strict):
    """A service that answers conversations; either it has a `url`, or Meseta runs it."""

    id: Identifier
    """Name of the agent: 1 to 64 letters, digits, `_`, `.` and `-`, unique in the file."""
    url: str | None = None
    """Where it is, such as `http://127.0.0.1:10510`. Without a path, `/v1` is added; a path may end in `/v1`
    or in that of one of its `apis`, such as `/v1/chat/completions`."""
    urls: Annotated[list[str], Field(min_length=1, max_length=256)] | None = None
    """Several instances instead of one `url`; the least busy one is asked."""
    run: Run | None = None
    """Meseta runs it. Instead of `url`."""
    apis: Annotated[list[AgentApi], Field(min_length=1)] = Field(default_factory=_chat)
    """What it speaks, in order of preference. A client's API of the list passes as it is; any other one is
    translated to the first. Default: `openai_chat`."""
    auth: SecretText | None = None
    """Key that it is called with, as a bearer token: `$NAME` or `file:/path`. Default: none."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Extra headers for every call. Values are sent as they are; references are not expanded."""
    forward_headers: list[str] = Field(default_factory=list)
    """Names of client headers that travel on to the agent; a name may end in `*`.

    Default: none. A client's own credential never does; that is for `forward_credentials`."""
    forward_credentials: Flag = False
    """Send the client's own `authorization` or `x-api-key` on to the agent. Keys of Meseta's never are.

    Not together with `auth`. Default `false`."""
    timeouts: Timeouts = Field(default_factory=Timeouts)
    """Time limits of calls to this agent."""
    retry: AgentRetry = Field(default_factory=AgentRetry)
    """How often a call is tried."""
    health: Health = Field(default_factory=Health)
    """When an instance is left alone for a while after failures."""
    limits: TargetLimits = Field(default_factory=TargetLimits)
    """How many calls an instance gets at once."""
    probe: AgentProbe | None = None
    """Ask whether it is there, whether or not anybody calls it. Default: never."""
    hold: Hold | None = None
    """Let requests wait for an instance. Default: 100 of them where Meseta runs the agent, for as long as one
    may take to become ready, and nobody otherwise."""
    token: SecretText | None = None
    """Key by which an agent with `url` is known when it calls Meseta: `$NAME` or `file:/path`.

    An agent that Meseta runs gets one by itself."""
    tenant: str = "default"
    """For whom its calls count. Default `default`."""
