"""Labelled rows to evaluate on, read one by one: JSON Lines, JSON, CSV or TSV, in the usual shapes."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

LARGEST_ROW = 1_048_576
"""Characters of one line or field; a longer one is not a turn of a conversation."""
LARGEST_JSON = 256 * 1024 * 1024
"""Bytes of a JSON file, which must be read whole; the other formats are read row by row."""
MOST_LABELS = 64
"""Labels of one row."""

TEXT_KEYS = ("text", "query", "utterance", "prompt", "question", "sentence", "input", "turn")
LABEL_KEYS = ("route", "routes", "label", "labels", "agent", "agents", "intent", "category")
OUT_OF_SCOPE = frozenset({"", "none", "null", "oos", "ood", "out-of-scope", "out_of_scope", "out of scope"})
"""Labels that say that no route fits, unless a route has such a name."""

_FORM = (
    f"A row is an object with one of {', '.join(TEXT_KEYS)} or `messages`, and one of "
    f"{', '.join(LABEL_KEYS)}; in JSON also a pair of text and label."
)


class DatasetError(ValueError):
    """The data cannot be read; `str()` says what is wrong, where, and what to do."""


class Said(NamedTuple):
    """One earlier message of a conversation."""

    role: str
    """`user` or `assistant`."""
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One turn and the routes that are right for it."""

    place: str
    """Where it stands, such as `line 7` or `val[3]`."""
    turn: str
    """What the user says now."""
    thread: tuple[Said, ...]
    """What was said before, oldest first."""
    labels: tuple[str, ...]
    """Names of routes in the order in which they are wanted; empty when none fits."""

    @property
    def key(self) -> str:
        """What two rows have in common that say the same."""
        texts = [said.text for said in self.thread]
        return "\n".join(" ".join(text.casefold().split()) for text in (*texts, self.turn))


@dataclass(frozen=True)
class Dataset:
    """A file of rows, which can be read several times; nothing of it is kept."""

    path: Path
    parts: tuple[str, ...] = ()
    """Of a JSON file with several lists: the names of those to read. Empty: all of them."""

    @classmethod
    def named(cls, text: str) -> Dataset:
        """Return the dataset that `FILE` or `FILE#PART,PART` names."""
        whole = Path(text)
        name, sharp, parts = text.rpartition("#")
        if not sharp or whole.is_file():
            return cls(whole)
        return cls(Path(name), tuple(part.strip() for part in parts.split(",") if part.strip()))

    def __str__(self) -> str:
        return str(self.path) + (f"#{','.join(self.parts)}" if self.parts else "")

    def rows(self) -> Iterator[Row]:
        """Read the rows; raise DatasetError at the first one that cannot be one."""
        kind = self.path.suffix.lower()
        if self.parts and kind != ".json":
            raise DatasetError(f"{self.path}: only a .json file has parts; name the file without `#`.")
        readers = {".json": _json, ".jsonl": _lines, ".ndjson": _lines, ".csv": _table, ".tsv": _table}
        reader = readers.get(kind)
        if reader is None:
            raise DatasetError(f"{self.path}: a dataset is a .jsonl, .json, .csv or .tsv file.")
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as stream:
                yield from reader(self, stream)
        except OSError as error:
            raise DatasetError(f"{self.path} cannot be read: {error.strerror or error}.") from None
        except UnicodeDecodeError:
            raise DatasetError(f"{self.path} is not UTF-8 text. Save it with that encoding.") from None

    def wrong(self, place: str, what: str) -> DatasetError:
        """Return the error for one place of the file."""
        return DatasetError(f"{self.path}, {place}: {what}")


def _lines(dataset: Dataset, stream: TextIO) -> Iterator[Row]:
    number = 0
    while line := stream.readline(LARGEST_ROW + 1):
        number += 1
        if len(line) > LARGEST_ROW:
            raise dataset.wrong(f"line {number}", "the line is longer than 1 MiB.")
        if line.strip():
            yield _row(dataset, f"line {number}", _parse(dataset, f"line {number}", line))


