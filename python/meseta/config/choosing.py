"""Rules, preferences and the choosers, as written to as served."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from meseta.config.headers import check_header
from meseta.config.model_choosing import Chooser, EmbeddedChooser, ModelChooser, Preference, SelectionPolicy
from meseta.config.plano import PlanoFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from meseta.config.document import Path as KeyPath
    from meseta.config.load import Loaded
    from meseta.config.model_choosing import Rule
    from meseta.config.problems import Problem
    from meseta.config.references import References

    Weights = Callable[[], tuple[Path, Path] | None]
    """Says where the weights and the tokenizer of the embedded chooser are, if they are installed."""

_PLANOS_OWN = re.compile(r"plano-orchestrator|arch-router", re.IGNORECASE)
"""Models that were made with Plano's prompt."""

_BEYOND_REGEX = re.compile(r"(?<!\\)(?:\\\\)*(?:\(\?<?[=!]|\(\?>|\\[1-9])")
"""Look-around, atomic groups and back-references, which the plane's regular expressions do not have."""


class ChoosingBuilder:
    """Turns what a file says about choosing into its resolved form and collects what is wrong with it."""

    def __init__(self, loaded: Loaded, references: References, weights: Weights) -> None:
        self.loaded = loaded
        self.references = references
        self.weights = weights
        self.problems: list[Problem] = []
        self.preferences: list[dict[str, Any]] = []

    def add_preferences(self, written: Sequence[Preference], paths: Sequence[KeyPath] | None = None) -> None:
        """Add preferences; `paths` says where each stands, if not in `routing_preferences`."""
        known = {preference["name"] for preference in self.preferences}
        for number, preference in enumerate(written):
            path = paths[number] if paths else ("routing_preferences", number)
            if preference.name in known:
                message = f"There is a preference {preference.name[:80]!r} already."
                self._error("config.duplicate", (*path, "name"), message)
            known.add(preference.name)
            self._check_text(preference.name, (*path, "name"))
            for place, model in enumerate(preference.models):
                here = (*path, "models", place) if not paths else path
                if model in preference.models[:place]:
                    message = f"The preference has the model {model[:80]!r} already."
                    self._error("config.duplicate", here, message, "Remove one of them.")
                self.references.model(model, here)
            policy = preference.selection_policy
            self.preferences.append(
                {
                    "name": preference.name,
                    "description": preference.description,
                    "examples": list(preference.examples),
                    "models": list(dict.fromkeys(preference.models)),
                    "prefer": policy.prefer or "none",
                }
            )

    def chooser(self, written: Chooser, *, user_turns_only: bool, needed: bool) -> dict[str, Any]:
        """Return who chooses; `needed` says whether there is anything to choose among."""
        names = [preference["name"] for preference in self.preferences]
        return {
            "rules": self.rules(written.rules, ("chooser", "rules"), self._is_choice(names)),
            "embedded": self._embedded(written, needed=needed),
            "model": self._model(written.model),
            "user_turns_only": user_turns_only,
        }

    def _is_choice(self, preferences: Sequence[str]) -> Callable[[str, KeyPath], None]:
        def check(name: str, path: KeyPath) -> None:
            if name not in preferences:
                self.references.model(name, path)

        return check

    def rules(
        self, written: Sequence[Rule], path: KeyPath, check: Callable[[str, KeyPath], None]
    ) -> list[dict[str, Any]]:
        """Return rules; `check` notes what is wrong with a name after `use`."""
        rules: list[dict[str, Any]] = []
        names: set[str] = set()
        for number, rule in enumerate(written):
            here = (*path, number)
            if rule.name in names:
                message = f"There is a rule {rule.name[:80]!r} already."
                self._error("config.duplicate", (*here, "name"), message)
            names.add(rule.name)
            self._check_text(rule.name, (*here, "name"))
            for place, name in enumerate(rule.use):
                check(name, (*here, "use", place))
                if name in rule.use[:place]:
                    message = f"The rule names {name[:80]!r} already, and nobody is asked twice."
                    self._error("config.duplicate", (*here, "use", place), message, "Remove one of them.")
            rules.append(
                {
                    "name": rule.name,
                    "priority": rule.priority,
                    "use": list(dict.fromkeys(rule.use)),
                    "when": self._when(rule, (*here, "when")),
                }
            )
        return rules

    def _when(self, rule: Rule, path: KeyPath) -> dict[str, Any]:
        when = rule.when
        for name, pattern in when.headers.items():
            reason = check_header(name, "")
            if reason:
                message = f"The header {name[:60]!r} {reason}"
                self._error("config.invalid_value", (*path, "headers", name), message, key=True)
            self._check_pattern(pattern, (*path, "headers", name))
        if when.text is not None:
            self._check_pattern(when.text, (*path, "text"))
        if when.min_tokens is not None and when.max_tokens is not None and when.min_tokens > when.max_tokens:
            message = "`min_tokens` is more than `max_tokens`, so that the rule never holds."
            self._error("config.conflict", (*path, "min_tokens"), message, "Make one of them fit.", key=True)
        return {
            "headers": {name.lower(): pattern for name, pattern in when.headers.items()},
            "tags": list(when.tags),
            "tenants": list(when.tenants),
            "text": when.text,
            "min_tokens": when.min_tokens,
            "max_tokens": when.max_tokens,
            "tools": when.tools,
            "images": when.images,
        }

    def _check_pattern(self, pattern: str, path: KeyPath) -> None:
        """Refuse what the plane's regular expressions lack. It has the last word on all of them."""
        if _BEYOND_REGEX.search(pattern):
            message = (
                "Look-around, atomic groups and back-references are not part of regular expressions here."
            )
            hint = "Write it without them; several rules may stand for one."
            self._error("config.invalid_value", path, message, hint)

    def _check_text(self, name: str, path: KeyPath) -> None:
        if not name.isprintable() or name != name.strip():
            message = "A name here is without control characters and outer spaces."
            self._error("config.invalid_value", path, message)

    def _embedded(self, written: Chooser, *, needed: bool) -> dict[str, Any] | None:
        if written.embedded is False:
            return None
        settings = written.embedded if isinstance(written.embedded, EmbeddedChooser) else EmbeddedChooser()
        found = self.weights() if needed or written.embedded is not None else None
        if found is None:
            if needed or written.embedded is not None:
                self._not_installed(written)
            return None
        return {
            "weights": str(found[0]),
            "tokenizer": str(found[1]),
            "threshold": settings.threshold,
            "margin": settings.margin,
        }

    def _not_installed(self, written: Chooser) -> None:
        message = "The weights of the embedded chooser are not installed."
        hint = "Run `pip install 'meseta[chooser]'`"
        hint += (
            "." if isinstance(self.loaded.config, PlanoFile) else ", or write `chooser: {embedded: false}`."
        )
        if written.embedded is not None:
            self._error("config.missing_extra", ("chooser", "embedded"), message, hint, key=True)
            return
        other = (
            "the model of `chooser` alone chooses" if written.model else "the first or the default is taken"
        )
        message = f"{message[:-1]}, so that {other}."
        self.problems.append(self.loaded.warning("config.missing_extra", ("chooser",), message, hint))

    def _model(self, written: ModelChooser | str | None) -> dict[str, Any] | None:
        if written is None:
            return None
        path: KeyPath = ("chooser", "model")
        settings = written if isinstance(written, ModelChooser) else ModelChooser(model=written)
        if not self.references.model(settings.model, (*path, "model") if settings is written else path):
            return None
        return self.model(settings)

    def model(self, settings: ModelChooser) -> dict[str, Any]:
        """Return the model that chooses, whose name is known to exist."""
        usual = "plano" if self._is_planos_own(settings.model) else "structured"
        return {
            "model": settings.model,
            "prompt": settings.prompt or usual,
            "deadline_ms": settings.deadline,
            "context_tokens": settings.context_tokens,
            "cache_entries": settings.cache_entries,
            "cache_ms": settings.cache,
        }

    def _is_planos_own(self, name: str) -> bool:
        naming = self.references.naming
        target = next((one for one in naming.targets if one["name"] == naming.names.get(name)), None)
        return target is not None and (
            target["provider"] == "plano" or _PLANOS_OWN.search(target["model"]) is not None
        )

    def _error(self, code: str, path: KeyPath, message: str, hint: str = "", *, key: bool = False) -> None:
        self.problems.append(self.loaded.problem(code, path, message, hint, key=key))


