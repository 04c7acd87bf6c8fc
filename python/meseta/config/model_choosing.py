"""What people write about choosing: rules, preferences, the choosers, and listeners of agents."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from meseta.config.form import Count, Flag, Identifier, PositiveDuration, Strict

Tokens = Annotated[int, Field(ge=0, le=1_000_000_000)]
Pattern = Annotated[str, Field(min_length=1, max_length=4_096)]
Example = Annotated[str, Field(min_length=1, max_length=4_096)]
Examples = Annotated[list[Example], Field(max_length=1_000)]
Description = Annotated[str, Field(max_length=16_384)]
Share = Annotated[float, Field(ge=0, le=1)]


class When(Strict):
    """What must hold for a rule, all of it."""

    headers: dict[str, Pattern] = Field(default_factory=dict)
    """Name of a header to a regular expression that its value must match."""
    tags: list[str] = Field(default_factory=list)
    """Tags of `x-meseta-tags` of which the request must have every one."""
    tenants: list[str] = Field(default_factory=list)
    """Tenants of which the caller must be one."""
    text: Pattern | None = None
    """Regular expression that the last message of the user must match, such as `(?i)refund`."""
    min_tokens: Tokens | None = None
    """Fewest estimated tokens of the conversation."""
    max_tokens: Tokens | None = None
    """Most estimated tokens of the conversation."""
    tools: Flag | None = None
    """Whether the request offers tools."""
    images: Flag | None = None
    """Whether the conversation has images."""


class Rule(Strict):
    """The operator's own choice, which goes before any chooser."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    """Name of the rule, unique in its list; the log shows it."""
    use: Annotated[list[str], Field(min_length=1, max_length=64)]
    """What is chosen, in order: agents on a listener of agents; preferences or models under `chooser`."""
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    """Rules with a higher number go first; equal ones in the order of the file. Default 0."""
    when: When = Field(default_factory=When)
    """What must hold. Default: the rule holds for every request."""


class SelectionPolicy(Strict):
    """Which of the models of a preference goes first."""

    prefer: Literal["cheapest", "fastest", "none"] | None = "none"
    """`cheapest` by price, `fastest` by measured latency, `none`: the order of `models`. Default `none`."""


