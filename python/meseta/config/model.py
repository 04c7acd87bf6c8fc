"""What people write: the models of a `version: 1` file.

Every field says in its description what it is, in which unit, and what happens without it; the JSON Schema
and
the reference page are generated from here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from meseta.config.dialects import Dialect
from meseta.config.form import Duration, Flag, Port, PositiveDuration, SecretText, SharedText, Size, Strict
from meseta.config.model_agents import Agent
from meseta.config.model_choosing import (
    Chooser,
    HistoryOrMode,
    ListenedAgent,
    Parallel,
    Preference,
    Rule,
    Supervise,
)
from meseta.config.model_metrics import MetricsSource
from meseta.config.traffic import (
    Admission,
    Health,
    Pool,
    Price,
    Probe,
    PromptCache,
    PromptCaching,
    Retry,
    RetryBudget,
    Routing,
    TargetLimits,
    Timeouts,
)

DEFAULT_PORT = 12000


class PlanoProvider(Strict):
    """One model, or with `provider/*` every model, of one provider."""

    model: str
    """`provider/model`, or `provider/*` for every model of the provider.

    Everything after the first slash is the
    model id that the provider gets."""
    name: str | None = None
    """What clients may call this entry by, and what answers name it as; must be unique. Default: `model`."""
    access_key: SecretText | None = None
    """The provider's key: `$NAME` or `${NAME}` (environment, or `.env` beside the file), `file:/path`, or
    `none`
    for a provider that needs no key."""
    passthrough_auth: Flag = False
    """Send the client's own credential to the provider instead of `access_key`. Default `false`."""
    base_url: str | None = None
    """Where the provider is, such as `http://10.0.0.5:8000/v1`.

    A path replaces the provider's usual one; without
    a path the usual one is added. Required for a provider that Meseta does not know."""
    http_host: str | None = None
    """Value of the `host` header, when it differs from the host of `base_url`."""
    provider_interface: str | None = None
    """The known provider whose API an unknown one speaks, such as `openai` or `anthropic`.

    It lends its dialects, paths, header of the key and quirks. Not for providers that Meseta knows."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Extra headers for every call to this provider.

    Values are sent as they are; references are not expanded.
    """
    default: Flag = False
    """Answer requests that name no model. At most one entry, and no wildcard. Default `false`."""


class Aws(Strict):
    """Region and credentials of Amazon Bedrock.

    Without a key, profile or role here, and without `access_key`, the credentials are those that the AWS SDKs
    find by default. All but keys that stand here need `pip install 'meseta[aws]'`. They are renewed before
    they expire.
    """

    region: str | None = None
    """The AWS region, such as `us-west-2`.

    Default: AWS_REGION or AWS_DEFAULT_REGION, or the one in `base_url`."""
    profile: str | None = None
    """Name of a profile of the AWS configuration files."""
    access_key_id: SecretText | None = None
    """Access key id, `$NAME` or `file:/path`; together with `secret_access_key`."""
    secret_access_key: SecretText | None = None
    """Secret access key, `$NAME` or `file:/path`."""
    session_token: SecretText | None = None
    """Session token of temporary keys, `$NAME` or `file:/path`."""
    role_arn: str | None = None
    """Role to assume with the web identity, the keys, the profile or the default credentials."""
    web_identity_token_file: str | None = None
    """Path of an OpenID Connect token that proves who asks for the role.

    Relative to the folder of this file."""
    session_name: str = "meseta"
    """Name of the role's session, which AWS CloudTrail shows. Default `meseta`."""


class Google(Strict):
    """Project, location and credentials of Vertex AI.

    They need `pip install 'meseta[google]'`; tokens are renewed before they expire.
    """

    project: str | None = None
    """Id of the project. Default: that of the service account, or GOOGLE_CLOUD_PROJECT."""
    location: str = "global"
    """Location such as `europe-west4`, or `global`, `us` or `eu`. Default `global`."""
    credentials: SecretText | None = None
    """`file:/path` of the JSON of a service account. Default: Application Default Credentials."""