def lifted(config: PlanoFile, section: str) -> tuple[list[Preference], list[KeyPath]]:
    """Return the preferences that stand in entries of providers, and where each of them begins.

    Entries with a preference of the same name are its models, and the first description counts. A preference
    of the same name at the top level wins over them.
    """
    top = {preference.name for preference in config.routing_preferences}
    found: dict[str, tuple[Preference, KeyPath]] = {}
    providers = config.llm_providers if section == "llm_providers" else config.model_providers
    for number, entry in enumerate(providers or []):
        for place, inline in enumerate(entry.routing_preferences or []):
            model = entry.name or entry.model
            if inline.name in top:
                continue
            if inline.name in found:
                preference = found[inline.name][0]
                if model not in preference.models:
                    preference.models.append(model)
                continue
            preference = Preference(
                name=inline.name,
                description=inline.description,
                models=[model],
                selection_policy=SelectionPolicy(),
            )
            found[inline.name] = (preference, (section, number, "routing_preferences", place))
    return [one for one, _ in found.values()], [path for _, path in found.values()]


def chooses_in_plano(config: PlanoFile, references: References) -> str | None:
    """Return the model of the file that `overrides` name to choose; None when they name none of the file's.

    Plano looks for it by its id alone, whatever stands before the first slash.
    """
    wanted = config.overrides.llm_routing_model or config.overrides.agent_orchestration_model
    if wanted is None:
        return None
    naming = references.naming
    for name in (wanted, wanted.partition("/")[2]):
        if name and (name in naming.names or naming.find(name) is not None):
            return name
    return None
