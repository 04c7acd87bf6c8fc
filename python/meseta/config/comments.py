"""The comments of one YAML file, to be put into another one that was made from it.

A block of comments belongs to what stands below it, one at the end of a line to what stands on that line.
When that is gone, so is the comment.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from meseta.config.document import Document, read_document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meseta.config.document import Path as KeyPath

_BLOCK_SCALAR = re.compile(r"(?:^|[\s:-])[|>][+-]?[1-9]?[+-]?\s*(?:#.*)?$")


class Comments:
    """What was said beside the values of a tree, which may be changed: its parts keep their comments."""

    def __init__(self, text: str, document: Document) -> None:
        parts = list(_parts(document.value, ()))
        self._kept = [value for _, value in parts]
        """Kept alive, so that nothing new gets the identity of something that was taken out."""
        self._places = {id(value): path for path, value in parts}
        """The path that each mapping and list of the tree had."""
        self._above: dict[KeyPath, list[str]] = {}
        self._beside: dict[KeyPath, str] = {}
        self._below: dict[KeyPath, list[tuple[int, str]]] = {}
        """Comments that are further to the right than what follows, with their indentation."""
        first, last = _lines(document)
        block: list[tuple[int, str]] = []
        before: KeyPath = ()
        for number, line, comment, indent in _read(text):
            if comment and not line:
                block.append((indent, comment))
            elif line:
                inner = [part for part in block if part[0] > indent]
                if inner and before:
                    self._below[before] = inner
                if number in first:
                    self._above[first[number]] = [said for deep, said in block if deep <= indent]
                block = []
                before = last.get(number, before)
                if comment and number in last:
                    self._beside[last[number]] = comment
        if block and before:
            self._below[before] = block

    def put_into(self, text: str, tree: Any) -> str:
        """Return a text, which is the changed tree as YAML, with the comments that still have a place."""
        document = read_document(text.encode(), "the new file")
        first, last = _lines(document)
        old = dict(self._old_paths(tree, ()))
        lines = []
        for number, line in enumerate(text.splitlines(), 1):
            start = first.get(number)
            indent = " " * (len(line) - len(line.lstrip(" ")))
            if start is not None and len(start) == 1 and number > 1:
                lines.append("")
            if start is not None:
                lines += [indent + comment for comment in self._above.get(old.get(start, ("",)), [])]
            beside = self._beside.get(old.get(last[number], ("",))) if number in last else None
            lines.append(f"{line} {beside}" if beside else line)
            if number in last:
                lines += [
                    " " * deep + said for deep, said in self._below.get(old.get(last[number], ("",)), [])
                ]
        return "\n".join(lines) + "\n"

    def before(self, tree: Any, path: KeyPath) -> KeyPath:
        """Return the path that something in the changed tree had; empty when it is new."""
        return dict(self._old_paths(tree, ())).get(path, ())

    def _old_paths(self, value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, KeyPath]]:
        """Pair the paths of the changed tree with those that the same things had before."""
        before = self._places.get(id(value))
        if isinstance(value, dict):
            children: list[tuple[str | int, Any]] = list(value.items())
        else:
            children = list(enumerate(value)) if isinstance(value, list) else []
        for key, inner in children:
            here = (*path, key)
            known = self._places.get(id(inner))
            if known is not None:
                yield here, known
            elif before is not None and not isinstance(inner, (dict, list)):
                yield here, (*before, key)
            yield from self._old_paths(inner, here)


def _parts(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, (dict, list)):
        yield path, value
        children: Any = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in children:
            yield from _parts(inner, (*path, key))


def _lines(document: Document) -> tuple[dict[int, KeyPath], dict[int, KeyPath]]:
    """Return for each line the outermost and the innermost thing that begins on it."""
    first: dict[int, KeyPath] = {}
    last: dict[int, KeyPath] = {}
    starts: dict[KeyPath, int] = {path: line for path, (line, _) in document.places.items() if path}
    starts.update({path: line for path, (line, _) in document.keys.items()})
    for path, line in starts.items():
        if line not in first or len(path) < len(first[line]):
            first[line] = path
        if line not in last or len(path) >= len(last[line]):
            last[line] = path
    return first, last


def _read(text: str) -> Iterator[tuple[int, str, str, int]]:
    """Split each line into what it says, its comment, and its indentation.

    Lines inside of a block of text have no comment.
    """
    deeper: int | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        indent = len(raw) - len(raw.lstrip(" "))
        if deeper is not None and (not raw.strip() or indent > deeper):
            yield number, raw.strip(), "", indent
            continue
        deeper = indent if _BLOCK_SCALAR.search(raw) else None
        place = _comment_start(raw)
        said, comment = (raw, "") if place is None else (raw[:place], raw[place:].rstrip())
        yield number, said.strip(), comment, indent


def _comment_start(line: str) -> int | None:
    """Return where the comment of a line begins: at a # after white space and outside of quotes."""
    quote = ""
    for place, character in enumerate(line):
        if quote:
            if character == quote and not (quote == '"' and line[place - 1] == "\\"):
                quote = ""
        elif character in "'\"" and line[:place].rstrip(" ")[-1:] in {"", ":", ",", "[", "{", "-"}:
            quote = character
        elif character == "#" and (place == 0 or line[place - 1] in " \t"):
            return place
    return None
