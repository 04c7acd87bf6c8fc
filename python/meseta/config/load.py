"""Read a configuration and say everything that is wrong with its form, each mistake with its place.

The meaning (names that exist, ports that differ, secrets that are there) is `resolve.py`'s business. So that
both kinds of mistake come out of one run, the parts with a wrong form are left out and the rest goes on.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from meseta.config.document import LARGEST_BYTES, Document, read_document
from meseta.config.model import AgentListener, File, Listener
from meseta.config.plano import (
    GUARDS,
    NOT_SERVED,
    NOT_YET_IN_LISTENERS,
    NOT_YET_IN_VERSION_1,
    PLANO_VERSIONS,
    PlanoFile,
    PlanoOverrides,
)
from meseta.config.problems import ConfigError, Problem
from meseta.config.sections import nearest, real_path, section_at
from meseta.config.units import DURATION_UNITS, format_duration, format_size
from meseta.watch import Mark, mark

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

    from meseta.config.document import Path as KeyPath

SECTIONS = (
    "listeners",
    "model_providers",
    "llm_providers",
    "model_aliases",
    "pools",
    "agents",
    "routing_preferences",
)
"""The parts of which one entry can be left out without losing the others."""


@dataclass
class Loaded:
    """A configuration as it was written, as far as its form is right."""

    document: Document
    folder: Path
    """Where relative paths of the file start."""
    config: File | PlanoFile | None
    """None when too little is left to go on with."""
    problems: list[Problem] = field(default_factory=list)
    """Mistakes of form, and warnings."""
    kept: dict[str, list[int]] = field(default_factory=dict)
    """For a list that lost entries: the place in the file of each one that is left."""
    files: dict[str, Mark] = field(default_factory=dict)
    """Every file that it is read from, and how each looked before it was read."""

    @property
    def complete(self) -> bool:
        """Whether nothing was left out."""
        return not any(problem.severity == "error" for problem in self.problems)

    def problem(
        self, code: str, path: KeyPath, message: str, hint: str = "", *, key: bool = False
    ) -> Problem:
        """Return a mistake at `path` of `config`."""
        return self.document.problem(code, self._written(path), message, hint, key=key)

    def warning(
        self, code: str, path: KeyPath, message: str, hint: str = "", *, key: bool = False
    ) -> Problem:
        """Return a warning at `path` of `config`."""
        return _as_warning(self.problem(code, path, message, hint, key=key))

    def reads(self, file: Path) -> None:
        """Note that a file is about to be read for this configuration."""
        self.files.setdefault(str(file), mark(str(file)))

    def has(self, path: KeyPath) -> bool:
        """Whether the file itself has something at `path`, as opposed to a default."""
        return self._written(path) in self.document.places

    def _written(self, path: KeyPath) -> KeyPath:
        if len(path) > 1 and isinstance(path[1], int) and str(path[0]) in self.kept:
            return (path[0], self.kept[str(path[0])][path[1]], *path[2:])
        return path


def load_file(path: str | Path) -> Loaded:
    """Read the file at `path`; raise ConfigError when it is missing or not YAML at all."""
    file = Path(path)
    looked = mark(str(path))
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            [Problem("config.not_found", f"The file cannot be read: {reason}.", str(path))]
        ) from None
    loaded = load_bytes(content, str(path), file.absolute().parent)
    loaded.files[str(path)] = looked
    return loaded


def load_bytes(content: bytes, file: str = "configuration", folder: Path | None = None) -> Loaded:
    """Read a configuration from memory; `file` is what messages call it."""
    document = read_document(content, file)
    loaded = Loaded(document, folder or Path.cwd(), None, list(document.problems))
    tree = document.value
    if not isinstance(tree, dict):
        loaded.problems.append(
            document.problem(
                "config.missing_key" if tree is None else "config.syntax",
                (),
                "The file is empty." if tree is None else "The file must be a mapping of keys to values.",
                "A configuration begins with `version: 1`.",
            )
        )
        return loaded
    kind = _kind(loaded, tree)
    if kind is not None:
        _check(loaded, tree, kind)
    return loaded


def _kind(loaded: Loaded, tree: dict[str, Any]) -> type[File] | type[PlanoFile] | None:
    """Return the model that the `version` key asks for; without that key, ours."""
    version = tree.get("version")
    if version in PLANO_VERSIONS:
        return PlanoFile
    if version == 1 and isinstance(version, int) and not isinstance(version, bool):
        return File
    problem = loaded.document.problem
    if "version" not in tree:
        message = "`version` is missing."
        loaded.problems.append(
            problem(
                "config.missing_key",
                (),
                message,
                "Write `version: 1` (or v0.4.0 in a file that Plano reads too).",
            )
        )
        tree["version"] = 1
        return File
    hint = "Write `version: 1`, or `version: v0.4.0` in a file that Plano reads too."
    shown = (
        f" {version!r}"
        if isinstance(version, (str, int, float)) and len(str(version)) < 40
        else " that it has"
    )
    loaded.problems.append(
        problem("config.invalid_value", ("version",), f"Meseta does not read the version{shown}.", hint)
    )
    return None


def _check(loaded: Loaded, tree: dict[str, Any], kind: type[File] | type[PlanoFile]) -> None:
    try:
        loaded.config = kind.model_validate(tree)
    except ValidationError as error:
        details = error.errors(include_url=False)
        loaded.problems += [_problem(loaded.document, kind, tree, detail) for detail in details]
        loaded.config = _what_is_left(loaded, tree, kind, details)
    if kind is PlanoFile:
        loaded.problems += _not_served(loaded.document, tree)


STANDS_ALONE = {
    "timeouts",
    "forward_headers",
    "http_version",
    "ask_stream_usage",
    "max_output_tokens",
    "limits",
    "health",
    "probe",
    "retry",
    "hold",
    "price",
    "prompt_cache",
}
"""Keys of a provider on which nothing else depends: a mistake in one hides no other mistake of its entry."""


def _what_is_left(
    loaded: Loaded, tree: dict[str, Any], kind: type[File] | type[PlanoFile], details: list[ErrorDetails]
) -> File | PlanoFile | None:
    """Leave out what is wrong, remember which entries stay, and try again once."""
    rest = copy.deepcopy(tree)
    dropped: dict[str, set[int]] = {}
    for detail in details:
        path = real_path(tree, detail["loc"])
        if detail["type"] == "extra_forbidden":
            _remove(rest, path)
        elif len(path) > 2 and path[2] in STANDS_ALONE:
            _remove(rest, path[:3])
        elif len(path) > 1 and path[0] in SECTIONS:
            if isinstance(path[1], int):
                dropped.setdefault(str(path[0]), set()).add(path[1])
            else:
                _remove(rest, path[:2])
        elif path:
            rest.pop(str(path[0]), None)
    for section, numbers in dropped.items():
        items = rest.get(section)
        if isinstance(items, list):
            loaded.kept[section] = [number for number in range(len(items)) if number not in numbers]
            rest[section] = [items[number] for number in loaded.kept[section]]
            if not rest[section]:
                del rest[section]
    try:
        return kind.model_validate(rest)
    except ValidationError:
        return None


def _remove(tree: Any, path: KeyPath) -> None:
    # A parent may be gone already, left out for a mistake of its own.
    for part in path[:-1]:
        if isinstance(tree, dict):
            tree = tree.get(part)
        elif isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
    if path and isinstance(tree, dict):
        tree.pop(path[-1], None)


def _problem(
    document: Document, kind: type[File] | type[PlanoFile], tree: Any, detail: ErrorDetails
) -> Problem:
    location = detail["loc"]
    path = real_path(tree, location)
    if detail["type"] == "missing":
        message = f"`{location[-1]}` is missing{_where(path)}."
        return document.problem("config.missing_key", path, message, _missing_hint(str(location[-1])))
    if detail["type"] == "extra_forbidden":
        return _unknown_key(document, kind, tree, path)
    code = "config.missing_key" if detail["type"] == "too_short" else "config.invalid_value"
    return document.problem(code, path, _sentence(path, detail))


def _unknown_key(document: Document, kind: type[File] | type[PlanoFile], tree: Any, path: KeyPath) -> Problem:
    key = str(path[-1])
    section = section_at(kind, tree, path[:-1])
    not_yet: Iterable[str] = ()
    if section is File:
        not_yet = NOT_YET_IN_VERSION_1
    elif section in {Listener, AgentListener}:
        not_yet = NOT_YET_IN_LISTENERS
    if section is Listener and key in AgentListener.model_fields:
        message = f"`{key}` is a key of listeners of type `agent`, and this one is of type `model`."
        return document.problem("config.unknown_key", path, message, "Write `type: agent`.", key=True)
    if key in not_yet:
        message = f"`{key}` is not served yet by this version of Meseta{_where(path[:-1])}."
        hint = "Remove it for now."
        if key == "timeout":
            hint = "In a `version: 1` file, limits on calls are `timeouts` of a provider or an agent."
        elif key == "router":
            hint = "In a `version: 1` file, `chooser` says who chooses."
        return document.problem("config.not_served", path, message, hint, key=True)
    known = sorted(section.model_fields) if section else []
    near = nearest(key, known)
    keys = f"Keys here are: {', '.join(known)}." if known else ""
    hint = f"Did you mean `{near}`?" if near else keys
    shown = key if len(key) <= 60 else key[:57] + "..."
    return document.problem(
        "config.unknown_key", path, f"`{shown}` is not a key{_where(path[:-1])}.", hint, key=True
    )


def _where(path: KeyPath) -> str:
    named = [str(part) if isinstance(part, str) else f"[{part}]" for part in path]
    return f" in `{'.'.join(named).replace('.[', '[')}`" if named else " at the top level"


def _missing_hint(key: str) -> str:
    return {
        "model": "Write `model: provider/model`, such as openai/gpt-5-mini, or openai/* for all of them.",
        "model_providers": "List what can be called, such as `- "
        "{model: openai/*, access_key: $OPENAI_API_KEY}`.",
        "listeners": "Write where clients connect, such as `- {type: model, name: models, port: 12000}`.",
        "target": "Write the name of a model, such as `target: openai/gpt-5-mini`.",
        "agents": "List who can be chosen, such as `- {id: weather, description: Forecasts for any city}`.",
        "command": "Write program and arguments, such as `command: [python, weather.py]`.",
    }.get(key, "")


_TYPES = {
    "string_type": "text (quote a number or a word such as true)",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}


def _sentence(path: KeyPath, detail: ErrorDetails) -> str:
    """Return the mistake in one sentence. A value is shown only where it cannot be a secret."""
    subject = f"`{_last_name(path)}`"
    kind, context = detail["type"], detail.get("ctx", {})
    value = detail["input"]
    if kind in _TYPES:
        return f"{subject} must be {_TYPES[kind]}{_shown(path, value)}."
    if kind == "literal_error":
        expected = context["expected"].replace("False", "false")
        other = " or a mapping" if path[-1:] in {("auth",), ("store",), ("responses",)} else ""
        return f"{subject} must be {expected}{other}{_shown(path, value)}."
    if kind == "union_tag_invalid":
        return f"`type` of {subject} must be {context['expected_tags']}."
    if kind == "union_tag_not_found":
        return f"`type` is missing in {subject}."
    if kind == "value_error":
        return f"{subject}: {context['error']}"
    if kind == "too_short":
        return f"{subject} needs at least one entry."
    if kind == "too_long":
        return f"{subject} has more than {context['max_length']} entries."
    if kind == "greater_than":
        return f"{subject} must be more than {_bound(context['gt'], _measure(path))}{_shown(path, value)}."
    if kind in {"greater_than_equal", "less_than_equal"}:
        bound = context.get("ge", context.get("le"))
        limit = "at least" if kind == "greater_than_equal" else "at most"
        return f"{subject} must be {limit} {_bound(bound, _measure(path))}{_shown(path, value)}."
    return f"{subject}: {detail['msg']}."


DURATIONS = {
    "timeouts",
    "timeout",
    "queue_timeout",
    "keep",
    "window",
    "rest",
    "rest_max",
    "ramp",
    "interval",
    "after",
    "backoff",
    "backoff_max",
}
"""Keys whose numbers are milliseconds."""


def _measure(path: KeyPath) -> str:
    names = {str(part) for part in path}
    if names & DURATIONS:
        return "duration"
    return "size" if names & {"body", "head", "max_size", "max_response_size"} else "number"


def _bound(bound: object, measure: str) -> str:
    if isinstance(bound, int) and measure == "duration":
        return format_duration(max(bound, DURATION_UNITS["ms"]))
    if isinstance(bound, int) and measure == "size":
        return format_size(bound)
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def _last_name(path: KeyPath) -> str:
    names = [part for part in path if isinstance(part, str)]
    if not names:
        return "the file"
    return names[-1] if isinstance(path[-1], str) else f"{names[-1]}[{path[-1]}]"


SECRET_PLACES = {
    "access_key",
    "access_keys",
    "keys",
    "shared",
    "session_cache",
    "auth",
    "headers",
    "aws",
    "google",
}
"""Keys whose values are never shown in a message."""


def _shown(path: KeyPath, value: object) -> str:
    if SECRET_PLACES & set(path) or not isinstance(value, (str, int, float, bool)):
        return ""
    text = repr(value)
    return f", not {text}" if len(text) <= 40 else ""


def _not_served(document: Document, tree: dict[str, Any]) -> list[Problem]:
    """Return a warning for each key of a Plano file that is read and has no effect."""
    paths: list[KeyPath] = []
    _find_not_served(tree, (), tree, paths)
    warnings = []
    for path in paths:
        key = str(path[-1])
        message = f"`{key}` is a key of Plano that Meseta does not serve yet; it has no effect."
        hint = ""
        if key == "max_retries":
            message = "`max_retries` has no effect: a model that is called by its own name is called once."
            hint = "In a `version: 1` file, a pool tries again, at other targets."
        elif key in GUARDS:
            message = (
                f"`{key}` is a key of Plano that Meseta does not serve yet: nothing is guarded or "
                "limited by it."
            )
            hint = "Do not put traffic on this listener that relies on it."
        warnings.append(_as_warning(document.problem("config.not_served", path, message, hint, key=True)))
    return warnings


def _find_not_served(tree: dict[str, Any], path: KeyPath, value: object, found: list[KeyPath]) -> None:
    """Collect the paths of the keys that are read and have no effect; nothing below one is looked at."""
    if isinstance(value, list):
        for number, entry in enumerate(value):
            _find_not_served(tree, (*path, number), entry, found)
    if not isinstance(value, dict):
        return
    section = section_at(PlanoFile, tree, path)
    for key, inner in value.items():
        ignored = section is PlanoOverrides and key not in PlanoOverrides.model_fields
        if ignored or (section is not None and key in NOT_SERVED.get(section, ())):
            found.append((*path, key))
        else:
            _find_not_served(tree, (*path, key), inner, found)


def _as_warning(problem: Problem) -> Problem:
    return Problem(
        problem.code, problem.message, problem.file, problem.line, problem.column, problem.hint, "warning"
    )
