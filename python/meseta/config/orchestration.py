"""What a listener of type agent does with a conversation, as written to as served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meseta.config.model import AgentListener
from meseta.config.model_choosing import History, ListenedAgent, ModelMerge
from meseta.config.sections import nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from meseta.config.choosing import ChoosingBuilder
    from meseta.config.document import Path as KeyPath
    from meseta.config.load import Loaded
    from meseta.config.plano import PlanoListener
    from meseta.config.problems import Problem


class OrchestrationBuilder:
    """Turns it into its resolved form and collects what is wrong with it."""

    def __init__(self, loaded: Loaded, choosing: ChoosingBuilder, agents: Collection[str]) -> None:
        self.loaded = loaded
        self.choosing = choosing
        self.agents = agents
        """The ids of the agents of the file."""
        self.problems: list[Problem] = []

    def build(self, listener: AgentListener, path: KeyPath) -> dict[str, Any]:
        """Return what a listener of a `version: 1` file does."""
        listed = [agent.id for agent in listener.agents]
        rules = self.choosing.rules(listener.rules, (*path, "rules"), self._is_listed(listed))
        parallel, supervise = listener.parallel, listener.supervise
        merge = parallel.merge
        if isinstance(merge, ModelMerge):
            self.choosing.references.model(merge.model, (*path, "parallel", "merge", "model"))
            merged = {"type": "model", "model": merge.model, "prompt": merge.prompt}
        else:
            merged = {"type": "template", "text": merge.text}
            if "{answer}" not in merge.text:
                message = "The text has no {answer}, so that no answer would reach anybody."
                self._error("config.invalid_value", (*path, "parallel", "merge", "text"), message)
        several = min(len(listener.agents), listener.most)
        if listener.strategy == "parallel" and parallel.quorum > several:
            message = f"`quorum` wants {parallel.quorum} answers, and at most {several} can be asked."
            hint = "Write a smaller number, or 0 for all of them."
            if several < len(listener.agents):
                hint = f"Write a smaller number, or more than {several} as `most`."
            self._error("config.conflict", (*path, "parallel", "quorum"), message, hint)
        if supervise.final is not None:
            self.choosing.references.model(supervise.final, (*path, "supervise", "final"))
        written = listener.history
        history = written if isinstance(written, History) else History(mode=written)
        return {
            "strategy": listener.strategy,
            "agents": self._listed(listener.agents, path),
            "default": self._default(listener.agents, path),
            "most": listener.most,
            "rules": rules,
            "depth": listener.depth,
            "parallel": {"deadline_ms": parallel.deadline, "quorum": parallel.quorum, "merge": merged},
            "supervise": {
                "steps": supervise.steps,
                "ms": supervise.timeout,
                "usd": supervise.usd,
                "final": supervise.final,
            },
            "history": {"mode": history.mode, "messages": history.messages, "tokens": history.tokens},
        }

    def build_plano(self, listener: PlanoListener, path: KeyPath) -> dict[str, Any] | None:
        """Return what a listener of a Plano file does, which is to chain; None when it has no agents.

        Plano starts with a listener that names an agent which is not there; every request for it fails.
        """
        known = [agent for agent in listener.agents if agent.id in self.agents or self._excused()]
        for number, agent in enumerate(listener.agents):
            if agent not in known:
                message = f"No agent of this file has the id {agent.id!r}; it is left out."
                here = (*path, "agents", number, "id")
                self.problems.append(self.loaded.warning("config.unknown_reference", here, message))
        if not known:
            message = f"The listener {listener.name!r} has nobody to ask, so that it is not served."
            self.problems.append(self.loaded.warning("config.missing_key", path, message))
            return None
        written = AgentListener(name=listener.name, type="agent", port=0, agents=list(known))
        return self.build(written, path)

    def _listed(self, written: Sequence[ListenedAgent], path: KeyPath) -> list[dict[str, Any]]:
        seen: dict[str, dict[str, Any]] = {}
        for number, agent in enumerate(written):
            here = (*path, "agents", number, "id")
            if agent.id in seen:
                message = f"The listener has the agent {agent.id!r} already."
                self._error("config.duplicate", here, message)
            elif agent.id not in self.agents and not self._excused():
                near = nearest(agent.id, self.agents)
                hint = f"Did you mean {near!r}?" if near else "Add it to `agents`."
                message = f"No agent of this file has the id {agent.id!r}."
                self._error("config.unknown_reference", here, message, hint)
            seen[agent.id] = {
                "id": agent.id,
                "description": agent.description.strip(),
                "examples": list(agent.examples),
            }
        return list(seen.values())

    def _default(self, written: Sequence[ListenedAgent], path: KeyPath) -> str:
        marked = [(number, agent.id) for number, agent in enumerate(written) if agent.default]
        for number, _ in marked[1:]:
            message = f"The default is {marked[0][1]!r} already."
            here = (*path, "agents", number, "default")
            self._error("config.conflict", here, message, "Keep `default: true` on one of them.")
        return marked[0][1] if marked else written[0].id

    def _is_listed(self, listed: Sequence[str]) -> Any:
        def check(name: str, path: KeyPath) -> None:
            if name in listed:
                return
            near = nearest(name, listed)
            hint = f"Did you mean {near!r}?" if near else f"Its agents are: {', '.join(listed[:20])}."
            message = f"The listener has no agent {name[:80]!r}."
            self._error("config.unknown_reference", path, message, hint)

        return check

    def _excused(self) -> bool:
        """Whether agents could not even be read, so that any may be missing for that."""
        return "agents" in self.loaded.kept or (not self.loaded.complete and not self.agents)

    def _error(self, code: str, path: KeyPath, message: str, hint: str = "") -> None:
        self.problems.append(self.loaded.problem(code, path, message, hint))