class Preference(Strict):
    """What kind of prompt goes to which models."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    """Name of the preference, unique in the file."""
    description: Description = ""
    """What such prompts are about, in a sentence or two."""
    examples: Examples = Field(default_factory=list)
    """Prompts that belong here; ten of them make the choice much better."""
    models: Annotated[list[str], Field(min_length=1, max_length=64)]
    """Pools, models or aliases; the first that can answer does, the others stand in for it."""
    selection_policy: SelectionPolicy = Field(default_factory=SelectionPolicy)
    """Which of them goes first."""


class EmbeddedChooser(Strict):
    """Choose by comparing embeddings, inside of Meseta: no call, no cost, well under a millisecond."""

    threshold: Share = 0.5
    """It abstains when the probability of its best choice is lower. Default 0.5."""
    margin: Share = 0.1
    """It abstains when the second is closer than this. Default 0.1."""


class ModelChooser(Strict):
    """Ask a model where the embedded chooser abstains, or is off."""

    model: str
    """The name of a pool, a model or an alias."""
    prompt: Literal["structured", "plano"] | None = None
    """`plano` is the prompt that Plano-Orchestrator and Arch-Router were made with, `structured` the one for
    every other model. Default: `plano` where the name of the model says that it is one of those."""
    deadline: PositiveDuration = 2_000
    """An answer that comes later is not waited for. Default `2s`."""
    context_tokens: Annotated[int, Field(ge=256, le=10_000_000)] = 8_192
    """How much of the conversation the model is shown. Default 8192."""
    cache_entries: Annotated[int, Field(ge=0, le=1_000_000)] = 1_024
    """How many choices are remembered; 0 remembers none. Default 1024."""
    cache: PositiveDuration = 300_000
    """How long a choice is remembered. Default `5m`."""


def _embedded_kind(value: object) -> str:
    return "settings of embedded" if isinstance(value, dict) else "flag"


def _model_kind(value: object) -> str:
    return "settings of model" if isinstance(value, dict) else "name"


class Chooser(Strict):
    """Who chooses models and agents: rules, then the embedded chooser, then a model, then the default."""

    embedded: (
        Annotated[
            Annotated[Flag, Tag("flag")] | Annotated[EmbeddedChooser, Tag("settings of embedded")],
            Discriminator(_embedded_kind),
        ]
        | None
    ) = None
    """`true`, `false`, or `{threshold, margin}`. Default: on where its weights are installed
    (`pip install 'meseta[chooser]'`)."""
    model: (
        Annotated[
            Annotated[str, Tag("name")] | Annotated[ModelChooser, Tag("settings of model")],
            Discriminator(_model_kind),
        ]
        | None
    ) = None
    """The model that is asked where the embedded chooser abstains: a name, or settings. Default: none."""
    rules: Annotated[list[Rule], Field(max_length=1_000)] = Field(default_factory=list)
    """Rules for models: `use` names preferences, or models. Default: none."""


class ListenedAgent(Strict):
    """An agent as a listener describes it."""

    id: Identifier
    """The `id` of an agent of the file."""
    description: Description = ""
    """What it does, as precisely as possible: the choosers go by it. A list after `Handles:` counts as
    examples."""
    examples: Examples = Field(default_factory=list)
    """What people ask of it; ten of them make the choice much better."""
    default: Flag = False
    """It is asked when nobody was chosen. At most one. Default: the first agent of the list."""
    url: str | None = None
    """Where it is, for an agent that `agents` does not name."""


class PlanoListenedAgent(ListenedAgent):
    """An agent as a listener of a Plano file describes it."""

    input_filters: list[str] | None = None
    """Known, not served yet: a warning, and no effect."""
    filter_chain: list[str] | None = None
    """The older name of `input_filters`."""


class Template(Strict):
    """Put the answers together by a text."""

    type: Literal["template"]
    """`template`."""
    text: Annotated[str, Field(min_length=1, max_length=65_536)] = "## {agent}\n\n{answer}\n\n"
    """`{agent}` and `{answer}` stand for each of them; what comes of each is put one after the other.
    Default: the agent as a heading, and its answer below."""


class ModelMerge(Strict):
    """Put the answers together by a model."""

    type: Literal["model"]
    """`model`."""
    model: str
    """The name of a pool, a model or an alias."""
    prompt: Annotated[str, Field(min_length=1, max_length=65_536)] = (
        "Several assistants have answered the last message of the user. Write one answer from theirs: keep "
        "every fact, say where they disagree, and do not mention that there were several."
    )
    """What the model is told. Default: to write one answer that keeps every fact."""


class Parallel(Strict):
    """How agents that are asked at once are waited for, and how their answers become one."""

    deadline: PositiveDuration = 30_000
    """Answers that come later are left out. Default `30s`."""
    quorum: Count = 0
    """How many answers are enough. With fewer the request fails, as soon as that is certain; 0 waits for all
    of them until the deadline and takes those that came, if any did. Default 0."""
    merge: Annotated[Template | ModelMerge, Discriminator("type")] = Field(
        default_factory=lambda: Template(type="template")
    )
    """`{type: template, text}` or `{type: model, model, prompt}`. Default: a template with headings."""


class Supervise(Strict):
    """Choose again after each answer, until the task is done or one of these is spent."""

    steps: Annotated[int, Field(ge=1, le=100)] = 6
    """Most answers of agents. Default 6."""
    timeout: PositiveDuration = 120_000
    """Longest time for all of it. Default `2m`."""
    usd: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    """Most US dollars that its calls of models may cost. Default: no limit."""
    final: str | None = None
    """The model that writes the final answer: a pool, a model or an alias. Default: the answers stand as they
    are."""


class History(Strict):
    """What agents get to see of the conversation."""

    mode: Literal["off", "pass", "keep"] = "pass"
    """`off`: the current turn. `pass`: what the client sends. `keep`: Meseta keeps the conversation of
    `x-meseta-session`, and clients send the new turn only. Default `pass`."""
    messages: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Most messages, the newest ones; 0 is no limit. Default 0."""
    tokens: Tokens = 0
    """Most estimated tokens, the newest ones; 0 is no limit. Default 0."""


def _history_kind(value: object) -> str:
    return "settings of history" if isinstance(value, dict) else "mode of history"


HistoryOrMode = Annotated[
    Annotated[Literal["off", "pass", "keep"], Tag("mode of history")]
    | Annotated[History, Tag("settings of history")],
    Discriminator(_history_kind),
]
