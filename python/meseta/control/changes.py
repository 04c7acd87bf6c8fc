"""What one resolved configuration would change in another, and which of it a running plane cannot take.

Secrets are compared and never shown: `redact` decides what a secret is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from meseta.config.secrets import MASK
from meseta.config.snapshot import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from meseta.config.snapshot import Snapshot

NEEDS_RESTART = {
    "log": "store",
    "responses": "responses",
    "shared": "shared",
    "histories": "conversations",
}
"""Sections of the snapshot that `Plane.swap` refuses to change, and the key of the file that each comes from.

The native plane enforces it and this table announces it; a test holds them together.
"""

BY_ENTRY = ("names", "wildcards")
"""Sections that are maps of names, of which each entry is a thing of its own."""

IDENTITIES = ("name", "id", "target")
"""What tells the entries of a list apart, the first that all of them have and none of them shares."""

BY_PLACE = ("credentials",)
"""Lists whose entries are told apart by their place alone: all keys of a target go into the same header."""

_USER_IN_URL = re.compile(r"://[^/\s]*@")
_ABSENT = object()

Address = tuple[str, int]


@dataclass(frozen=True)
class KeyChange:
    """One value that differs; a secret is `***` on both sides."""

    path: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Change:
    """One thing (a target, a listener, a name, a section without names) that differs."""

    section: str
    name: str
    """Empty for a section that is one thing."""
    kind: Literal["added", "removed", "changed", "reordered"]
    keys: list[KeyChange] = field(default_factory=list)
    refused: str = ""
    """Why a running plane cannot take it; empty when it takes effect at once."""


@dataclass(frozen=True)
class Comparison:
    """Everything that differs between two configurations."""

    old: str
    new: str
    """What people call the two."""
    changes: list[Change]
    warnings: list[dict[str, Any]] = field(default_factory=list)
    """What is odd about the new one."""

    @property
    def refused(self) -> list[Change]:
        """The changes that need a restart."""
        return [change for change in self.changes if change.refused]


def changes(old: Snapshot, new: Snapshot, bound: Mapping[str, Address] | None = None) -> list[Change]:
    """Return what differs, section by section in the order of the document.

    `bound` has the address and port that each listener of `old` really has, where it serves.
    """
    before, after = _veil(dict(old), dict(redact(old))), _veil(dict(new), dict(redact(new)))
    moves = _port_moves(old, new, bound or {})
    found: list[Change] = []
    for section in {**before, **after}:
        refused = ""
        if section in NEEDS_RESTART:
            refused = f"`{NEEDS_RESTART[section]}` cannot change while the plane serves"
        for name, kind, keys in _section(section, before.get(section), after.get(section)):
            why = moves.get(name, "") if section == "listeners" else refused
            found.append(Change(section, name, kind, keys, why))
    return found


def _section(
    section: str, old: Any, new: Any
) -> Iterator[tuple[str, Literal["added", "removed", "changed", "reordered"], list[KeyChange]]]:
    before, after = _things(section, old), _things(section, new)
    if before is None or after is None:
        keys = list(_leaves("", old, new))
        if keys:
            yield "", "changed", keys
        return
    for name in before:
        if name not in after:
            yield name, "removed", []
    for name, thing in after.items():
        if name not in before:
            yield name, "added", []
            continue
        keys = list(_leaves("", before[name], thing))
        if keys:
            yield name, "changed", keys
    if isinstance(new, list) and before.keys() == after.keys() and list(before) != list(after):
        yield "", "reordered", []


def _things(section: str, value: Any) -> dict[str, Any] | None:
    """Return a section's things by name, or None when the section is one thing."""
    if section in BY_ENTRY and isinstance(value, dict):
        return value
    return _by_identity(value)