class Provider(PlanoProvider):
    """One model, or with `provider/*` every model, of one provider."""

    access_keys: Annotated[list[SecretText], Field(min_length=1, max_length=64)] | None = None
    """Several keys instead of one `access_key`; calls are spread over them.

    A key that is limited or refused rests, and the others are used."""
    dialects: Annotated[list[Dialect], Field(min_length=1)] | None = None
    """What the provider speaks, in order of preference.

    A client API of the list passes as it is; any other one is translated to the first. Default: what the
    table of providers says; a server that is compatible with OpenAI speaks `openai_chat`."""
    api_version: str | None = None
    """Of `azure_openai`: ask in the way before the v1 API, with this dated version, such as `2024-10-21`."""
    max_output_tokens: Annotated[int, Field(ge=1, le=10_000_000)] = 8_192
    """Limit of the answer where the provider demands one and the client gave none. Default 8192."""
    aws: Aws | None = None
    """Of `amazon_bedrock`: region and credentials, unless `access_key` holds a Bedrock API key."""
    google: Google | None = None
    """Of `vertex_ai`: project, location and credentials."""
    timeouts: Timeouts = Field(default_factory=Timeouts)
    """Time limits of calls to this provider."""
    limits: TargetLimits = Field(default_factory=TargetLimits)
    """How many calls there are at once. Each model that a pool or an alias takes out of a wildcard has
    limits of its own."""
    health: Health = Field(default_factory=Health)
    """When it is left alone for a while after failures."""
    probe: Probe | None = None
    """Ask whether it is there, whether or not anybody calls it. Default: never."""
    price: Price | None = None
    """What the model costs. Default: what Meseta knows of the models of the usual providers."""
    prompt_cache: PromptCache = Field(default_factory=PromptCache)
    """What the provider keeps of a prompt. Default: what the provider says about itself."""
    http_version: Literal["auto", "http1", "http2"] = "auto"
    """HTTP version towards the provider. `auto` negotiates on TLS and uses HTTP/1.1 in clear text. Default
    `auto`."""
    ask_stream_usage: Flag = True
    """Ask for the token usage of a streamed answer (`stream_options.include_usage`) when the client did
    not; the
    client does not see the difference. `false` is for servers that refuse the option. Default `true`."""
    forward_headers: list[str] = Field(default_factory=list)
    """Names of further client headers that travel on to the provider; a name may end in `*`.

    Default: none.
    """


class Alias(Strict):
    """Another name for a model."""

    target: str
    """The name of an entry, `provider/model`, or a model that a wildcard matches. Not another alias."""


