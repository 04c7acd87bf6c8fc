"""What people write in a Plano file, and which of it is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from meseta.config.form import Port, PositiveDuration, Strict
from meseta.config.model import Alias, Auth, PlanoProvider
from meseta.config.model_agents import PlanoAgent
from meseta.config.model_choosing import PlanoListenedAgent, Preference
from meseta.config.model_metrics import MetricsSource
from meseta.config.traffic import PromptCaching, Routing, RoutingBudget

if TYPE_CHECKING:
    from pydantic import BaseModel


class PlanoInlinePreference(Strict):
    """A preference as it stands in a provider entry: its model is that of the entry."""

    name: str
    """Name of the preference; entries with the same name share it."""
    description: str = ""
    """What such prompts are about."""


class PlanoProviderEntry(PlanoProvider):
    """A provider entry of a Plano file."""

    routing_preferences: list[PlanoInlinePreference] | None = None
    """What kind of prompt this model is for, in Plano's older form."""


class PlanoListener(Strict):
    """A listener of a Plano file.

    `max_retries` and filters are accepted and not served.
    """

    name: str
    """Name of the listener."""
    type: Literal["model", "prompt", "agent"] = "model"
    """Listeners of type `model` and `agent` are served; others give a warning."""
    address: str | None = None
    """IP address to listen on. Default `127.0.0.1` (Plano: `0.0.0.0`)."""
    port: Port | None = None
    """Port to listen on. Default 12000."""
    timeout: PositiveDuration | None = None
    """Longest time for a whole call, such as `30s`.

    That of a model listener becomes the total limit of every provider, that of an agent listener the limit
    of its agents."""
    auth: Auth | None = None
    """Meseta's own key: `none`, or `{keys: [...]}`. Must be written when `address` is not loopback."""
    max_retries: Any = None
    """Known, not served yet: a warning, and no effect."""
    router: str | None = None
    """Has no effect in Plano either; `overrides` say who chooses."""
    agents: list[PlanoListenedAgent] = Field(default_factory=list)
    """Who can be chosen, on a listener of type `agent`."""
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


class PlanoRoutingBudget(RoutingBudget):
    """Plano's `routing_budget`."""

    record_counterfactual: Any = None
    """Known, not served yet."""


class PlanoRouting(Routing):
    """Plano's `routing`."""

    routing_budget: PlanoRoutingBudget | None = None
    """What moving a session may cost."""
    llm_provider: Any = None
    """Known, has no effect in Plano either."""
    model: Any = None
    """Known, has no effect in Plano either."""


class PlanoOverrides(Strict):
    """Plano's `overrides`, where Plano refuses no key: one that is not known here gives a warning."""

    model_config = ConfigDict(extra="ignore")

    llm_routing_model: str | None = None
    """The model that chooses by preference, and, as in Plano, agents too."""
    agent_orchestration_model: str | None = None
    """The model that chooses agents, where `llm_routing_model` is absent."""
    orchestrator_model_context_length: Annotated[int, Field(ge=256, le=10_000_000)] = 8_192
    """How much of the conversation that model is shown, in tokens. Default 8192."""
    disable_signals: Any = None
    """Known, not served yet."""
    upstream_connect_timeout: Any = None
    """Known, not served yet."""
    upstream_tls_ca_path: Any = None
    """Known, not served yet."""
    use_agent_orchestrator: Any = None
    """Known, not served yet."""
    optimize_context_window: Any = None
    """Known, not served yet."""
    prompt_target_intent_matching_threshold: Any = None
    """Known, has no effect in Plano either."""


class PlanoStateStorage(Strict):
    """Where Plano keeps the responses of the Responses API."""

    type: Literal["memory", "postgres"] = "memory"
    """Either way they are kept in a file beside the log; a warning says so for `postgres`."""
    connection_string: Any = None
    """Not used."""


class PlanoFile(Strict):
    """A Plano configuration, `version: v0.3.0` or `v0.4.0`, or an older one that Plano reads alike."""

    version: Literal["v0.1", "v0.1.0", "0.1-beta", "0.2.0", "v0.3.0", "v0.4.0"]
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
    agents: list[PlanoAgent] = Field(default_factory=list)
    """Services that answer conversations."""
    filters: Any = None
    """Known, not served yet."""
    routing_preferences: list[Preference] = Field(default_factory=list)
    """What kind of prompt goes to which models."""
    overrides: PlanoOverrides = Field(default_factory=PlanoOverrides)
    """Which models choose."""
    prompt_targets: Any = None
    """Known, not served yet."""
    ratelimits: Any = None
    """Known, not served yet."""
    tracing: Any = None
    """Known, not served yet."""
    routing: PlanoRouting = Field(default_factory=PlanoRouting)
    """Sessions, and what it may cost to move one."""
    prompt_caching: PromptCaching = Field(default_factory=PromptCaching)
    """Make use of the providers' prompt caches."""
    state_storage: PlanoStateStorage | None = None
    """Where stored responses are kept."""
    model_metrics_sources: list[MetricsSource] = Field(default_factory=list)
    """Where prices and latencies come from."""
    endpoints: Any = None
    """Known, not served yet."""
    mode: Any = None
    """Known, has no effect in Plano either."""
    prompt_guards: Any = None
    """Known, not served yet."""
    system_prompt: Any = None
    """Known, not served yet."""


PLANO_VERSIONS = ("v0.1", "v0.1.0", "0.1-beta", "0.2.0", "v0.3.0", "v0.4.0")

NOT_SERVED: dict[type[BaseModel], frozenset[str]] = {
    PlanoFile: frozenset(PlanoFile.model_fields)
    - {
        "version",
        "listeners",
        "model_providers",
        "llm_providers",
        "model_aliases",
        "prompt_caching",
        "routing",
        "state_storage",
        "agents",
        "routing_preferences",
        "overrides",
        "model_metrics_sources",
    },
    PlanoOverrides: frozenset(
        {
            "disable_signals",
            "upstream_connect_timeout",
            "upstream_tls_ca_path",
            "use_agent_orchestrator",
            "optimize_context_window",
            "prompt_target_intent_matching_threshold",
        }
    ),
    PlanoRouting: frozenset({"llm_provider", "model"}),
    PlanoRoutingBudget: frozenset({"record_counterfactual"}),
    PlanoListener: frozenset({"max_retries", "input_filters", "output_filters", "filters"}),
    PlanoListenedAgent: frozenset({"input_filters", "filter_chain"}),
    PlanoTraffic: frozenset({"message_format"}),
    PlanoTrafficListeners: frozenset({"ingress_traffic"}),
}
"""Keys of Plano files that are read, named in a warning, and have no effect."""

NOT_YET_IN_VERSION_1 = NOT_SERVED[PlanoFile] | {"policies", "keys", "budgets"}
"""Top-level keys that a `version: 1` file will have one day; until then they are errors that say so."""

NOT_YET_IN_LISTENERS = NOT_SERVED[PlanoListener] | {"router", "timeout"}
"""The same for listeners of a `version: 1` file."""

GUARDS = frozenset(
    {"prompt_guards", "filters", "filter_chain", "input_filters", "output_filters", "ratelimits"}
)
"""Keys whose absence changes what may pass, so that the warning must be plain about it."""
