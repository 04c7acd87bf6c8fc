"""The page of the configuration: every key of a `version: 1` file, the providers, the codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meseta.config.dialects import DIALECTS, MEANINGS, OPERATIONS, Quirks
from meseta.config.model import (
    AgentListener,
    Alias,
    Aws,
    ClientKey,
    Conversations,
    File,
    Google,
    KeyAuth,
    Limits,
    Listener,
    ListenerTimeouts,
    Provider,
    Responses,
    Store,
    Tls,
)
from meseta.config.model_agents import (
    Agent,
    AgentProbe,
    AgentRetry,
    Hold,
    LiveProbe,
    ReadyProbe,
    ReplicaBounds,
    RestartPolicy,
    Run,
)
from meseta.config.model_choosing import (
    Chooser,
    EmbeddedChooser,
    History,
    ListenedAgent,
    ModelChooser,
    ModelMerge,
    Parallel,
    Preference,
    Rule,
    SelectionPolicy,
    Supervise,
    Template,
    When,
)
from meseta.config.model_metrics import CostSource, LatencySource
from meseta.config.plano import (
    GUARDS,
    NOT_SERVED,
    NOT_YET_IN_VERSION_1,
    PLANO_VERSIONS,
    PlanoFile,
    PlanoListener,
)
from meseta.config.prices import CATALOGUES
from meseta.config.problems import CODES
from meseta.config.prompt_caches import KEPT
from meseta.config.providers import (
    BEDROCK,
    COMPATIBLE,
    PROVIDERS,
    VERTEX,
    bedrock_url,
    vertex_origin,
    vertex_path,
)
from meseta.config.schema import json_schema
from meseta.config.traffic import (
    Admission,
    Fallback,
    Health,
    Hedge,
    Member,
    Pool,
    PoolTimeouts,
    Price,
    Probe,
    PromptCache,
    PromptCaching,
    Retry,
    RetryBudget,
    Routing,
    RoutingBudget,
    SessionCache,
    TargetLimits,
    Timeouts,
)
from meseta.config.units import format_duration
from meseta.reference.markdown import NOTE, listed, paragraph

if TYPE_CHECKING:
    from pydantic import BaseModel

    from meseta.config.providers import Provider as Row

SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("Top level", File),
    ("listeners[] of type model", Listener),
    ("listeners[] of type agent", AgentListener),
    ("listeners[].agents[]", ListenedAgent),
    ("listeners[].rules[], chooser.rules[]", Rule),
    ("listeners[].rules[].when, chooser.rules[].when", When),
    ("listeners[].parallel", Parallel),
    ("listeners[].parallel.merge of type template", Template),
    ("listeners[].parallel.merge of type model", ModelMerge),
    ("listeners[].supervise", Supervise),
    ("listeners[].history", History),
    ("listeners[].auth", KeyAuth),
    ("listeners[].auth.keys[]", ClientKey),
    ("listeners[].tls", Tls),
    ("listeners[].limits", Limits),
    ("listeners[].timeouts", ListenerTimeouts),
    ("model_providers[]", Provider),
    ("model_providers[].timeouts, agents[].timeouts", Timeouts),
    ("model_providers[].limits, agents[].limits", TargetLimits),
    ("model_providers[].health, agents[].health", Health),
    ("model_providers[].probe", Probe),
    ("model_providers[].price", Price),
    ("model_providers[].prompt_cache", PromptCache),
    ("model_providers[].aws", Aws),
    ("model_providers[].google", Google),
    ("model_aliases.NAME", Alias),
    ("pools[]", Pool),
    ("pools[].targets[]", Member),
    ("pools[].fallback[]", Fallback),
    ("agents[]", Agent),
    ("agents[].retry", AgentRetry),
    ("agents[].probe", AgentProbe),
    ("agents[].hold", Hold),
    ("agents[].run", Run),
    ("agents[].run.replicas", ReplicaBounds),
    ("agents[].run.ready", ReadyProbe),
    ("agents[].run.live", LiveProbe),
    ("agents[].run.restart", RestartPolicy),
    ("routing_preferences[]", Preference),
    ("routing_preferences[].selection_policy", SelectionPolicy),
    ("model_metrics_sources[] of type cost", CostSource),
    ("model_metrics_sources[] of type latency", LatencySource),
    ("chooser", Chooser),
    ("chooser.embedded", EmbeddedChooser),
    ("chooser.model", ModelChooser),
    ("retry, pools[].retry", Retry),
    ("pools[].hedge", Hedge),
    ("pools[].timeouts", PoolTimeouts),
    ("retry_budget", RetryBudget),
    ("admission", Admission),
    ("prompt_caching", PromptCaching),
    ("routing", Routing),
    ("routing.routing_budget", RoutingBudget),
    ("routing.session_cache", SessionCache),
    ("store", Store),
    ("responses", Responses),
    ("conversations", Conversations),
)


def page() -> str:
    """`docs/reference/configuration.md`."""
    lines = [
        "# Configuration",
        "",
        NOTE,
        "",
        *paragraph(
            """
            One YAML file, UTF-8, at most 4 MiB. A key that does not exist is an error. `meseta check FILE`
            lists every mistake with its place, `meseta config schema` prints the JSON Schema for editors.
            """
        ),
        "",
        *paragraph(
            """
            A duration is a number and `ms`, `s`, `m`, `h` or `d`: `500ms`, `1.5h`. A size is a number and
            `B`, `KB`, `MB`, `GB`, `TB` (powers of 1000) or `KiB`, `MiB`, `GiB`, `TiB` (powers of 1024).
            """
        ),
        "",
        *paragraph(
            """
            A secret is `$NAME` or `${NAME}` (an environment variable), `file:PATH` (the content of a file,
            without outer white space), or `none`. References are expanded in `access_key`, `access_keys`,
            `auth.keys`, the keys of `aws`, the address of the shared store, and `auth`, `token` and `run.env`
            of an agent, and nowhere else: a `$` in any other value is a `$`. A `.env` file beside
            the configuration supplements the environment; where both have a variable, the environment wins.
            """
        ),
    ]
    definitions = json_schema()
    for title, model in SECTIONS:
        lines += [
            "",
            f"## {title}",
            "",
            _one_line(model.__doc__ or ""),
            "",
            "| key | value | meaning |",
            "|---|---|---|",
        ]
        schema = definitions if model is File else definitions["definitions"][model.__name__]
        for name, field in model.model_fields.items():
            required = " (required)" if field.is_required() else ""
            lines.append(
                f"| `{name}` | {_kind(schema['properties'][name])}{required} | "
                f"{_one_line(field.description or '')} |"
            )
    lines += _names() + _providers() + _plano() + _codes()
    return "\n".join(lines) + "\n"


def _names() -> list[str]:
    return [
        "",
        "## Names that clients may use",
        "",
        *paragraph(
            """
            For an entry with a model, in this order of precedence: its `name`, its `provider/model`, and the
            bare model id. A bare id that several entries share is not a name (a warning says so), and
            neither is one that contains a slash. Any other `prefix/model` goes to the wildcard of the
            prefix before the first slash. Aliases and pools come on top; neither ever hides a model.
            """
        ),
    ]


def _providers() -> list[str]:
    lines = [
        "",
        "## Dialects",
        "",
        *paragraph(
            """
            A client API that the provider speaks passes as it is; any other one is translated to the first
            of the provider's dialects.
            """
        ),
        "",
        "| dialect | what it is | operations and their paths |",
        "|---|---|---|",
    ]
    for dialect in DIALECTS:
        operations = [
            f"`{name}` `{operation.path}`"
            for name, operation in OPERATIONS.items()
            if dialect in operation.dialects
        ]
        lines.append(f"| `{dialect}` | {MEANINGS[dialect]} | {', '.join(operations)} |")
    lines += [
        "",
        "## Providers known by name",
        "",
        *paragraph(
            """
            Any other prefix needs `base_url`, and `provider_interface` with the name of a provider of this
            table (not `sim`), whose way of being asked it takes over. Dialects in brackets are served when
            `dialects` names them. A `base_url` at another host makes `openai` a compatible server, which is
            the last row.
            """
        ),
        "",
        "| provider | base URL | key | dialects | also |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| `{row.name}` | {_url(row)} | {_key(row)} | {_dialects(row)} | {listed(list(row.offers))} |"
        for row in PROVIDERS
    ]
    lines.append(
        f"| compatible | yours | bearer token | {_dialects(COMPATIBLE)} | {listed(list(COMPATIBLE.offers))} |"
    )
    return lines + _quirks() + _economics()


def _economics() -> list[str]:
    lines = [
        "",
        "## Prices and prompt caches",
        "",
        *paragraph(
            f"""
            An entry without `price` has the list price that the package genai-prices knows of its model at
            {listed(list(CATALOGUES))}; where that grows with the length of the prompt, the one of short
            prompts. A wildcard has no price, and neither has a compatible server; a model that a pool or an
            alias takes out of a wildcard has one.
            """
        ),
        "",
        *paragraph(
            """
            What providers keep of a prompt. Any other one keeps nothing as far as Meseta knows, until
            `prompt_cache` says otherwise.
            """
        ),
        "",
        "| provider | after its last use | from so many tokens on | page |",
        "|---|---|---|---|",
    ]
    for name, kept in KEPT.items():
        some = ", ".join(str(tokens) for tokens in sorted({tokens for _, tokens in kept.larger}))
        tokens = f"{kept.minimum_tokens}" + (f"; some models {some}" if some else "")
        lines.append(f"| `{name}` | {format_duration(kept.window_ms)} | {tokens} | <{kept.source}> |")
    return lines


def _quirks() -> list[str]:
    lines = [
        "",
        "## How providers differ",
        "",
        *paragraph(
            """
            What a translated request to a Chat Completions server heeds. One that passes as it is is not
            touched. `vertex_ai`, `amazon_bedrock`, `gemini` and `anthropic` have APIs of their own, and none
            of this applies.
            """
        ),
        "",
        "| provider | limit | `developer` | `cache_control` | thinking | JSON Schema | left out | page |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in [*((row.name, row) for row in PROVIDERS), ("compatible", COMPATIBLE)]:
        if "openai_chat" in row.dialects:
            source = f"<{row.source}>" if row.source else "our own"
            lines.append(
                f"| {f'`{name}`' if name != 'compatible' else name} | {_cells(row.quirks)} | {source} |"
            )
    return lines


def _cells(quirks: Quirks) -> str:
    return " | ".join(
        [
            f"`{quirks.max_tokens_field}`",
            "yes" if quirks.developer_role else "sent as `system`",
            "yes" if quirks.cache_control else "no",
            {
                "reasoning_effort": "`reasoning_effort`",
                "openrouter": "object `reasoning`",
                "thinking": "object `thinking`",
                "none": "no",
            }[quirks.reasoning],
            "yes" if quirks.json_schema else "sent as `json_object`",
            listed(list(quirks.drop)) or "nothing",
        ]
    )


def _url(row: Row) -> str:
    if row.name == BEDROCK:
        return f"`{bedrock_url('REGION')}`"
    if row.name == VERTEX:
        return f"`{vertex_origin('LOCATION')}{vertex_path('PROJECT', 'LOCATION')}`"
    if row.example:
        return f"yours, such as `{row.example}`"
    return f"`{row.base_url}`" if row.base_url else "assigned when the plane starts"


def _key(row: Row) -> str:
    if not row.needs_key:
        return "none needed"
    key = "bearer token" if row.header == "authorization" else f"header `{row.header}`"
    return {BEDROCK: f"{key}, or `aws`", VERTEX: f"`google`, or {key}"}.get(row.name, key)


def _dialects(row: Row) -> str:
    native = listed(list(row.dialects))
    return f"{native} ({listed(list(row.selectable))})" if row.selectable else native


def _plano() -> list[str]:
    older = [version for version in PLANO_VERSIONS if version not in {"v0.3.0", "v0.4.0"}]
    served = [name for name in PlanoFile.model_fields if name not in NOT_YET_IN_VERSION_1]
    of_listener = [name for name in PlanoListener.model_fields if name not in NOT_SERVED[PlanoListener]]
    return [
        "",
        "## Plano files",
        "",
        *paragraph(
            f"""
            A file with `version: v0.3.0` or `v0.4.0` (or {listed(older)}) is read too. Of its keys
            {listed(served)} are served, and of a listener {listed(of_listener)}. Every other key of Plano is
            accepted with a warning and has no effect; for {listed(sorted(GUARDS))} that means that nothing is
            guarded or limited.
            """
        ),
        "",
        *paragraph(
            f"""
            In a `version: 1` file these top-level keys are errors until they are served:
            {listed(sorted(NOT_YET_IN_VERSION_1))}.
            """
        ),
    ]


def _codes() -> list[str]:
    lines = ["", "## Codes", "", "`meseta explain CODE` prints the same."]
    for code in CODES:
        lines += ["", f"### {code.name}", "", f"Cause: {code.cause}", "", f"Cure: {code.cure}"]
    return lines


def _kind(schema: dict[str, Any]) -> str:
    """Return the form of a value in a few words."""
    for union in ("anyOf", "allOf"):
        if union in schema:
            return " or ".join(
                dict.fromkeys(_kind(part) for part in schema[union] if part.get("type") != "null")
            )
    if "$ref" in schema:
        return "mapping"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{str(value).lower()}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if schema.get("type") == "object":
        return "mapping"
    if "pattern" in schema:
        return {"500ms": "duration", "32MiB": "size"}.get(schema.get("examples", [""])[0], "id")
    if schema.get("examples", [""])[0].startswith("$"):
        return "secret"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
    return words[schema["type"]]


def _one_line(text: str) -> str:
    return " ".join(text.split())
