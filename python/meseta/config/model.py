"""What people write: the models of a `version: 1` file and of a Plano file.

Every field says in its description what it is, in which unit, and what happens without it; the JSON Schema
and
the reference page are generated from here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    WithJsonSchema,
)

from meseta.config.dialects import Dialect
from meseta.config.secrets import MASK, SecretReference
from meseta.config.units import DURATION_PATTERN, SIZE_PATTERN, parse_duration_ms, parse_size_bytes

DEFAULT_PORT = 12000


def _flag(value: object) -> object:
    """Plano's parser read YAML 1.1, where these words are booleans."""
    if isinstance(value, str):
        return {"yes": True, "on": True, "no": False, "off": False}.get(value.lower(), value)
    return value


Duration = Annotated[
    int,
    BeforeValidator(parse_duration_ms),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["500ms", "2s", "5m"]}),
]
"""Milliseconds inside; `2s`, `500ms`, `5m`, `1h`, `7d` in the file."""

Size = Annotated[
    int,
    BeforeValidator(parse_size_bytes),
    WithJsonSchema({"type": "string", "pattern": SIZE_PATTERN, "examples": ["32MiB", "2GB"]}),
]
"""Bytes inside; `32MiB`, `2GB` in the file."""

Flag = Annotated[bool, BeforeValidator(_flag), WithJsonSchema({"type": "boolean"})]

SecretText = Annotated[
    SecretReference,
    BeforeValidator(SecretReference.parse),
    PlainSerializer(lambda _: MASK, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["$OPENAI_API_KEY", "file:/run/secrets/openai", "none"]}),
]
"""A reference to a secret, never the secret in a form that could be printed."""

Port = Annotated[int, Field(ge=0, le=65535)]

PositiveDuration = Annotated[Duration, Field(ge=1)]


class Strict(BaseModel):
    """A section of the file: keys that it does not name are errors, and nothing is coerced silently."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        arbitrary_types_allowed=True,
        use_attribute_docstrings=True,
        # A file is of one version; the models of the other are never built.
        defer_build=True,
    )


class Timeouts(Strict):
    """How long a call to this provider may take, each limit on its own."""

    connect: PositiveDuration = 5_000
    """Longest time to connect, TLS included. Default `5s`."""
    first_token: PositiveDuration = 300_000
    """Longest time from sending the request to the first byte of the answer. Default `5m`."""
    idle: PositiveDuration = 120_000
    """Longest pause between two pieces of an answer. Default `2m`."""
    total: PositiveDuration = 1_800_000
    """Longest time for the whole call, streaming included. Default `30m`."""


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


class PlanoProviderEntry(PlanoProvider):
    """A provider entry of a Plano file."""

    routing_preferences: Any = None
    """Known, not served yet: a warning, and no effect."""


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


class KeyAuth(Strict):
    """Clients must send one of these keys."""

    keys: list[SecretText] = Field(min_length=1)
    """Accepted keys, each `$NAME`, `${NAME}` or `file:/path`.

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


class Listener(Strict):
    """An address where clients connect."""

    name: str
    """Name of the listener, unique in the file; the log shows it."""
    type: Literal["model"] = "model"
    """`model`: clients name a model, Meseta calls it. Default `model`."""
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


def _responses_kind(value: object) -> str:
    return "off" if isinstance(value, (str, bool)) else "settings"


ResponsesOrOff = Annotated[
    Annotated[Literal["off", False], Tag("off")] | Annotated[Responses, Tag("settings")],
    Discriminator(_responses_kind),
]


class File(Strict):
    """A Meseta configuration, `version: 1`."""

    version: Literal[1]
    """Always 1."""
    listeners: list[Listener] = Field(
        default_factory=lambda: [Listener(name="models")], min_length=1, json_schema_extra={"default": None}
    )
    """Where clients connect. Default: one model listener on 127.0.0.1:12000."""
    model_providers: list[Provider] = Field(min_length=1)
    """What can be called."""
    model_aliases: dict[str, Alias] = Field(default_factory=dict)
    """Other names for models. Default: none."""
    store: StoreOrOff = Field(default_factory=Store)
    """The log of requests, or `off` for none."""
    responses: ResponsesOrOff | None = None
    """The store of the Responses API, beside the log, or `off` for none.

    Without this key responses are kept with the defaults, unless `store` is `off`."""


