"""What clients may write as `model`, and which target each name leads to.

A target's own name wins, then the `provider/model` that was written, then the bare model id. A bare id that
several targets share is no name at all, and one that contains a slash never is: `openai/gpt-4o` behind
OpenRouter must not be taken for OpenAI's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meseta.config import snapshot
from meseta.config.sections import nearest
from meseta.config.targets import Entry, is_usable_name

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from meseta.config.load import Loaded
    from meseta.config.model import Alias
    from meseta.config.problems import Problem


class Naming:
    """The tables `names`, `wildcards`, `default` and `catalog`, and what is wrong with them."""

    def __init__(
        self, loaded: Loaded, *, complete: bool, broken: set[str], pools: Collection[str] = ()
    ) -> None:
        self.loaded = loaded
        self.complete = complete
        """False when entries could not even be read; any name may then be missing for that."""
        self.broken = broken
        """Names of entries that were left out because of other mistakes: they are not unknown."""
        self.pools = pools
        """Names of the pools of the file."""
        self.problems: list[Problem] = []
        self.targets: list[snapshot.Target] = []
        self.names: dict[str, str] = {}
        self.wildcards: dict[str, str] = {}
        self.default: str | None = None
        self.catalog: list[dict[str, str]] = []
        self.spare: set[str] = set()
        """Short names of entries that have a `name` of their own: a pool may take one for itself."""
        self._ambiguous: set[str] = set()
        self._patterns: dict[str, Entry] = {}
        """The wildcard entry of each provider."""

    def add_entries(self, entries: list[Entry]) -> None:
        """Name every target."""
        unique = self._without_duplicates(entries)
        self.targets = [entry.target for entry in unique]
        concrete = [entry for entry in unique if not entry.wildcard]
        for entry in concrete:
            self.names[entry.target["name"]] = entry.target["name"]
        self._share([(entry.written, entry) for entry in concrete if entry.named], "names")
        bare = [(entry.target["model"], entry) for entry in concrete if "/" not in entry.target["model"]]
        self._share(bare, "model ids")
        self.catalog = [
            {"id": entry.target["name"], "owned_by": entry.target["provider"]} for entry in concrete
        ]
        listed = {row["id"] for row in self.catalog}
        self.catalog += [
            row for row in snapshot.catalog_of_wildcards(self.targets) if row["id"] not in listed
        ]

    def _without_duplicates(self, entries: list[Entry]) -> list[Entry]:
        seen: dict[str, Entry] = {}
        default: Entry | None = None
        for entry in entries:
            name, provider = entry.target["name"], entry.target["provider"]
            if name in seen:
                key = "name" if entry.named else "model"
                message = f"The name {name!r} is taken by the entry on line {self._line(seen[name])}."
                self._error(
                    "config.duplicate", (*entry.path, key), message, "Give one of them a `name` of its own."
                )
                continue
            if entry.wildcard and provider in self.wildcards:
                message = f"There is a wildcard for {provider} already."
                self._error("config.duplicate", (*entry.path, "model"), message, "Keep one of them.")
                continue
            if entry.default and default is not None:
                message = f"The entry on line {self._line(default)} is the default already."
                self._error(
                    "config.conflict",
                    (*entry.path, "default"),
                    message,
                    "Keep `default: true` on one of them.",
                )
            elif entry.default:
                default, self.default = entry, name
            if entry.wildcard:
                self.wildcards[provider], self._patterns[provider] = name, entry
            seen[name] = entry
        return list(seen.values())

    def _share(self, offers: list[tuple[str, Entry]], noun: str) -> None:
        """Give each name that one target alone offers to that target."""
        offered: dict[str, list[Entry]] = {}
        for name, entry in offers:
            offered.setdefault(name, []).append(entry)
        for name, entries in offered.items():
            if name in self.names:
                continue
            if len(entries) == 1:
                self.names[name] = entries[0].target["name"]
                if entries[0].named:
                    self.spare.add(name)
                continue
            self._ambiguous.add(name)
            if name in self.pools:
                continue  # then it is the name of the pool, and means all of them
            full = " or ".join(entry.target["name"] for entry in entries[:4])
            message = (
                f"{name!r} is offered by {len(entries)} entries, so it is not among the {noun} that "
                "clients may use."
            )
            hint = f"Clients write {full}; an alias can choose one."
            self.problems.append(
                self.loaded.warning("config.ambiguous_name", (*entries[1].path, "model"), message, hint)
            )

    def add_aliases(self, aliases: Mapping[str, Alias]) -> None:
        """Name every alias, after the targets."""
        taken: dict[str, str] = {}
        for name, alias in aliases.items():
            path = ("model_aliases", name)
            if not is_usable_name(name):
                message = "An alias must be ASCII without control characters or outer spaces."
                self._error("config.invalid_value", path, message, key=True)
                continue
            found = self.find(alias.target)
            if found is None:
                if alias.target in self.pools:
                    message = f"{alias.target[:80]!r} is a pool; an alias must lead to a model."
                    hint = "Clients may send the name of the pool itself."
                    self._error("config.unknown_reference", (*path, "target"), message, hint)
                elif not self.is_excused(alias.target):
                    self._unknown(alias.target, (*path, "target"), aliases)
                continue
            if self.names.get(name, found) != found:
                message = f"The alias {name!r} would hide the model {self.names[name]!r}."
                self._error("config.conflict", path, message, "Choose another name for the alias.", key=True)
                continue
            if name not in self.names:
                taken[name] = found
        self.names.update(taken)
        owners = {target["name"]: target["provider"] for target in self.targets}
        listed = {row["id"] for row in self.catalog}
        self.catalog += [
            {"id": name, "owned_by": owners[found]} for name, found in taken.items() if name not in listed
        ]

    def find(self, wanted: str) -> str | None:
        """Return the target that a name leads to; a model behind a wildcard becomes a target of its own."""
        if wanted in self.names:
            return self.names[wanted]
        provider, slash, model = wanted.partition("/")
        if (
            not slash
            or not model
            or model == "*"
            or not is_usable_name(wanted)
            or provider not in self.wildcards
        ):
            return None
        self.targets.append(self._patterns[provider].concrete(wanted, model))
        self.names[wanted] = wanted
        if all(row["id"] != wanted for row in self.catalog):
            self.catalog.append({"id": wanted, "owned_by": provider})
        return wanted

    def is_excused(self, wanted: str) -> bool:
        """Whether an unknown name may be unknown for another mistake, which is said elsewhere."""
        broken = wanted in self.broken or f"{wanted.partition('/')[0]}/*" in self.broken
        return broken or not self.complete

    def is_wildcard(self, wanted: str) -> bool:
        """Whether a name is that of an entry for every model of a provider."""
        return wanted in self.wildcards.values() or wanted.endswith("/*")

    def is_ambiguous(self, wanted: str) -> bool:
        """Whether several entries offer this model id."""
        return wanted in self._ambiguous

    def _unknown(self, wanted: str, path: tuple[str | int, ...], aliases: Mapping[str, Alias]) -> None:
        shown = wanted[:80]
        if wanted in aliases:
            message = f"{shown!r} is an alias; an alias must lead to a model, not to another alias."
            hint = f"Write `target: {aliases[wanted].target[:80]}`."
        elif wanted in self._ambiguous:
            message = f"{shown!r} is offered by several entries."
            hint = "Write provider/model, or the name of the entry."
        else:
            message = f"No entry of `model_providers` is called {shown!r}, and no wildcard matches it."
            near = nearest(wanted, self.names)
            hint = f"Did you mean {near!r}?" if near else "Add it to `model_providers`."
        self._error("config.unknown_reference", path, message, hint)

    def _line(self, entry: Entry) -> int:
        return self.loaded.problem("config.duplicate", entry.path, "").line

    def _error(
        self, code: str, path: tuple[str | int, ...], message: str, hint: str = "", *, key: bool = False
    ) -> None:
        self.problems.append(self.loaded.problem(code, path, message, hint, key=key))
