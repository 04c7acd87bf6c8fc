"""Names of models that other parts of a file refer to, and what to say of one that leads nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meseta.config.sections import nearest

if TYPE_CHECKING:
    from meseta.config.document import Path as KeyPath
    from meseta.config.load import Loaded
    from meseta.config.naming import Naming
    from meseta.config.problems import Problem


class References:
    """Finds what names lead to and collects those that lead nowhere."""

    def __init__(self, loaded: Loaded, naming: Naming) -> None:
        self.loaded = loaded
        self.naming = naming
        self.problems: list[Problem] = []

    def target(self, wanted: str, path: KeyPath) -> str | None:
        """Return the target that a name leads to; None when there is none, which is then a problem."""
        found = self.naming.find(wanted)
        if found is not None or self.naming.is_excused(wanted):
            return found
        shown = wanted[:80]
        if self.naming.is_wildcard(wanted):
            message = f"{shown!r} is a wildcard, which names no model."
            hint = f"Write the model, such as {wanted.partition('/')[0][:60]}/MODEL."
        elif self.naming.is_ambiguous(wanted):
            message = f"{shown!r} is offered by several entries."
            hint = "Write provider/model, or the name of the entry."
        else:
            message = f"Nothing of this file is called {shown!r}, and no wildcard matches it."
            near = nearest(wanted, [*self.naming.names, *self.naming.pools])
            hint = f"Did you mean {near!r}?" if near else "Add it to `model_providers`."
        self.problems.append(self.loaded.problem("config.unknown_reference", path, message, hint))
        return None

    def model(self, wanted: str, path: KeyPath) -> bool:
        """Whether a name is one that clients may use: a pool, an alias or a model; a problem when not."""
        return wanted in self.naming.pools or self.target(wanted, path) is not None