class ClientKey(Strict):
    """A key with what is to be known of who sends it."""

    key: SecretText
    """The key: `$NAME`, `${NAME}` or `file:/path`."""
    tenant: str | None = None
    """For whom it speaks; keys of one tenant share its limits and its place in the queue.

    The log shows it. Default: the first 12 hexadecimal digits of the key's SHA-256."""
    priority: Literal["high", "normal", "low"] = "normal"
    """Who goes first when not everybody can be served: `low` is refused before `normal`, and `normal` before
    `high`. Default `normal`."""
    concurrency: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Most requests of the tenant at once. Default: `admission.tenant_concurrency`."""


def _key_kind(value: object) -> str:
    return "settings" if isinstance(value, dict) else "secret"


KeyOrSettings = Annotated[
    Annotated[SecretText, Tag("secret")] | Annotated[ClientKey, Tag("settings")], Discriminator(_key_kind)
]


class KeyAuth(Strict):
    """Clients must send one of these keys."""

    keys: list[KeyOrSettings] = Field(min_length=1)
    """Accepted keys, each `$NAME`, `${NAME}`, `file:/path`, or a mapping with `key`.

    Clients send one as `authorization: Bearer KEY` or
    as `x-meseta-key: KEY`."""


def _auth_kind(value: object) -> str:
    return "none" if isinstance(value, str) else "keys"


Auth = Annotated[
    Annotated[Literal["none"], Tag("none")] | Annotated[KeyAuth, Tag("keys")], Discriminator(_auth_kind)
]


class Tls(Strict):
    """Serve this listener over TLS."""

    certificate: str
    """Path of the certificate chain in PEM form, relative to the folder of this file."""
    private_key: str
    """Path of the private key in PEM form, relative to the folder of this file; without a passphrase."""


class Limits(Strict):
    """What one listener accepts before it refuses."""

    body: Annotated[Size, Field(ge=1)] = 33_554_432
    """Largest request body. Default `32MiB`."""
    head: Annotated[Size, Field(ge=1024, le=1_048_576)] = 65_536
    """Largest request head: request line and headers together, 1KiB to 1MiB. Default `64KiB`."""
    head_count: Annotated[int, Field(ge=1, le=1000)] = 128
    """Most headers in one request, 1 to 1000. Default 128."""
    connections: Annotated[int, Field(ge=1, le=1_000_000)] = 4_096
    """Most open connections. Default 4096."""
    streams_per_connection: Annotated[int, Field(ge=1, le=10_000)] = 128
    """Most requests at once on one HTTP/2 connection. Default 128."""


class ListenerTimeouts(Strict):
    """How long a client may take to send a request."""

    head: PositiveDuration = 60_000
    """Longest time to send the request head, and longest idle time of a connection. Default `60s`."""
    body: PositiveDuration = 60_000
    """Longest pause while sending the body. Default `60s`."""


class ListenerBase(Strict):
    """What every listener has."""

    name: str
    """Name of the listener, unique in the file; the log shows it."""
    type: Literal["model", "agent"]
    """What clients find there."""
    address: str = "127.0.0.1"
    """IP address to listen on. Anything but loopback needs `auth`. Default `127.0.0.1`."""
    port: Port = DEFAULT_PORT
    """Port to listen on; 0 lets the system choose one. Default 12000."""
    auth: Auth | None = None
    """`none`, or `{keys: [...]}`. Must be written when `address` is not loopback."""
    tls: Tls | None = None
    """Certificate and key for TLS. Default: clear text."""
    limits: Limits = Field(default_factory=Limits)
    """Limits of this listener."""
    timeouts: ListenerTimeouts = Field(default_factory=ListenerTimeouts)
    """Time limits of this listener."""


class Listener(ListenerBase):
    """An address where clients call models."""

    type: Literal["model"] = "model"
    """`model`: clients name a model, Meseta calls it. Default `model`."""


class AgentListener(ListenerBase):
    """An address where clients talk to agents; Meseta finds the right ones."""

    type: Literal["agent"]
    """`agent`: clients send a conversation, Meseta brings it to agents."""
    port: Port
    """Port to listen on; 0 lets the system choose one."""
    agents: Annotated[list[ListenedAgent], Field(min_length=1, max_length=1_000)]
    """Who can be chosen."""
    strategy: Literal["chain", "parallel", "supervise"] = "chain"
    """`chain`: one after the other, each sees what those before it said. `parallel`: all at once.
    `supervise`: one, then whoever is needed next. Default `chain`."""
    rules: Annotated[list[Rule], Field(max_length=1_000)] = Field(default_factory=list)
    """The operator's own choices, which go before any chooser; `use` names agents. Default: none."""
    most: Annotated[int, Field(ge=1, le=64)] = 4
    """Most agents that one choice yields. Default 4."""
    depth: Annotated[int, Field(ge=1, le=64)] = 8
    """Longest chain of agents that call agents. Default 8."""
    parallel: Parallel = Field(default_factory=Parallel)
    """Of the strategy `parallel`."""
    supervise: Supervise = Field(default_factory=Supervise)
    """Of the strategy `supervise`."""
    history: HistoryOrMode = "pass"
    """What agents get to see of the conversation: `off`, `pass`, `keep`, or settings. Default `pass`."""


def _listener_kind(value: object) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return "listener of agents" if kind == "agent" else "listener of models"


AnyListener = Annotated[
    Annotated[Listener, Tag("listener of models")] | Annotated[AgentListener, Tag("listener of agents")],
    Discriminator(_listener_kind),
]


class Store(Strict):
    """Where the log is kept, and for how long."""

    path: str | None = None
    """Directory of the log, relative to the folder of this file.

    Default: MESETA_HOME, or `.meseta` beside this
    file."""
    keep: Annotated[Duration, Field(ge=3_600_000)] = 604_800_000
    """How long records are kept, at least `1h`, in whole hours rounded up. Default `7d`."""
    max_size: Annotated[Size, Field(ge=1_048_576)] = 2_147_483_648
    """Largest size of the log, at least `1MiB`; the oldest records go first. Default `2GiB`."""
    shared: SharedText | None = None
    """A Redis or Valkey server where replicas share sessions, limits and what they know of the targets:
    `redis://host:6379/0`, `rediss://` for TLS, `redis+unix:///path` for a socket. A password is written as
    `redis://user:$PASSWORD@host:6379/0`, or the whole address as `$NAME`. Requests go on without the server.

    Default: every replica for itself."""


