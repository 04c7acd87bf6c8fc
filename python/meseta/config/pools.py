"""Pools as written to pools as served: every name found, every default filled in, no circle of fallbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meseta.config.calls import CallSettings
from meseta.config.targets import is_usable_name
from meseta.config.traffic import Fallback, Hedge, Member, Pool, PoolTimeouts, Retry
from meseta.config.units import LONGEST_MS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from meseta.config import snapshot
    from meseta.config.document import Path as KeyPath
    from meseta.config.load import Loaded
    from meseta.config.problems import Problem
    from meseta.config.references import References

OWNER = "meseta"
"""Who owns a pool in the list of models."""

HEDGE_MINIMUM_MS = 50
"""A second target is never asked earlier, however quick the first one usually is."""


class PoolBuilder:
    """Turns pools into their resolved form and collects what is wrong with them."""

    def __init__(
        self, loaded: Loaded, references: References, retry: Retry, aliases: Collection[str]
    ) -> None:
        self.loaded = loaded
        self.references = references
        self.naming = references.naming
        self.retry = retry
        """What holds where a pool does not say."""
        self.aliases = aliases
        self.problems: list[Problem] = []
        self.calls = CallSettings(loaded, self.problems)
        self.pools: list[snapshot.Pool] = []
        self._ways: dict[str, list[tuple[str, KeyPath]]] = {}
        """From each pool to the pools that it falls back to, and where that is written."""

    def add_all(self, pools: Sequence[Pool]) -> None:
        """Resolve the pools of a file."""
        seen: set[str] = set()
        for number, pool in enumerate(pools):
            path: KeyPath = ("pools", number)
            if not is_usable_name(pool.name):
                message = "`name` must be ASCII without control characters or outer spaces, and not empty."
                self._error("config.invalid_value", (*path, "name"), message)
            elif pool.name in seen:
                self._error("config.duplicate", (*path, "name"), f"There is a pool {pool.name!r} already.")
            else:
                seen.add(pool.name)
                self._add(pool, path)
        for number, pool in enumerate(pools):
            # Only now: a member or a fallback may have made a name of a model behind a wildcard.
            self._check_name(pool.name, ("pools", number, "name"))
        # A pool may have the name of a model behind a wildcard, and is then what clients get.
        self.naming.catalog = [row for row in self.naming.catalog if row["id"] not in seen]
        self.naming.catalog += [{"id": pool["name"], "owned_by": OWNER} for pool in self.pools]
        self._check_circles()

    def _add(self, pool: Pool, path: KeyPath) -> None:
        members = self._members(pool, path)
        if pool.hedge is not None and len(pool.targets) < 2:
            message = "A hedge asks a second target of the pool, and this one has only one."
            self._error(
                "config.conflict", (*path, "hedge"), message, "Add a target or remove the key.", key=True
            )
        if pool.default and self.naming.default is not None:
            message = f"The default is {self.naming.default!r} already."
            self._error(
                "config.conflict", (*path, "default"), message, "Keep `default: true` on one of them."
            )
        elif pool.default:
            self.naming.default = pool.name
        self.pools.append(
            {
                "name": pool.name,
                "select": pool.select,
                "members": members,
                "fallback": self._fallbacks(pool, path),
                "retry": self._retry(pool, path),
                "hedge": _hedge(pool.hedge),
                "resume": pool.resume,
                "affinity": pool.affinity,
                "timeouts": self._timeouts(pool.timeouts, path),
            }
        )

    def _members(self, pool: Pool, path: KeyPath) -> list[dict[str, Any]]:
        members: dict[str, dict[str, Any]] = {}
        for number, written in enumerate(pool.targets):
            here = (*path, "targets", number)
            member = written if isinstance(written, Member) else Member(model=written)
            there = (*here, "model") if member is written else here
            if member.model in self.naming.pools:
                message = f"{member.model[:80]!r} is a pool, and the targets of a pool are models."
                hint = "Name its models here, or name the pool under `fallback`."
                self._error("config.unknown_reference", there, message, hint)
                continue
            target = self.references.target(member.model, there)
            if target is None:
                continue
            if target in members:
                message = f"The pool has the target {target!r} already."
                hint = "Keep one of them; `weight` gives it a larger share."
                self._error("config.duplicate", there, message, hint)
                continue
            members[target] = {
                "target": target,
                "model": None,
                "weight": member.weight,
                "priority": member.priority,
            }
        return list(members.values())

    def _fallbacks(self, pool: Pool, path: KeyPath) -> list[dict[str, Any]]:
        fallbacks: list[dict[str, Any]] = []
        causes: dict[str, set[str]] = {}
        for number, written in enumerate(pool.fallback):
            here = (*path, "fallback", number)
            fallback = written if isinstance(written, Fallback) else Fallback(to=written)
            there = (*here, "to") if fallback is written else here
            if fallback.to in self.naming.pools:
                self._ways.setdefault(pool.name, []).append((fallback.to, there))
            elif self.references.target(fallback.to, there) is None:
                continue
            known = causes.setdefault(fallback.to, set())
            if known & set(fallback.on):
                message = f"{fallback.to[:80]!r} is asked for {sorted(known & set(fallback.on))[0]} already."
                self._error("config.duplicate", there, message, "Remove one of the two.")
            known |= set(fallback.on)
            fallbacks.append({"name": fallback.to, "on": list(dict.fromkeys(fallback.on))})
        return fallbacks

    def _retry(self, pool: Pool, path: KeyPath) -> dict[str, Any]:
        written = pool.retry
        own = {} if written is None else {key: getattr(written, key) for key in written.model_fields_set}
        retry = self.retry.model_copy(update=own)
        return self.calls.retry(retry, (*path, "retry"), check=written is not None)

    def _timeouts(self, limits: PoolTimeouts | None, path: KeyPath) -> dict[str, int] | None:
        if limits is None:
            return None
        if limits.first_token is not None and limits.total is not None and limits.first_token > limits.total:
            message = "`first_token` is longer than `total`."
            self._error("config.conflict", (*path, "timeouts"), message, "Make one of them fit.", key=True)
        # Both count only where they are tighter than those of the target.
        return {"first_token_ms": limits.first_token or LONGEST_MS, "total_ms": limits.total or LONGEST_MS}

    def _check_name(self, name: str, path: KeyPath) -> None:
        if name in self.naming.wildcards.values():
            message = f"The name {name!r} is that of an entry already."
        elif name in self.aliases:
            message = f"The name {name!r} is that of an alias already."
        elif name in self.naming.spare:
            del self.naming.names[name]
            return
        elif name in self.naming.names:
            message = f"The pool {name!r} would hide the model {self.naming.names[name]!r}."
        else:
            return
        self._error("config.conflict", path, message, "Choose another name for the pool.")

    def _check_circles(self) -> None:
        """Refuse fallbacks that lead back: a request would go round until its time is up."""
        done: set[str] = set()
        for start in self._ways:
            # Not recursive, because a hostile file may have thousands of pools in a row.
            trail = dict.fromkeys([start] if start not in done else [])
            ways = [iter(self._ways[name]) for name in trail]
            while ways:
                for following, path in ways[-1]:
                    if following in trail:
                        names = list(trail)
                        self._circle(names[names.index(following) :], path)
                    elif following not in done:
                        trail[following] = None
                        ways.append(iter(self._ways.get(following, ())))
                        break
                else:
                    ways.pop()
                    done.add(trail.popitem()[0])

    def _circle(self, names: list[str], path: KeyPath) -> None:
        shown = names if len(names) <= 6 else [*names[:5], "…", names[-1]]
        way = " → ".join([*shown, names[0]])
        message = f"This fallback leads back to where it began: {way}."
        self._error("config.conflict", path, message, "Remove one fallback of the circle.")

    def _error(self, code: str, path: KeyPath, message: str, hint: str = "", *, key: bool = False) -> None:
        self.problems.append(self.loaded.problem(code, path, message, hint, key=key))


def _hedge(hedge: Hedge | None) -> dict[str, float] | None:
    if hedge is None:
        return None
    return {"after_ms": hedge.after, "minimum_ms": HEDGE_MINIMUM_MS, "spend_percent": hedge.spend}
