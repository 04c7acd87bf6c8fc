"""The hub half of a file: agents, the listeners that lead to them, preferences, and who chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meseta.config.agents import AgentBuilder
from meseta.config.choosing import ChoosingBuilder, chooses_in_plano, lifted
from meseta.config.model import AgentListener, File
from meseta.config.model_agents import Agent, PlanoAgent
from meseta.config.model_choosing import Chooser, ModelChooser
from meseta.config.orchestration import OrchestrationBuilder
from meseta.config.plano import PlanoFile, PlanoListener

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meseta.config import snapshot
    from meseta.config.choosing import Weights
    from meseta.config.document import Path as KeyPath
    from meseta.config.fleet import AgentSpec
    from meseta.config.load import Loaded
    from meseta.config.problems import Problem
    from meseta.config.references import References

PLANOS_DEADLINE_MS = 10_000
"""How long the model of a Plano file may take to choose, which there has no limit."""


class HubBuilder:
    """Turns it into its resolved form and collects what is wrong with it."""

    def __init__(
        self, loaded: Loaded, environment: Mapping[str, str], references: References, weights: Weights
    ) -> None:
        self.loaded = loaded
        self.references = references
        self._agents = AgentBuilder(loaded, environment)
        self._choosing = ChoosingBuilder(loaded, references, weights)
        self._problems: list[Problem] = []
        self.chooser: dict[str, Any] = {}
        self.keeps = False
        """Whether a listener keeps conversations."""

    @property
    def problems(self) -> list[Problem]:
        """What is wrong."""
        return [*self._agents.problems, *self._choosing.problems, *self._problems]

    @property
    def agents(self) -> list[snapshot.Agent]:
        """The agents as served."""
        return self._agents.agents

    @property
    def targets(self) -> list[snapshot.Target]:
        """The instances of the agents that Meseta does not run."""
        return self._agents.targets

    @property
    def fleet(self) -> list[AgentSpec]:
        """The agents that Meseta runs."""
        return self._agents.fleet

    @property
    def preferences(self) -> list[dict[str, Any]]:
        """The preferences as served."""
        return self._choosing.preferences

    def add(
        self,
        config: File | PlanoFile,
        section: str,
        served: list[snapshot.Listener],
        paths: Sequence[KeyPath],
    ) -> None:
        """Resolve the hub of a file.

        `section` is that of its providers, `paths` where each listener stands. A listener that has nobody to
        ask is taken out of `served`.
        """
        listeners = [
            (listener, config.listeners[int(path[1])], path)
            for listener, path in zip(served, paths, strict=True)
            if listener["type"] == "agent" and isinstance(config.listeners, list)
        ]
        self._add_agents(config, listeners)
        self._choosing.add_preferences(config.routing_preferences)
        if isinstance(config, PlanoFile):
            self._choosing.add_preferences(*lifted(config, section))
        orchestration = OrchestrationBuilder(
            self.loaded, self._choosing, [agent["id"] for agent in self.agents]
        )
        for listener, written, path in listeners:
            if isinstance(written, AgentListener):
                listener["orchestration"] = orchestration.build(written, path)
            elif isinstance(written, PlanoListener):
                listener["orchestration"] = orchestration.build_plano(written, path)
        self._problems += orchestration.problems
        served[:] = [one for one in served if one["type"] == "model" or one["orchestration"] is not None]
        if listeners and not served and self.loaded.complete:
            message = "No listener has anybody to ask, so there is nothing to serve."
            self._problems.append(
                self.loaded.problem("config.missing_key", ("listeners",), message, key=True)
            )
        resolved = [one["orchestration"] for one in served if one["orchestration"] is not None]
        self.keeps = any(one["history"]["mode"] == "keep" for one in resolved)
        needed = bool(self.preferences) or any(len(one["agents"]) > 1 for one in resolved)
        self._choose(config, [path for _, _, path in listeners], needed=needed)

    def _add_agents(
        self, config: File | PlanoFile, listeners: Sequence[tuple[snapshot.Listener, Any, KeyPath]]
    ) -> None:
        agents: Sequence[Agent | PlanoAgent] = config.agents
        for number, agent in enumerate(agents):
            limits = [
                written.timeout
                for _, written, _ in listeners
                if isinstance(written, PlanoListener)
                and written.timeout is not None
                and any(listed.id == agent.id for listed in written.agents)
            ]
            whole = Agent(id=agent.id, url=agent.url) if isinstance(agent, PlanoAgent) else agent
            self._agents.add(whole, ("agents", number), max(limits, default=None))
        for _, written, path in listeners:
            for number, listed in enumerate(written.agents):
                if listed.url is not None:
                    self._agents.add(Agent(id=listed.id, url=listed.url), (*path, "agents", number))

    def _choose(self, config: File | PlanoFile, listeners: Sequence[KeyPath], *, needed: bool) -> None:
        written = config.chooser if isinstance(config, File) else Chooser()
        only_user = config.routing.route_on_user_only
        self.chooser = self._choosing.chooser(written, user_turns_only=only_user, needed=needed)
        if not isinstance(config, PlanoFile):
            return
        model = chooses_in_plano(config, self.references)
        overrides = config.overrides
        if model is not None:
            bounds = {
                "deadline": PLANOS_DEADLINE_MS,
                "context_tokens": overrides.orchestrator_model_context_length,
            }
            settings = ModelChooser(model=model).model_copy(update=bounds)
            self.chooser["model"] = self._choosing.model(settings)
        elif needed:
            self._hosted(config, listeners)

    def _hosted(self, config: PlanoFile, listeners: Sequence[KeyPath]) -> None:
        """Say that nobody is asked whom Plano would ask."""
        places: list[KeyPath] = [
            ("overrides", key)
            for key in ("llm_routing_model", "agent_orchestration_model")
            if getattr(config.overrides, key) is not None
        ]
        places += [("routing_preferences",)] if config.routing_preferences else []
        places += [(*path, "agents") for path in listeners]
        message = (
            "Plano would have a model choose that its makers host. Meseta never asks it: its embedded "
            "chooser takes the place, and no conversation leaves for that."
        )
        hint = "A model chooses if it stands in `model_providers` and `overrides.llm_routing_model` names it."
        path = places[0] if places else ()
        warning = self.loaded.warning("config.changed_default", path, message, hint, key=True)
        self._problems.append(warning)
