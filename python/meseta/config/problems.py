"""What can be wrong with a configuration: a problem with its place, and the table of stable codes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from meseta.errors import MesetaError

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Code:
    """A stable code with its cause and its cure, as `meseta explain` prints them."""

    name: str
    cause: str
    cure: str


CODES = (
    Code(
        "config.syntax",
        "The file is not valid YAML, or not UTF-8 text, or uses YAML that Meseta does not read (tags, "
        "several "
        "documents, text as the whole document).",
        "Go to the line and column that the message names. Tabs as indentation and a missing space after "
        "a colon "
        "are the usual reasons.",
    ),
    Code(
        "config.too_large",
        "The file, its nesting or what its aliases expand to is beyond the bound that keeps a hostile "
        "file from "
        "stopping the process.",
        "Make the file smaller: 4 MiB, 64 levels and 100,000 values are the bounds.",
    ),
    Code(
        "config.not_found",
        "A file that was named does not exist or cannot be read.",
        "Check the path. Paths inside a configuration are relative to the folder of that configuration.",
    ),
    Code(
        "config.missing_key",
        "A key that is needed is absent, or a section is empty.",
        "Add the key that the message names.",
    ),
    Code(
        "config.unknown_key",
        "The file has a key that does not exist at that place. Meseta never ignores one silently.",
        "Correct the spelling (the message names the nearest key) or remove the key. `meseta config schema` "
        "prints every key there is.",
    ),
    Code(
        "config.not_served",
        "The key is known, but this version of Meseta does not act on it. In a Plano file this is a "
        "warning and "
        "the key has no effect; in a `version: 1` file it is an error.",
        "Remove the key, or wait for the version that serves it. Do not rely on a guard that is not served.",
    ),
    Code(
        "config.invalid_value",
        "The value of a key has the wrong type, form or range.",
        "Write a value of the form that the message asks for.",
    ),
    Code(
        "config.duplicate",
        "The same key, name, model or wildcard was written twice.",
        "Remove one of the two, or give each provider entry a `name` of its own.",
    ),
    Code(
        "config.unknown_reference",
        "A name refers to something that the file does not define, such as the target of an alias.",
        "Write a name that exists (the message names the nearest) or add what is missing.",
    ),
    Code(
        "config.conflict",
        "Two parts of the file contradict each other, such as two listeners on one port or two defaults.",
        "Change one of the two places that the message names.",
    ),
    Code(
        "config.unsafe_listener",
        "A listener is reachable from other machines and asks for no key, so that anybody who can reach "
        "it could "
        "spend your credentials.",
        "Listen on 127.0.0.1, or add `auth: {keys: [$NAME]}`, or say `auth: none` if something else "
        "guards it.",
    ),
    Code(
        "config.unresolved_secret",
        "A secret refers to an environment variable or a file that is missing, empty or unreadable.",
        "Set the variable in the environment or in the `.env` file beside the configuration, or correct "
        "the path.",
    ),
    Code(
        "config.missing_extra",
        "What the file asks for needs a package that is not installed, because not everybody needs it: a "
        "library that fetches credentials, or the data of the embedded chooser.",
        "Run the `pip install` that the message names, in the environment that Meseta runs in.",
    ),
    Code(
        "config.credential_unavailable",
        "AWS or Google gave no credential, or the profile, token or service account that it comes from is "
        "not usable.",
        "Read the reason in the message. `meseta doctor --online` tries it without serving; what is in force "
        "stays in force meanwhile.",
    ),
    Code(
        "config.source_unavailable",
        "A source of `model_metrics_sources` cannot be reached, or does not say what it is asked for.",
        "Read the reason in the message. Meanwhile what the source said last counts, or the published prices "
        "and what Meseta measures itself.",
    ),
    Code(
        "config.literal_secret",
        "A secret is written in clear text in the file.",
        "Put it in an environment variable and write `$NAME`, or in a file and write `file:/path`.",
    ),
    Code(
        "config.clear_text",
        "What proves who somebody is would travel to another machine without encryption, where it can be "
        "read on the way.",
        "Write an address that begins with https://, unless the network between the two is yours alone.",
    ),
    Code(
        "config.not_expanded",
        "A value looks like a reference to the environment but stands in a key where nothing is "
        "expanded, so it "
        "is used as it is.",
        "References work in secrets only: `access_key`, `access_keys`, `auth.keys`, the keys of `aws`, and "
        "the address of the shared store. Write the value itself.",
    ),
    Code(
        "config.ambiguous_name",
        "A model id is offered by several entries, so the short name alone does not say which is meant.",
        "Call it as `provider/model`, or add an alias under `model_aliases`.",
    ),
    Code(
        "config.no_credential",
        "A provider that asks for a key has neither `access_key` nor `passthrough_auth`.",
        "Add `access_key: $NAME`, or `passthrough_auth: true`, or `access_key: none` if it needs none.",
    ),
    Code(
        "config.no_price",
        "Something in the file weighs or counts what models cost (`routing_budget`, `prefer: cheapest`, "
        "`usd` of `supervise`), and the price of none, or not of all of them is known.",
        "Name the models in `model_providers` or in a pool instead of wildcards, or write their `price`.",
    ),
    Code(
        "config.no_effect",
        "Something is written that changes nothing as the rest of the file stands, such as a rule behind one "
        "that holds for every request, or an agent that no listener lists.",
        "Change the place that the message names, or remove it.",
    ),
    Code(
        "config.undescribed",
        "Agents or preferences that a chooser is to tell apart have no description, or the same one.",
        "Write a `description` for each, in the words of those who ask, and `examples` where those are not "
        "enough. `meseta eval routing` measures what it helps.",
    ),
    Code(
        "config.overridden",
        "A key has no effect because another one wins over it.",
        "Remove the key that loses.",
    ),
    Code(
        "config.not_shared",
        "`store.shared` is set, and the file asks for something that each replica has for itself.",
        "Have the load balancer bring what belongs together to one replica, as the message says.",
    ),
    Code(
        "config.changed_default",
        "A default of Meseta differs from the one that this kind of file was written for.",
        "Write the value that you want into the file.",
    ),
)
"""Every code that reading a configuration can give, in the order of the reference page."""

_KNOWN = frozenset(code.name for code in CODES)


@dataclass(frozen=True)
class Problem:
    """One mistake (or warning) and its place."""

    code: str
    """One of CODES, stable over versions."""
    message: str
    """A full sentence: what is wrong."""
    file: str = ""
    """Path of the file as the user gave it; empty when there is none."""
    line: int = 0
    """Line from 1; 0 when the problem belongs to no line."""
    column: int = 0
    """Column from 1, counted in characters; 0 when the problem belongs to no line."""
    hint: str = ""
    """What to do about it; may be empty."""
    severity: Severity = "error"

    def __post_init__(self) -> None:
        if self.code not in _KNOWN:
            raise ValueError(f"{self.code} is not in the table of codes")

    @property
    def place(self) -> str:
        """`file:line:column`, shorter where parts are unknown."""
        parts = [self.file or "configuration"]
        if self.line:
            parts += [str(self.line), str(self.column)]
        return ":".join(parts)

    def __str__(self) -> str:
        hint = f"\n  {self.hint}" if self.hint else ""
        return f"{self.place}: {self.severity}[{self.code}]: {self.message}{hint}"

    def as_dict(self) -> dict[str, str | int]:
        """Return the problem as plain data, for JSON."""
        return asdict(self)


class ConfigError(MesetaError):
    """The configuration cannot be used; `problems` lists every mistake that was found, in file order."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.problems = problems
        errors = self.errors
        self.code = errors[0].code if errors else "config.invalid_value"

    @property
    def errors(self) -> list[Problem]:
        """The problems that are errors, without the warnings."""
        return [problem for problem in self.problems if problem.severity == "error"]

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)