def _json(dataset: Dataset, stream: TextIO) -> Iterator[Row]:
    if dataset.path.stat().st_size > LARGEST_JSON:
        raise DatasetError(f"{dataset.path} is larger than 256 MiB. Write it as JSON Lines (.jsonl).")
    tree = _parse(dataset, "the file", stream.read())
    parts = {"": tree} if isinstance(tree, list) else tree
    if not isinstance(parts, dict) or not all(isinstance(rows, list) for rows in parts.values()):
        raise DatasetError(f"{dataset.path}: the file must be a list of rows, or an object of such lists.")
    unknown = [part for part in dataset.parts if part not in parts]
    if unknown:
        known = ", ".join(str(part) for part in parts) or "no parts"
        raise DatasetError(f"{dataset.path} has no part {unknown[0]!r}; it has {known}.")
    for part, rows in parts.items():
        if dataset.parts and part not in dataset.parts:
            continue
        for number, value in enumerate(rows):
            # {"label": ["text", "text"]} is the other usual shape of an object of lists.
            pair = [value, part] if isinstance(value, str) and part else value
            yield _row(dataset, f"{part}[{number}]", pair)


def _table(dataset: Dataset, stream: TextIO) -> Iterator[Row]:
    csv.field_size_limit(LARGEST_ROW)
    reader = csv.DictReader(stream, delimiter="\t" if dataset.path.suffix.lower() == ".tsv" else ",")
    try:
        names = [name.strip().lower() for name in reader.fieldnames or ()]
        if not set(names) & set(TEXT_KEYS):
            raise DatasetError(
                f"{dataset.path}: no column is called {', '.join(TEXT_KEYS)}; the first line names them."
            )
        reader.fieldnames = names
        for value in reader:
            yield _row(dataset, f"line {reader.line_num}", value)
    except csv.Error as error:
        raise dataset.wrong(f"line {reader.line_num}", f"{error}.") from None


def _parse(dataset: Dataset, place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise dataset.wrong(place, f"this is not JSON: {error}.") from None


def _row(dataset: Dataset, place: str, value: Any) -> Row:
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
        value = {"text": value[0], "label": value[1]}
    if not isinstance(value, dict):
        raise dataset.wrong(place, _FORM)
    text_key = next((key for key in TEXT_KEYS if isinstance(value.get(key), str)), None)
    label_key = next((key for key in LABEL_KEYS if key in value), None)
    if label_key is None:
        raise dataset.wrong(place, f"the row has no label. {_FORM}")
    if isinstance(value.get("messages"), list):
        said = _said(value["messages"])
    elif text_key is not None:
        said = [Said("user", value[text_key])]
    else:
        raise dataset.wrong(place, f"the row has no text. {_FORM}")
    # What follows the last thing that the user said is not there yet when a route is chosen.
    while said and said[-1].role != "user":
        said.pop()
    if not said or not said[-1].text.strip():
        raise dataset.wrong(place, "the row says nothing: its text or its last user message is empty.")
    labels = _labels(value[label_key], several=label_key.endswith("s"))
    if labels is None or len(labels) > MOST_LABELS:
        raise dataset.wrong(
            place, f"`{label_key}` must be the name of a route, or at most {MOST_LABELS} names."
        )
    return Row(place, said[-1].text, tuple(said[:-1]), labels)


def _labels(value: Any, *, several: bool) -> tuple[str, ...] | None:
    if value is None:
        return ()
    if isinstance(value, str):
        value = value.split("|") if several else [value]
    if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
        return None
    return tuple(dict.fromkeys(label.strip() for label in value if label.strip()))


def _said(messages: list[Any]) -> list[Said]:
    """Return what user and assistant said; the text of a message may be in parts."""
    said = []
    for message in messages:
        if isinstance(message, dict) and message.get("role") in {"user", "assistant"}:
            content = message.get("content")
            parts = content if isinstance(content, list) else [{"text": content}]
            texts = [part.get("text") for part in parts if isinstance(part, dict)]
            said.append(Said(message["role"], "\n".join(text for text in texts if isinstance(text, str))))
    return said
