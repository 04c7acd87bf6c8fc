"""The page of the configuration: every key of a `version: 1` file, the providers, the codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meseta.config.model import (
    GUARDS,
    NOT_SERVED,
    NOT_YET_IN_VERSION_1,
    Alias,
    File,
    KeyAuth,
    Limits,
    Listener,
    ListenerTimeouts,
    PlanoFile,
    PlanoListener,
    Provider,
    Store,
    Timeouts,
    Tls,
)
from meseta.config.problems import CODES
from meseta.config.providers import PROVIDERS
from meseta.config.schema import json_schema
from meseta.reference.markdown import NOTE, listed, paragraph

if TYPE_CHECKING:
    from pydantic import BaseModel

SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("Top level", File),
    ("listeners[]", Listener),
    ("listeners[].auth", KeyAuth),
    ("listeners[].tls", Tls),
    ("listeners[].limits", Limits),
    ("listeners[].timeouts", ListenerTimeouts),
    ("model_providers[]", Provider),
    ("model_providers[].timeouts", Timeouts),
    ("model_aliases.NAME", Alias),
    ("store", Store),
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
            without outer white space), or `none`. References are expanded in `access_key` and `auth.keys` and
            nowhere else: a `$` in any other value is a `$`. A `.env` file beside the configuration
            supplements the environment; where both have a variable, the environment wins.
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
            prefix before the first slash. Aliases come on top; an alias never hides a model.
            """
        ),
    ]


def _providers() -> list[str]:
    lines = [
        "",
        "## Providers known by name",
        "",
        *paragraph(
            """
            All of them are called through their OpenAI-compatible address. Any other prefix needs
            `base_url` and `provider_interface: openai`.
            """
        ),
        "",
        "| provider | base URL | key |",
        "|---|---|---|",
    ]
    for provider in PROVIDERS:
        url = f"`{provider.base_url}`" if provider.base_url else "assigned when the plane starts"
        if provider.example:
            url = f"yours, such as `{provider.example}`"
        key = "none needed"
        if provider.needs_key:
            key = "bearer token" if provider.header == "authorization" else f"header `{provider.header}`"
        lines.append(f"| `{provider.name}` | {url} | {key} |")
    return lines


def _plano() -> list[str]:
    served = [name for name in PlanoFile.model_fields if name not in NOT_YET_IN_VERSION_1]
    of_listener = [name for name in PlanoListener.model_fields if name not in NOT_SERVED[PlanoListener]]
    return [
        "",
        "## Plano files",
        "",
        *paragraph(
            f"""
            A file with `version: v0.3.0` or `v0.4.0` is read too. Of its keys {listed(served)} are served,
            and of a listener {listed(of_listener)}. Every other key of Plano is accepted with a warning and
            has no effect; for {listed(sorted(GUARDS))} that means that nothing is guarded or limited.
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
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if schema.get("type") == "object":
        return "mapping"
    if "pattern" in schema:
        return "duration" if "500ms" in schema["examples"] else "size"
    if schema.get("examples", [""])[0].startswith("$"):
        return "secret"
    return {"string": "text", "integer": "whole number", "boolean": "`true` or `false`"}[schema["type"]]


def _one_line(text: str) -> str:
    return " ".join(text.split())
