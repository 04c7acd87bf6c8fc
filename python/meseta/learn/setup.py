"""What an evaluation needs before it starts: the routes, where their names come from, and who chooses."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from meseta.config.model_choosing import EmbeddedChooser
from meseta.learn.choosers import Embedded, OfPlane
from meseta.learn.dataset import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from meseta.config.resolved import Resolved
    from meseta.learn.routes import Route

_USUAL = EmbeddedChooser()
THRESHOLD, MARGIN = _USUAL.threshold, _USUAL.margin
"""Where neither a configuration nor the command line says: the defaults of a configuration."""

STANDS_FOR_A_KEY = "not-needed-here"

_REFERENCE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))", re.ASCII)


def document_of(file: str, home: str | None) -> dict[str, Any]:
    """Return the resolved document of a configuration; keys that are not in the environment are made up.

    Choosing in this process needs no provider's key, so that it works where keys are not, such as in CI.
    """
    from meseta.config.environment import gather
    from meseta.config.load import load_file
    from meseta.config.resolve import resolve_loaded

    loaded = load_file(file)
    known = gather(loaded.folder, os.environ)
    made_up = dict.fromkeys(references(loaded.document.value), STANDS_FOR_A_KEY)
    return dict(resolve_loaded(loaded, environment=made_up | known, home=home).snapshot)


def references(tree: Any) -> set[str]:
    """Return the names of the variables that the texts of a file refer to."""
    if isinstance(tree, dict):
        return {name for value in tree.values() for name in references(value)}
    if isinstance(tree, list):
        return {name for value in tree for name in references(value)}
    found = _REFERENCE.findall(tree) if isinstance(tree, str) else []
    return {braced or plain for braced, plain in found}


def embedded(
    document: dict[str, Any] | None, routes: Sequence[Route], threshold: float | None, margin: float | None
) -> Embedded:
    """Return the embedded chooser with the settings of a configuration, where the command line gives none."""
    settings = ((document or {}).get("chooser") or {}).get("embedded")
    if settings is None:
        weights, tokenizer = _weights()
        settings = {"weights": weights, "tokenizer": tokenizer, "threshold": THRESHOLD, "margin": MARGIN}
    return Embedded.load(
        settings["weights"],
        settings["tokenizer"],
        routes,
        settings["threshold"] if threshold is None else threshold,
        settings["margin"] if margin is None else margin,
    )


def _weights() -> tuple[str, str]:
    from meseta.config.embeddings import find_weights

    found = find_weights()
    if found is None:
        raise DatasetError("The embeddings are not installed. Run `pip install 'meseta[chooser]'`.")
    return str(found[0]), str(found[1])


@contextmanager
def plane_of(
    file: str, listener: str | None, *, only_model: bool, home: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Serve a configuration on free ports of this machine, and yield where it decides, and its document.

    With `only_model` nobody but the model chooses. Nothing is logged or kept, and no key is asked for.
    """
    from meseta.config.resolve import resolve_file
    from meseta.plane import Plane, Source, listener_url

    def read() -> Resolved:
        resolved = resolve_file(file, home=home, online=True)
        return replace(resolved, snapshot=_for_decisions(resolved.snapshot, only_model=only_model))

    with Plane(Source(file, read)) as plane:
        kind = "model" if listener is None else None
        served = {entry["name"]: entry["type"] for entry in plane.snapshot["listeners"]}
        for bound in plane.listeners:
            if bound["name"] == listener or served[bound["name"]] == kind:
                yield listener_url(bound), dict(plane.snapshot)
                return
    raise DatasetError(f"{file} has no listener {listener or 'of type model'!r} to ask.")


def _for_decisions(document: Any, *, only_model: bool) -> Any:
    changed = {**document, "log": None, "responses": None, "shared": None, "admission": None}
    changed["listeners"] = [
        {**listener, "address": "127.0.0.1", "port": 0, "auth": {"type": "none"}, "tls": None}
        for listener in document["listeners"]
    ]
    if "histories" in document:
        changed["histories"] = None
    if only_model:
        chooser = document.get("chooser") or {}
        if not chooser.get("model"):
            raise DatasetError("The configuration has no `chooser.model`, so that no model can choose.")
        changed["chooser"] = {**chooser, "embedded": None, "rules": []}
    return changed


def decider(url: str, document: dict[str, Any] | None, model: str | None, key: str | None) -> OfPlane:
    """Return a plane to be asked; `model` is what requests ask for, which a decision replaces."""
    return OfPlane(url, model or _any_model(document or {}), key)


def _any_model(document: dict[str, Any]) -> str:
    """Return a model that the configuration has, because a request must name one."""
    for preference in document.get("preferences") or []:
        return str(preference["models"][0])
    if document.get("default"):
        return str(document["default"])
    return next(iter(document.get("names") or {}), "none")