def _by_identity(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        return None
    for identity in IDENTITIES:
        names = [entry.get(identity) for entry in value]
        if all(isinstance(name, str) for name in names) and len(set(names)) == len(names):
            return dict(zip(map(str, names), value, strict=True))
    return None


def _leaves(path: str, old: Any, new: Any) -> Iterator[KeyChange]:
    """Yield the values that differ, as deep down as both sides have the same shape."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            inner = f"{path}.{key}" if path else str(key)
            yield from _leaves(inner, old.get(key, _ABSENT), new.get(key, _ABSENT))
        return
    entries = _by_identity(old), _by_identity(new)
    if entries[0] and entries[1] and path not in BY_PLACE:
        for name in {**entries[0], **entries[1]}:
            yield from _leaves(
                f"{path}[{name}]", entries[0].get(name, _ABSENT), entries[1].get(name, _ABSENT)
            )
        return
    if isinstance(old, list) and isinstance(new, list) and any(isinstance(one, dict) for one in old + new):
        for number in range(max(len(old), len(new))):
            one = old[number] if number < len(old) else _ABSENT
            other = new[number] if number < len(new) else _ABSENT
            yield from _leaves(f"{path}[{number}]", one, other)
        return
    if old != new:
        yield KeyChange(path, _shown(old), _shown(new))


class _Veiled:
    """A secret that can be compared. One that was not fetched equals everything: nobody knows what it is."""

    __slots__ = ("_value",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Any) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        unknown = self._value == MASK or (isinstance(other, _Veiled) and other._value == MASK)
        return unknown or (isinstance(other, _Veiled) and self._value == other._value)

    def __repr__(self) -> str:
        return MASK


def _veil(value: Any, redacted: Any) -> Any:
    """Return `value` with a veil over what differs in its redacted copy."""
    if isinstance(value, dict) and isinstance(redacted, dict) and value.keys() == redacted.keys():
        veiled = {key: _veil(inner, redacted[key]) for key, inner in value.items()}
        if any(inner == MASK for inner in value.values() if isinstance(inner, str)):
            # A credential that is fetched when it is served: its other parts are as unknown as this one.
            veiled = {key: _Veiled(MASK) if inner is None else inner for key, inner in veiled.items()}
        return veiled
    if isinstance(value, list) and isinstance(redacted, list) and len(value) == len(redacted):
        return [_veil(inner, shown) for inner, shown in zip(value, redacted, strict=True)]
    secret = redacted == MASK or redacted != value
    return _Veiled(value) if secret or _has_user(value) else value


def _has_user(value: object) -> bool:
    return isinstance(value, str) and _USER_IN_URL.search(value) is not None


def _shown(value: Any) -> Any:
    if value is _ABSENT:
        return None
    if isinstance(value, _Veiled):
        return MASK
    if isinstance(value, list):
        return [_shown(inner) for inner in value]
    if isinstance(value, dict):
        return {key: _shown(inner) for key, inner in value.items()}
    return value


def _port_moves(old: Snapshot, new: Snapshot, bound: Mapping[str, Address]) -> dict[str, str]:
    """Return the listeners of `new` whose address cannot be opened while the sockets of `old` are open."""
    asked = {(listener["address"], listener["port"]) for listener in old["listeners"]}
    open_now = [
        bound.get(listener["name"], (listener["address"], listener["port"])) for listener in old["listeners"]
    ]
    moves = {}
    for listener in new["listeners"]:
        address, port = listener["address"], listener["port"]
        if port == 0 or (address, port) in asked:
            continue
        for other in open_now:
            if other[1] == port and _overlap(other[0], address):
                moves[listener["name"]] = (
                    f"the plane has port {port} open at {other[0]} already, which {address} would need"
                )
                break
    return moves


def _overlap(one: str, other: str) -> bool:
    """Whether two addresses cannot both have a socket on one port; `::` takes IPv4 with it."""
    both = {one, other}
    return one == other or "::" in both or ("0.0.0.0" in both and not any(":" in side for side in both))  # noqa: S104


def bound_addresses(listeners: Sequence[Mapping[str, Any]]) -> dict[str, Address]:
    """Return where each listener of `stats` is really bound, by name."""
    return {listener["name"]: (listener["address"], listener["port"]) for listener in listeners}