def _store_kind(value: object) -> str:
    return "off" if isinstance(value, str) else "settings"


StoreOrOff = Annotated[
    Annotated[Literal["off"], Tag("off")] | Annotated[Store, Tag("settings")], Discriminator(_store_kind)
]


class Responses(Strict):
    """The store of the Responses API: `previous_response_id`, GET and DELETE, whichever provider answered."""

    keep: Annotated[Duration, Field(ge=3_600_000)] = 2_592_000_000
    """How long responses are kept, at least `1h`, in whole hours rounded up. Default `30d`."""
    max_size: Annotated[Size, Field(ge=1_048_576)] = 1_073_741_824
    """Largest size of the store, at least `1MiB`; the oldest responses go first. Default `1GiB`."""
    max_response_size: Annotated[Size, Field(ge=1_024)] = 8_388_608
    """Largest single response with its input, at least `1KiB`; a larger one is not kept. Default `8MiB`."""


class Conversations(Strict):
    """The conversations that Meseta keeps for listeners with `history: keep`, in a file beside the log."""

    keep: Annotated[Duration, Field(ge=3_600_000)] = 604_800_000
    """How long after its last turn one is kept, at least `1h`, in whole hours rounded up. Default `7d`."""
    max_size: Annotated[Size, Field(ge=1_048_576)] = 1_073_741_824
    """Largest size of all of them, at least `1MiB`; the oldest go first. Default `1GiB`."""
    max_message_size: Annotated[Size, Field(ge=1_024)] = 1_048_576
    """Largest single message, at least `1KiB`. Default `1MiB`."""


def _responses_kind(value: object) -> str:
    return "off" if isinstance(value, (str, bool)) else "settings"


ResponsesOrOff = Annotated[
    Annotated[Literal["off", False], Tag("off")] | Annotated[Responses, Tag("settings")],
    Discriminator(_responses_kind),
]


def _one_listener() -> list[AnyListener]:
    return [Listener(name="models")]


class File(Strict):
    """A Meseta configuration, `version: 1`."""

    version: Literal[1]
    """Always 1."""
    listeners: list[AnyListener] = Field(
        default_factory=_one_listener, min_length=1, json_schema_extra={"default": None}
    )
    """Where clients connect. Default: one model listener on 127.0.0.1:12000."""
    model_providers: list[Provider] = Field(default_factory=list)
    """Which models can be called. Must have an entry where there is a listener of type `model`."""
    model_aliases: dict[str, Alias] = Field(default_factory=dict)
    """Other names for models. Default: none."""
    pools: list[Pool] = Field(default_factory=list)
    """Names for several models that stand in for each other. Default: none."""
    agents: Annotated[list[Agent], Field(max_length=1_000)] = Field(default_factory=list)
    """Services that answer conversations, for listeners of type `agent`. Default: none."""
    routing_preferences: Annotated[list[Preference], Field(max_length=1_000)] = Field(default_factory=list)
    """What kind of prompt goes to which models. Default: none; clients get the model that they name."""
    model_metrics_sources: Annotated[list[MetricsSource], Field(max_length=16)] = Field(default_factory=list)
    """Where prices and latencies come from. Default: the published prices, and what Meseta measures."""
    chooser: Chooser = Field(default_factory=Chooser)
    """Who chooses by meaning: models by `routing_preferences`, and agents."""
    retry: Retry = Field(default_factory=Retry)
    """How often a request to a pool is tried, where the pool does not say."""
    retry_budget: RetryBudget = Field(default_factory=RetryBudget)
    """How many tries there are beyond the first ones, of all pools together."""
    admission: Admission | None = None
    """How many requests are under way at once. Default: no limit, and nobody waits."""
    prompt_caching: PromptCaching = Field(default_factory=PromptCaching)
    """Make use of the providers' prompt caches."""
    routing: Routing = Field(default_factory=Routing)
    """Sessions, and what it may cost to move one."""
    store: StoreOrOff = Field(default_factory=Store)
    """The log of requests, or `off` for none."""
    responses: ResponsesOrOff | None = None
    """The store of the Responses API, beside the log, or `off` for none.

    Without this key responses are kept with the defaults, unless `store` is `off`."""
    conversations: Conversations = Field(default_factory=Conversations)
    """The conversations of listeners with `history: keep`."""
