"""YAML text to plain values, with the place of each key and value and bounds on everything.

The tree is built from the parser's events rather than by a loader: that keeps positions, reports every
duplicate key instead of the first, and counts what aliases expand to before it is expanded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from meseta.config.problems import ConfigError, Problem

LARGEST_BYTES = 4 * 1024 * 1024
DEEPEST = 64
MOST_VALUES = 100_000

Path = tuple[str | int, ...]
Place = tuple[int, int]
"""Line and column, both from 1."""

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?", re.ASCII)
HALF_A_CHARACTER = "The text has half of a character (a surrogate), which cannot be written in UTF-8."
_SURROGATE = re.compile("[\ud800-\udfff]")
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS.update({"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False})


@dataclass
class Document:
    """One file: its values and where each of them stands."""

    file: str
    """The path as the user gave it."""
    value: Any = None
    """Dictionaries, lists, text, numbers, booleans and None."""
    places: dict[Path, Place] = field(default_factory=dict)
    """Where each value begins."""
    keys: dict[Path, Place] = field(default_factory=dict)
    """Where the key of each value in a mapping begins."""
    problems: list[Problem] = field(default_factory=list)
    """What is wrong but did not stop the reading: duplicate keys and keys that are not text."""

    def problem(self, code: str, path: Path, message: str, hint: str = "", *, key: bool = False) -> Problem:
        """Return an error at the value (with `key`: at the key) of `path`, or at its nearest parent."""
        line, column = self._place(path, key=key)
        return Problem(code, message, self.file, line, column, hint)

    def _place(self, path: Path, *, key: bool) -> Place:
        tables = (self.keys, self.places) if key else (self.places, self.keys)
        for end in range(len(path), -1, -1):
            for table in tables:
                if path[:end] in table:
                    return table[path[:end]]
        return (1, 1)


@dataclass
class _Scalar:
    place: Place
    text: str
    plain: bool


@dataclass
class _Sequence:
    place: Place
    items: list[_Node] = field(default_factory=list)


@dataclass
class _Mapping:
    place: Place
    entries: list[tuple[_Node, _Node]] = field(default_factory=list)
    key: _Node | None = None


_Node = _Scalar | _Sequence | _Mapping


def read_document(content: bytes, file: str) -> Document:
    """Parse the bytes of one YAML file; raise ConfigError when it cannot be read as YAML at all."""
    text = _decode(content, file)
    root = _Builder(file).build(text)
    document = Document(file)
    if root is not None:
        document.value = _Converter(document).convert(root, (), 0)
    return document


def _decode(content: bytes, file: str) -> str:
    if len(content) > LARGEST_BYTES:
        raise _stop(
            file, "config.too_large", (0, 0), "The file is larger than 4 MiB, which no configuration is."
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        raise _stop(
            file,
            "config.syntax",
            (line, column),
            "The file is not UTF-8 text.",
            "Save it with the encoding UTF-8.",
        ) from None


def _stop(file: str, code: str, place: Place, message: str, hint: str = "") -> ConfigError:
    return ConfigError([Problem(code, message, file, place[0], place[1], hint)])


class _Builder:
    """Events to nodes. Anchored nodes are shared, not copied; the converter counts what that expands to."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: _Node | None = None
        self.open: list[_Sequence | _Mapping] = []
        self.anchors: dict[str, _Node] = {}
        self.documents = 0

    def build(self, text: str) -> _Node | None:
        try:
            for count, event in enumerate(YAML(typ="safe", pure=True).parse(text)):
                if count > 2 * MOST_VALUES:
                    message = f"The file has more than {MOST_VALUES:,} values."
                    raise _stop(self.file, "config.too_large", _place(event), message)
                self._take(event)
        except ConfigError:
            raise
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
            raise _stop(self.file, "config.syntax", place, _sentence(error), _advice(error)) from None
        except ReaderError as error:
            before = text[: error.position]
            place = (before.count("\n") + 1, len(before) - before.rfind("\n"))
            raise _stop(self.file, "config.syntax", place, "The file has a control character.") from None
        except (
            YAMLError,
            ArithmeticError,
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
            AssertionError,
        ):
            # The parser raises bare exceptions on some malformed input; to a user they all mean the same.
            raise _stop(self.file, "config.syntax", (0, 0), "The file is not valid YAML.") from None
        return self.root

    def _take(self, event: Any) -> None:
        if isinstance(event, DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise _stop(
                    self.file, "config.syntax", _place(event), "The file has more than one YAML document."
                )
        elif isinstance(event, (SequenceEndEvent, MappingEndEvent)):
            self.open.pop()
        elif isinstance(event, NodeEvent):
            self._node(event)

    def _node(self, event: Any) -> None:
        place = _place(event)
        if isinstance(event, AliasEvent):
            node = self.anchors.get(event.anchor)
            if node is None:
                raise _stop(
                    self.file, "config.syntax", place, f"The alias *{event.anchor} has no anchor before it."
                )
            if any(node is parent for parent in self.open):
                raise _stop(self.file, "config.syntax", place, f"The alias *{event.anchor} contains itself.")
            self._add(node)
            return
        if event.tag is not None:
            message = f"The tag {event.tag} is not supported."
            raise _stop(self.file, "config.syntax", place, message, "Write the plain value without a tag.")
        if isinstance(event, ScalarEvent):
            node = _Scalar(place, event.value, event.implicit[0])
        elif isinstance(event, SequenceStartEvent):
            node = _Sequence(place)
        else:
            node = _Mapping(place)
        self._add(node)
        if event.anchor:
            self.anchors[event.anchor] = node
        if not isinstance(node, _Scalar):
            if len(self.open) >= DEEPEST:
                raise _stop(
                    self.file, "config.too_large", place, f"The file is nested deeper than {DEEPEST} levels."
                )
            self.open.append(node)

    def _add(self, node: _Node) -> None:
        if not self.open:
            self.root = node
            return
        parent = self.open[-1]
        if isinstance(parent, _Sequence):
            parent.items.append(node)
        elif parent.key is None:
            parent.key = node
        else:
            parent.entries.append((parent.key, node))
            parent.key = None


class _Converter:
    """Nodes to plain values; fills the document's places and problems."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.values = 0

    def convert(self, node: _Node, path: Path, depth: int) -> Any:
        self._count(node, depth)
        self.document.places[path] = node.place
        if isinstance(node, _Scalar):
            if _SURROGATE.search(node.text):
                self._problem("config.invalid_value", node.place, HALF_A_CHARACTER)
                return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", node.text)
            return _scalar(node)
        if isinstance(node, _Sequence):
            return [self.convert(item, (*path, index), depth + 1) for index, item in enumerate(node.items)]
        mapping: dict[str, Any] = {}
        merged: list[_Node] = []
        for key_node, value_node in node.entries:
            key = self._key(key_node, path)
            if key == "<<" and isinstance(key_node, _Scalar) and key_node.plain:
                merged.append(value_node)
            elif key is not None:
                self._entry(mapping, key, key_node, value_node, path, depth)
        for source in merged:
            self._merge(mapping, source, path, depth)
        return mapping

    def _entry(
        self, mapping: dict[str, Any], key: str, key_node: _Node, value_node: _Node, path: Path, depth: int
    ) -> None:
        here = (*path, key)
        if key in mapping:
            first = self.document.keys[here][0]
            message = f"The key {key!r} is written twice; the first one is on line {first}."
            self._problem("config.duplicate", key_node.place, message)
            return
        self.document.keys[here] = key_node.place
        mapping[key] = self.convert(value_node, here, depth + 1)

    def _merge(self, mapping: dict[str, Any], source: _Node, path: Path, depth: int) -> None:
        """Take the keys that are still missing from the mapping (or mappings) after `<<`."""
        for origin in source.items if isinstance(source, _Sequence) else [source]:
            self._count(origin, depth)
            if not isinstance(origin, _Mapping):
                self._problem(
                    "config.invalid_value", origin.place, "After << stands a mapping, or a list of mappings."
                )
                continue
            for key_node, value_node in origin.entries:
                key = self._key(key_node, path)
                if key == "<<":
                    self._merge(mapping, value_node, path, depth + 1)
                elif key is not None and key not in mapping:
                    self._entry(mapping, key, key_node, value_node, path, depth)

    def _key(self, node: _Node, path: Path) -> str | None:
        if isinstance(node, _Scalar):
            self._count(node, len(path))
            if _SURROGATE.search(node.text):
                self._problem("config.invalid_value", node.place, HALF_A_CHARACTER)
                return None
            return node.text
        self._problem("config.invalid_value", node.place, "A key must be text.")
        return None

    def _count(self, node: _Node, depth: int) -> None:
        self.values += 1
        if self.values > MOST_VALUES:
            message = f"The file has more than {MOST_VALUES:,} values once its aliases are expanded."
            raise _stop(self.document.file, "config.too_large", node.place, message)
        if depth > DEEPEST:
            message = f"The file is nested deeper than {DEEPEST} levels once its aliases are expanded."
            raise _stop(self.document.file, "config.too_large", node.place, message)

    def _problem(self, code: str, place: Place, message: str) -> None:
        self.document.problems.append(Problem(code, message, self.document.file, *place))


def _scalar(node: _Scalar) -> str | int | float | bool | None:
    """Return a plain scalar by the core schema of YAML 1.2; anything quoted is text."""
    text = node.text
    if not node.plain:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and len(text) < 40:
        return float(text)
    return text


def _place(event: Any) -> Place:
    return (event.start_mark.line + 1, event.start_mark.column + 1)


def _sentence(error: MarkedYAMLError) -> str:
    problem = " ".join(str(error.problem or error.context or "it cannot be parsed").split())
    return f"The file is not valid YAML: {problem[:200].rstrip('.')}."


def _advice(error: MarkedYAMLError) -> str:
    text = str(error.problem)
    if "\\t" in text or "tab" in text:
        return "Indent with spaces; YAML does not allow tabs."
    if "mapping values are not allowed" in text:
        return "Check the indentation, and quote a value that contains a colon and a space."
    if "could not find expected ':'" in text:
        return "Put a colon and a space after the key."
    return ""
