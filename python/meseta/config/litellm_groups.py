"""LiteLLM's groups of deployments as entries, pools, aliases and fallbacks.

In LiteLLM every `model_name` is a group. Here a group is an entry of that name, or a pool of that name when
there is more to it: several deployments, tries, or fallbacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from meseta.config.imported import mapping, plain
from meseta.config.providers import BY_NAME
from meseta.config.targets import is_usable_name
from meseta.config.traffic import Cause

if TYPE_CHECKING:
    from meseta.config.imported import Importer
    from meseta.config.litellm_models import Deployment, Section

STRATEGIES = {
    "simple-shuffle": "weighted",
    "least-busy": "least_busy",
    "latency-based-routing": "least_latency",
    "cost-based-routing": "cheapest",
    "usage-based-routing": "least_busy",
    "usage-based-routing-v2": "least_busy",
}
INEXACT = {"usage-based-routing", "usage-based-routing-v2"}
"""Strategies whose counterpart looks at something else."""

ANY: tuple[str, ...] = get_args(Cause)
SPECIAL = {"context_window_fallbacks": "context_length", "content_policy_fallbacks": "content_policy"}
EVERY_GROUP = "*"


class GroupBuilder:
    """Turns deployments into the sections of the new file that name models."""

    def __init__(
        self, importer: Importer, deployments: list[Deployment], router: Section, litellm: Section
    ) -> None:
        self.importer = importer
        self.note = importer.note
        self.router, self.litellm = router, litellm
        self.entries: list[dict[str, Any]] = []
        self.aliases: dict[str, dict[str, str]] = {}
        self.pools: list[dict[str, Any]] = []
        self.groups: dict[str, list[Deployment]] = {}
        """By name; those behind wildcards are not among them."""
        self._wildcards: set[str] = set()
        """The providers of which every model can be called."""
        self._ways: dict[str, list[str]] = {}
        """To which pools each pool falls back."""
        for deployment in deployments:
            if "*" in deployment.group or deployment.entry["model"].endswith("/*"):
                self._wildcard(deployment)
            elif not is_usable_name(deployment.group):
                self.note("dropped", deployment.path, "`model_name` is no name that can travel in a header.")
            else:
                self.groups.setdefault(deployment.group, []).append(deployment)

    def build(self, default: str | None) -> None:
        """Fill the sections; `default` is the group that answers requests without a model."""
        fallbacks = self._fallbacks()
        retries = self._retries()
        aliases = self._aliases()
        pooled = {
            group
            for group, deployments in self.groups.items()
            if len(deployments) > 1
            or retries
            or group in fallbacks
            or any(one.retries for one in deployments)
        }
        for group, deployments in self.groups.items():
            self._name(group, deployments, pooled=group in pooled)
        for group in self.groups:
            if group in pooled:
                pool = self._pool(group, retries, fallbacks.get(group, {}), pooled, aliases)
                self.pools.append(pool)
        for alias, group in aliases.items():
            if group in pooled:
                # An alias leads to a model; another name for a pool is a pool like it.
                same = next(pool for pool in self.pools if pool["name"] == group)
                self.pools.append({**same, "name": alias})
            else:
                self.aliases[alias] = {"target": group}
        self._default(default, pooled)

    def _wildcard(self, deployment: Deployment) -> None:
        """Take an entry for every model of a provider, which clients name as `provider/model`."""
        entry, path = deployment.entry, deployment.path
        provider, _, model = entry["model"].partition("/")
        wanted, slash, rest = deployment.group.partition("/")
        if model != "*" or (deployment.group != "*" and (not slash or rest != "*")):
            self.note(
                "dropped", path, "A star stands for every model of a provider, and only as `provider/*`."
            )
            return
        if deployment.group == "*":
            self.note("changed", path, f"Clients write {provider}/MODEL; a model alone does not lead here.")
        elif wanted != provider:
            row = BY_NAME.get(provider)
            base = entry.get("base_url") or (row.base_url if row is not None else None)
            if wanted in BY_NAME or base is None:
                self.note("changed", path, f"Clients write {provider}/MODEL, not {deployment.group}.")
            else:
                entry = {**entry, "model": deployment.group, "provider_interface": provider, "base_url": base}
                provider = wanted
        if provider in self._wildcards:
            self.note("dropped", path, f"There is an entry for every model of {provider} already.")
            return
        self._wildcards.add(provider)
        self.entries.append(entry)

    def _name(self, group: str, deployments: list[Deployment], *, pooled: bool) -> None:
        taken = {entry.get("name", entry["model"]) for entry in self.entries} | set(self.groups)
        number = 0
        for deployment in deployments:
            name = group
            while pooled and name in taken:
                number += 1
                name = f"{group}-{number}"
            taken.add(name)
            model = deployment.entry.pop("model")
            deployment.entry = {"model": model, "name": name, **deployment.entry}
            self.entries.append(deployment.entry)

    def _pool(
        self,
        group: str,
        retries: float | None,
        fallbacks: dict[str, list[str]],
        pooled: set[str],
        aliases: dict[str, str],
    ) -> dict[str, Any]:
        deployments = self.groups[group]
        own = next((one.retries for one in deployments if one.retries is not None), retries)
        return mapping(
            name=group,
            select=self._strategy() if len(deployments) > 1 else None,
            targets=self._targets(deployments),
            fallback=self._targets_of_fallbacks(group, fallbacks, pooled, aliases) or None,
            retry={"attempts": int(min(own, 19)) + 1} if own is not None else None,
        )

    def _targets(self, deployments: list[Deployment]) -> list[Any]:
        weights = [one.weight for one in deployments] if self._strategy() is None else []
        largest = max((weight for weight in weights if weight), default=0.0)
        # A weight is at most a million here, and tokens per minute are often more.
        scale = max(largest / 1_000_000, 1e-9) if largest > 1_000_000 else 1.0
        targets = []
        for one in deployments:
            weight = plain(one.weight / scale) if one.weight and len(set(weights)) > 1 else None
            member = mapping(model=one.entry["name"], weight=weight or None, priority=one.order or None)
            targets.append(member if len(member) > 1 else one.entry["name"])
        if largest and not all(weights):
            message = (
                "LiteLLM never calls deployments without a weight beside weighted ones; here they weigh 1."
            )
            self.note("changed", deployments[0].path, message)
        return targets

    def _strategy(self) -> str | None:
        written = self.router.text("routing_strategy")
        if written is None:
            return None
        path = (*self.router.path, "routing_strategy")
        if written not in STRATEGIES:
            self.note(
                "changed", path, f"The strategy {written[:60]!r} is not known; targets are taken by weight."
            )
        elif written in INEXACT:
            self.note(
                "changed", path, f"{written!r} is `least_busy`: requests under way count, not tokens used."
            )
        found = STRATEGIES.get(written, "weighted")
        return found if found != "weighted" else None

    def _retries(self) -> float | None:
        first, second = self.router.number("num_retries"), self.litellm.number("num_retries")
        return second if first is None else first

    def _aliases(self) -> dict[str, str]:
        """Return the group that each alias means."""
        found = {}
        for section, key in ((self.router, "model_group_alias"), (self.litellm, "model_alias_map")):
            written = section.take(key)
            for alias, value in written.items() if isinstance(written, dict) else ():
                target = value.get("model") if isinstance(value, dict) else value
                path = (*section.path, key, alias)
                if alias in self.groups or not is_usable_name(str(alias)):
                    self.note("dropped", path, "The alias has the name of a model, or no usable one.")
                elif str(target) in self.groups:
                    found[str(alias)] = str(target)
                else:
                    self.note(
                        "dropped",
                        path,
                        f"The alias means {str(target)[:80]!r}, which is not in `model_list`.",
                    )
        return found

    # Fallbacks

    def _fallbacks(self) -> dict[str, dict[str, list[str]]]:
        """Return for each group its fallbacks by cause."""
        general = self._lists("fallbacks")
        special = {cause: self._lists(key) for key, cause in SPECIAL.items()}
        usual = self._names("default_fallbacks") or general.pop(EVERY_GROUP, [])
        found: dict[str, dict[str, list[str]]] = {}
        for group in self.groups:
            own = {cause: lists[group] for cause, lists in special.items() if group in lists}
            others = [name for name in general.get(group, usual) if name != group]
            by_cause = {cause: others for cause in ANY if cause not in own} if others else {}
            if own or by_cause:
                found[group] = {cause: (own | by_cause)[cause] for cause in ANY if cause in own | by_cause}
        for key, lists in (("fallbacks", general), *zip(SPECIAL, special.values(), strict=True)):
            for group in lists:
                if group not in self.groups:
                    message = (
                        f"{group[:80]!r} is not in `model_list`, so that its fallbacks belong to nothing."
                    )
                    self.note("dropped", self._path(key), message)
        return found

    def _lists(self, key: str) -> dict[str, list[str]]:
        """Read `[{group: [names]}, ...]`, which may stand in either section; that of the router wins."""
        found: dict[str, list[str]] = {}
        for section in (self.litellm, self.router):
            written = section.take(key)
            parts = written if isinstance(written, list) else [written]
            for part in parts:
                for group, names in part.items() if isinstance(part, dict) else ():
                    found[str(group)] = self._texts(names, (*section.path, key))
        return found

    def _names(self, key: str) -> list[str]:
        first, second = self.router.take(key), self.litellm.take(key)
        return self._texts(second if first is None else first, self._path(key))

    def _texts(self, value: Any, path: tuple[str | int, ...]) -> list[str]:
        names = value if isinstance(value, list) else [value] if isinstance(value, str) else []
        if any(not isinstance(name, str) for name in names):
            self.note("dropped", path, "A fallback is a name; its own messages or parameters are not sent.")
        return list(dict.fromkeys(name for name in names if isinstance(name, str)))

    def _path(self, key: str) -> tuple[str | int, ...]:
        section = self.router if key in self.router.values else self.litellm
        return (*section.path, key)

    def _targets_of_fallbacks(
        self, group: str, by_cause: dict[str, list[str]], pooled: set[str], aliases: dict[str, str]
    ) -> list[Any]:
        """Return the fallbacks of one pool, each target once with all its causes."""
        causes: dict[str, list[str]] = {}
        for cause, names in by_cause.items():
            for name in names:
                for target in self._reached(group, aliases.get(name, name), pooled):
                    causes.setdefault(target, []).append(cause)
        return [
            target if len(found) == len(ANY) else {"to": target, "on": list(dict.fromkeys(found))}
            for target, found in causes.items()
        ]

    def _reached(self, group: str, name: str, pooled: set[str]) -> list[str]:
        """Return what stands for the fallback `name` of a pool: itself, unless it leads back to the pool."""
        if name == group:
            return []
        if name not in self.groups:
            provider, slash, _ = name.partition("/")
            if slash and provider in self._wildcards:
                return [name]
            self.note(
                "dropped", self._path("fallbacks"), f"The fallback {name[:80]!r} is not in `model_list`."
            )
            return []
        if name not in pooled:
            return [name]
        if self._leads(name, group):
            message = f"{name!r} falls back to {group!r} in its turn, so that only its deployments are asked."
            self.note("changed", self._path("fallbacks"), message)
            return [one.entry["name"] for one in self.groups[name]]
        if name not in self._ways.setdefault(group, []):
            self._ways[group].append(name)
        return [name]

    def _leads(self, start: str, end: str) -> bool:
        """Whether one pool's fallbacks, or theirs, lead to another one."""
        seen, open_ends = {start}, [start]
        while open_ends:
            for following in self._ways.get(open_ends.pop(), ()):
                if following == end:
                    return True
                if following not in seen:
                    seen.add(following)
                    open_ends.append(following)
        return False

    def _default(self, default: str | None, pooled: set[str]) -> None:
        if default is None:
            return
        if default not in self.groups:
            message = f"The model {default[:80]!r} is not in `model_list`."
            self.note("dropped", ("general_settings", "completion_model"), message)
        elif default in pooled:
            next(pool for pool in self.pools if pool["name"] == default)["default"] = True
        else:
            self.groups[default][0].entry["default"] = True
