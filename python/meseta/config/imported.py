"""What importers of other systems' files have in common: notes, names for secrets, and the finished text.

Nothing that was a secret in clear text leaves here: it becomes a reference, and whatever else repeats it,
such as a comment, is masked.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from meseta.config.document import read_document
from meseta.config.endpoint import read_base_url
from meseta.config.environment import gather
from meseta.config.load import load_bytes
from meseta.config.problems import ConfigError, Problem
from meseta.config.resolve import resolve_loaded
from meseta.config.secrets import MASK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from meseta.config.comments import Comments
    from meseta.config.document import Document
    from meseta.config.document import Path as KeyPath

Kind = Literal["translated", "changed", "dropped", "unguarded", "to do"]

NO_SECRET = frozenset(
    {"", "none", "null", "empty", "dummy", "fake", "fake-key", "not-needed", "anything", "na"}
)
"""Values of a key that people write where none is needed."""

SHORTEST_MASKED = 6

_REFERENCE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))", re.ASCII)
_KEY_LIKE = re.compile(
    r"\b(?:sk|pk|gsk|xai|rk|hf|ghp|nvapi)[-_][A-Za-z0-9_-]{8,}|\bAKIA[A-Z0-9]{12,}|\bAIza[A-Za-z0-9_-]{20,}"
    r"|\beyJ[A-Za-z0-9_-]{10,}[A-Za-z0-9_.-]*",
    re.ASCII,
)
"""Tokens that the usual providers give out, wherever they stand."""
_CREDENTIAL_NAME = re.compile(
    r"authorization|api[-_]?key|token|secret|password|cookie|credential", re.IGNORECASE
)


@dataclass(frozen=True)
class Note:
    """One thing that people should know about what became of their file."""

    kind: Kind
    message: str
    line: int = 0
    """Line in the original file; 0 when it belongs to none."""


@dataclass(frozen=True)
class Imported:
    """A `version: 1` file out of another one."""

    text: str
    notes: list[Note]
    variables: list[str]
    """Environment variables that the new file refers to."""
    problems: list[Problem]
    """What `meseta check` will say of it, apart from variables that are not set."""

    @property
    def valid(self) -> bool:
        """Whether the new file can be served once its variables are set."""
        return all(problem.severity != "error" for problem in self.problems)


@dataclass
class Importer:
    """Collects what importing one file brings about."""

    document: Document
    environment: Mapping[str, str]
    """For addresses that stand in variables, which a configuration cannot refer to."""
    notes: list[Note] = field(default_factory=list)
    _names: dict[str, str] = field(default_factory=dict, repr=False)
    """The variable that stands for each secret in clear text."""
    _taken: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, content: bytes, file: str, environment: Mapping[str, str] | None) -> Importer:
        """Read the original file, and this process's environment where none is given.

        Raises ConfigError when it is not YAML at all.
        """
        document = read_document(content, file)
        if any(problem.severity == "error" for problem in document.problems):
            raise ConfigError(document.problems)
        return cls(document, os.environ if environment is None else environment)

    def note(self, kind: Kind, path: KeyPath, message: str) -> None:
        """Note something about a place of the original file; the same is not said twice of one line."""
        keys = self.document.keys
        end = next(
            (end for end in range(len(path), 0, -1) if path[:end] in keys or path[:end] in self._places), 0
        )
        line = (keys.get(path[:end]) or self._places.get(path[:end]) or (0, 0))[0]
        note = Note(kind, message, line)
        if note not in self.notes:
            self.notes.append(note)

    @property
    def _places(self) -> dict[KeyPath, tuple[int, int]]:
        return self.document.places

    def secret(self, value: Any, usual: str, path: KeyPath) -> str:
        """Return what stands for a secret: the reference that it is, or a new one for clear text."""
        text = str(value).strip()
        found = _REFERENCE.fullmatch(text)
        if found is not None:
            return f"${found.group(1) or found.group(2)}"
        if text.lower() in NO_SECRET:
            return "none"
        if text not in self._names:
            self._names[text] = self._free(usual)
            message = f"The secret in clear text is not copied. Put it into the variable {self._names[text]}."
            self.note("to do", path, message)
        return f"${self._names[text]}"

    def reserve(self, tree: Any) -> None:
        """Keep the variables that the original file refers to from getting another meaning."""
        self._taken |= set(referred(tree))

    def _free(self, usual: str) -> str:
        name, number = usual, 2
        while name in self._taken:
            name, number = f"{usual}_{number}", number + 1
        self._taken.add(name)
        return name

    def address(self, value: Any, path: KeyPath) -> str:
        """Return an address without credentials, and with the variables in it put in.

        A configuration has neither there.
        """
        text = str(value).strip()
        names = referred(text)
        filled = _REFERENCE.sub(
            lambda found: self.environment.get(found.group(1) or found.group(2), ""), text
        )
        scheme, mark, rest = filled.partition("://")
        before, at, after = rest.partition("@")
        if mark and at and "/" not in before:
            filled = f"{scheme}://{after}"
            self.note("to do", path, "The address had a user or password, which is not copied.")
        bare, question, query = filled.partition("?")
        if question and names_credential(query):
            filled = bare
            self.note(
                "to do", path, "The address had a credential after the question mark, which is not copied."
            )
        if not names:
            return filled
        try:
            read_base_url(filled, "")
        except ValueError:
            host = re.sub(r"[^a-z0-9]+", "-", names[0].lower()).strip("-") or "unknown"
            self.note("to do", path, f"The address is in ${names[0]}, which has none here. Write it instead.")
            return f"https://{host}.invalid"
        self.note("changed", path, f"The address was in ${names[0]}; a configuration has the address itself.")
        return filled

    def finish(self, tree: Any, folder: Path, comments: Comments | None = None) -> Imported:
        """Write the new file and check it; keys that it cannot have are taken out, and named."""
        text = self._text(tree, comments)
        for _ in range(100):
            loaded = load_bytes(text.encode(), "the new file", folder)
            unknown = [
                problem
                for problem in loaded.problems
                if problem.code in {"config.unknown_key", "config.not_served"}
            ]
            places = {place: path for path, place in loaded.document.keys.items()}
            paths = [
                places[problem.line, problem.column] for problem in unknown if problem.severity == "error"
            ]
            if not paths:
                break
            for path in paths:
                before = comments.before(tree, path) if comments is not None else ()
                _remove(tree, path)
                self.note("dropped", before, f"`{path[-1]}` has no counterpart in Meseta{_within(path)}.")
            text = self._text(tree, comments)
        variables = sorted(referred(loaded.document.value, secrets_only=True))
        environment = dict.fromkeys(variables, "not-set-yet") | gather(folder, self.environment)
        try:
            problems = resolve_loaded(loaded, environment=environment).warnings
        except ConfigError as error:
            problems = error.problems
        return Imported(text, self.notes, variables, problems)

    def _text(self, tree: Any, comments: Comments | None) -> str:
        stream = io.StringIO()
        writer = YAML(typ="rt")
        writer.width = 1_000_000  # a folded line would part a value from its comment
        writer.indent(mapping=2, sequence=4, offset=2)
        writer.dump(_with_blocks(tree), stream)
        text = stream.getvalue()
        if comments is not None:
            text = comments.put_into(text, tree)
        else:
            text = re.sub(r"\n(?=[a-z_]+:)", "\n\n", text)
        for secret in sorted(self._names, key=len, reverse=True):
            # A short one is a common word; masking it everywhere would spoil the file.
            if len(secret) >= SHORTEST_MASKED:
                text = text.replace(secret, MASK)
        return _KEY_LIKE.sub(MASK, text)


def names_credential(name: str) -> bool:
    """Whether a header or key of this name holds a credential."""
    return _CREDENTIAL_NAME.search(name) is not None


def referred(tree: Any, *, secrets_only: bool = False) -> list[str]:
    """Return the variables that the texts of a tree refer to, each once.

    With `secrets_only` those of texts that are nothing but a reference, or an address with one inside.
    """
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list):
        return list(
            dict.fromkeys(name for value in tree for name in referred(value, secrets_only=secrets_only))
        )
    if not isinstance(tree, str) or (secrets_only and not (_REFERENCE.fullmatch(tree) or "://" in tree)):
        return []
    return list(dict.fromkeys(braced or plain for braced, plain in _REFERENCE.findall(tree)))


def mapping(**values: Any) -> dict[str, Any]:
    """Return a mapping in this order without the values that are None."""
    return {key: value for key, value in values.items() if value is not None}


def plain(number: float) -> int | float:
    """Return a number without digits that mean nothing."""
    rounded = round(number, 6)
    return int(rounded) if rounded == int(rounded) else rounded


def _with_blocks(tree: Any) -> Any:
    """Return a copy in which texts of several lines are written as such."""
    if isinstance(tree, dict):
        return {key: _with_blocks(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_with_blocks(value) for value in tree]
    return LiteralScalarString(tree) if isinstance(tree, str) and "\n" in tree else tree


def _remove(tree: Any, path: KeyPath) -> None:
    for part in path[:-1]:
        tree = tree[part]
    del tree[path[-1]]


def _within(path: KeyPath) -> str:
    names = [part for part in path[:-1] if isinstance(part, str)]
    return f" in `{'.'.join(names)}`" if names else ""
