"""Where what a file says about agents and choosing comes to nothing, or to less than whoever wrote it thinks.

Warnings all of them: the file can be served as it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meseta.config.model import AgentListener, File
from meseta.config.model_choosing import When
from meseta.config.plano import PlanoListener
from meseta.config.providers import SIMULATOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meseta.config.document import Path as KeyPath
    from meseta.config.load import Loaded
    from meseta.config.model_choosing import ListenedAgent, Preference, Rule
    from meseta.config.plano import PlanoFile
    from meseta.config.problems import Problem
    from meseta.config.snapshot import Price, Snapshot

MOST_NAMED = 5
"""More names than this in one sentence help nobody."""


class Effects:
    """Looks for it in one file and what became of it."""

    def __init__(self, loaded: Loaded, config: File | PlanoFile, document: Snapshot) -> None:
        self.loaded = loaded
        self.config = config
        self.document = document
        self.problems: list[Problem] = []

    def look(self) -> list[Problem]:
        """Return what was found."""
        written = self.config.listeners
        for number, listener in enumerate(written if isinstance(written, list) else []):
            path: KeyPath = ("listeners", number)
            if isinstance(listener, AgentListener):
                self._strategy(listener, path)
                self._rules(listener.rules, (*path, "rules"))
                self._agents(listener.agents, (*path, "agents"))
            elif isinstance(listener, PlanoListener) and listener.type == "agent":
                self._agents(listener.agents, (*path, "agents"))
        self._preferences(self.config.routing_preferences)
        if isinstance(self.config, File):
            self._rules(self.config.chooser.rules, ("chooser", "rules"))
            self._unlisted(self.config)
        return self.problems

    def _strategy(self, listener: AgentListener, path: KeyPath) -> None:
        for key in ("parallel", "supervise"):
            if key != listener.strategy and self.loaded.has((*path, key)):
                message = f"`{key}` has no effect, because the strategy is {listener.strategy}."
                hint = f"Write `strategy: {key}`, or remove the key."
                self._warn("config.no_effect", (*path, key), message, hint, key=True)
        if listener.strategy != "supervise":
            return
        if len(listener.agents) > 1 and self.document["chooser"]["model"] is None:
            message = (
                "No model judges who is needed next, so that the agents that were chosen at first have their "
                "turns."
            )
            hint = "Write `chooser: {model: NAME}`."
            self._warn("config.no_effect", (*path, "strategy"), message, hint)
        if listener.supervise.usd is not None and not self._has_catalogue():
            self._budget((*path, "supervise", "usd"))

    def _budget(self, path: KeyPath) -> None:
        targets = [one for one in self.document["targets"] if one["name"] not in self._instances()]
        if not any(_is_known(one["price"]) for one in targets):
            message = "No model of this file has a known price, so that `usd` never ends anything."
        else:
            real = [one for one in targets if one["provider"] != SIMULATOR]
            unknown = [one["name"] for one in real if not _is_known(one["price"])]
            if not unknown:
                return
            message = f"Calls of {_listed(unknown)} do not count against `usd`, as their price is not known."
        hint = "Name the models in `model_providers` instead of wildcards, or write their `price`."
        self._warn("config.no_price", path, message, hint)

    def _instances(self) -> set[str]:
        return {member["target"] for agent in self.document["agents"] for member in agent["pool"]["members"]}

    def _has_catalogue(self) -> bool:
        return any(source.type == "cost" for source in self.config.model_metrics_sources)

    def _rules(self, rules: Sequence[Rule], path: KeyPath) -> None:
        """Name the rules that no request comes to."""
        before: list[Rule] = []
        for number, rule in sorted(enumerate(rules), key=lambda one: -one[1].priority):
            first = next((one for one in before if one.when in (When(), rule.when)), None)
            if first is not None:
                how = "holds for every request" if first.when == When() else "asks for the same"
                other = first.name[:80]
                message = f"The rule {rule.name[:80]!r} is never looked at: {other!r} goes first and {how}."
                hint = "Give it a higher `priority`, or remove it."
                self._warn("config.no_effect", (*path, number, "name"), message, hint)
            before.append(rule)

    def _agents(self, agents: Sequence[ListenedAgent], path: KeyPath) -> None:
        # Who is asked when nobody else was chosen need not say what for.
        described = [
            (agent.id, (*path, number, "id"), agent.description, agent.examples)
            for number, agent in enumerate(agents)
            if not agent.default
        ]
        if len(agents) > 1:
            self._descriptions("agent", described)

    def _preferences(self, preferences: Sequence[Preference]) -> None:
        described = [
            (one.name, ("routing_preferences", number, "name"), one.description, one.examples)
            for number, one in enumerate(preferences)
        ]
        if len(preferences) > 1:
            self._descriptions("preference", described)
        for number, one in enumerate(preferences):
            if one.selection_policy.prefer == "cheapest" and len(one.models) > 1:
                self._cheapest(one, ("routing_preferences", number, "selection_policy", "prefer"))

    def _cheapest(self, preference: Preference, path: KeyPath) -> None:
        unknown = [model for model in preference.models if not self._is_priced(model)]
        if not unknown or self._has_catalogue():
            return
        if len(unknown) == len(preference.models):
            message = "No price is known of any of these models, so that they stay in the order of the file."
        else:
            message = f"No price is known of {_listed(unknown)}, so that what has one goes first."
        hint = "Write the `price` of the entry in `model_providers`."
        self._warn("config.no_price", path, message, hint)

    def _is_priced(self, model: str) -> bool:
        """Whether it can be compared; a pool is as cheap as the cheapest of its members."""
        prices = {one["name"]: one["price"] for one in self.document["targets"]}
        pool = next((pool for pool in self.document["pools"] if pool["name"] == model), None)
        names = (
            [member["target"] for member in pool["members"]]
            if pool is not None
            else [self.document["names"].get(model, model)]
        )
        return any(_is_known(prices.get(name)) for name in names)

    def _descriptions(self, noun: str, described: Sequence[tuple[str, KeyPath, str, list[str]]]) -> None:
        chooser = self.document["chooser"]
        if chooser["embedded"] is None and chooser["model"] is None:
            return
        hint = "Say what people ask for, in their words; a few `examples` help as much."
        silent = [
            (name, path) for name, path, text, examples in described if not text.strip() and not examples
        ]
        if silent:
            names = _listed([name for name, _ in silent])
            message = f"Nothing but the name says when a conversation is for {names}."
            self._warn("config.undescribed", silent[0][1], message, hint)
        seen: dict[str, str] = {}
        for name, path, text, examples in described:
            same = repr((" ".join(text.lower().split()), sorted(examples)))
            if not text.strip():
                continue
            if same in seen:
                message = f"The {noun} {name[:80]!r} has the description of {seen[same][:80]!r}."
                self._warn("config.undescribed", path, message, hint)
            seen.setdefault(same, name)

    def _unlisted(self, config: File) -> None:
        """Name the agents that nobody can be brought to. One with a token may be there to ask others."""
        if not self.loaded.complete:
            return
        listed = {
            agent.id
            for listener in config.listeners
            if isinstance(listener, AgentListener)
            for agent in listener.agents
        }
        for number, agent in enumerate(config.agents):
            if agent.id not in listed and agent.token is None:
                message = f"No listener lists the agent {agent.id!r}, so that nobody asks it."
                hint = "Add it to `agents` of a listener of type `agent`."
                self._warn("config.no_effect", ("agents", number, "id"), message, hint)

    def _warn(self, code: str, path: KeyPath, message: str, hint: str, *, key: bool = False) -> None:
        self.problems.append(self.loaded.warning(code, path, message, hint, key=key))


def _is_known(price: Price | None) -> bool:
    return price is not None and price["input"] is not None and price["output"] is not None


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:80]) for name in names[:MOST_NAMED])
    more = len(names) - MOST_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