class PlanoListener(Strict):
    """A listener of a Plano file.

    `max_retries`, `router`, `agents` and filters are accepted and not served.
    """

    name: str
    """Name of the listener."""
    type: Literal["model", "prompt", "agent"] = "model"
    """Listeners of type `model` are served; others give a warning."""
    address: str | None = None
    """IP address to listen on. Default `127.0.0.1` (Plano: `0.0.0.0`)."""
    port: Port | None = None
    """Port to listen on. Default 12000."""
    timeout: PositiveDuration | None = None
    """Longest time for a whole call, such as `30s`; becomes the total limit of every provider."""
    auth: Auth | None = None
    """Meseta's own key: `none`, or `{keys: [...]}`. Must be written when `address` is not loopback."""
    max_retries: Any = None
    """Known, not served yet: a warning, and no effect."""
    router: Any = None
    """Known, not served yet: a warning, and no effect."""
    agents: Any = None
    """Known, not served yet: a warning, and no effect."""
    input_filters: Any = None
    """Known, not served yet: a warning, and no effect."""
    output_filters: Any = None
    """Known, not served yet: a warning, and no effect."""
    filters: Any = None
    """Known, not served yet: a warning, and no effect."""


class PlanoTraffic(Strict):
    """One direction of Plano's older listener form."""

    address: str | None = None
    """IP address to listen on. Default `127.0.0.1` (Plano: `0.0.0.0`)."""
    port: Port | None = None
    """Port to listen on. Default 12000."""
    timeout: PositiveDuration | None = None
    """Longest time for a whole call, such as `30s`."""
    auth: Auth | None = None
    """Meseta's own key: `none`, or `{keys: [...]}`."""
    message_format: Any = None
    """Known, not served: a warning, and no effect."""


class PlanoTrafficListeners(Strict):
    """Plano's older form of `listeners`: one object with a key for each direction."""

    egress_traffic: PlanoTraffic | None = None
    """The model listener."""
    ingress_traffic: Any = None
    """The prompt listener: not served, a warning."""


def _listeners_kind(value: object) -> str:
    return "traffic" if isinstance(value, dict) else "list"


class PlanoFile(Strict):
    """A Plano configuration, `version: v0.3.0` or `v0.4.0`."""

    version: Literal["v0.3.0", "v0.4.0"]
    """Version of Plano's format."""
    listeners: Annotated[
        Annotated[list[PlanoListener], Tag("list")] | Annotated[PlanoTrafficListeners, Tag("traffic")],
        Discriminator(_listeners_kind),
    ]
    """Where clients connect."""
    model_providers: list[PlanoProviderEntry] = Field(default_factory=list)
    """What can be called."""
    llm_providers: list[PlanoProviderEntry] | None = None
    """The older name of `model_providers`; not both."""
    model_aliases: dict[str, Alias] = Field(default_factory=dict)
    """Other names for models."""
    agents: Any = None
    """Known, not served yet."""
    filters: Any = None
    """Known, not served yet."""
    routing_preferences: Any = None
    """Known, not served yet."""
    overrides: Any = None
    """Known, not served yet."""
    prompt_targets: Any = None
    """Known, not served yet."""
    ratelimits: Any = None
    """Known, not served yet."""
    tracing: Any = None
    """Known, not served yet."""
    routing: Any = None
    """Known, not served yet."""
    prompt_caching: Any = None
    """Known, not served yet."""
    state_storage: Any = None
    """Known, not served yet."""
    model_metrics_sources: Any = None
    """Known, not served yet."""
    endpoints: Any = None
    """Known, not served yet."""
    mode: Any = None
    """Known, has no effect in Plano either."""
    prompt_guards: Any = None
    """Known, not served yet."""
    system_prompt: Any = None
    """Known, not served yet."""


PLANO_VERSIONS = ("v0.3.0", "v0.4.0")

NOT_SERVED: dict[type[BaseModel], frozenset[str]] = {
    PlanoFile: frozenset(PlanoFile.model_fields)
    - {"version", "listeners", "model_providers", "llm_providers", "model_aliases"},
    PlanoListener: frozenset(
        {"max_retries", "router", "agents", "input_filters", "output_filters", "filters"}
    ),
    PlanoTraffic: frozenset({"message_format"}),
    PlanoTrafficListeners: frozenset({"ingress_traffic"}),
    PlanoProviderEntry: frozenset({"routing_preferences"}),
}
"""Keys of Plano files that are read, named in a warning, and have no effect."""

NOT_YET_IN_VERSION_1 = NOT_SERVED[PlanoFile] | {"pools", "policies", "keys", "budgets"}
"""Top-level keys that a `version: 1` file will have one day; until then they are errors that say so."""

NOT_YET_IN_LISTENERS = NOT_SERVED[PlanoListener] | {"strategy", "timeout"}
"""The same for listeners of a `version: 1` file."""

GUARDS = frozenset({"prompt_guards", "filters", "input_filters", "output_filters", "ratelimits"})
"""Keys whose absence changes what may pass, so that the warning must be plain about it."""
