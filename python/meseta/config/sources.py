"""Sources of prices and latencies as written to as asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meseta.config.catalogues import DEFAULT_URLS, fetch
from meseta.config.endpoint import read_base_url
from meseta.config.metrics import Source, apply, load, save
from meseta.config.model_metrics import CostSource

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from meseta.config.catalogues import Get
    from meseta.config.document import Path as KeyPath
    from meseta.config.load import Loaded
    from meseta.config.model_metrics import LatencySource
    from meseta.config.problems import Problem
    from meseta.config.snapshot import Snapshot


class SourceBuilder:
    """Turns sources into their resolved form, asks them, and collects what is wrong with them."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.problems: list[Problem] = []
        self.sources: list[Source] = []
        self._paths: dict[str, KeyPath] = {}

    def add_all(self, written: Sequence[CostSource | LatencySource]) -> None:
        """Add the sources of a file."""
        kinds: set[str] = set()
        for number, source in enumerate(written):
            path: KeyPath = ("model_metrics_sources", number)
            if source.type in kinds:
                message = f"There is a source of type {source.type} already."
                self._error("config.duplicate", (*path, "type"), message, "Keep one of them.")
                continue
            kinds.add(source.type)
            cost = isinstance(source, CostSource)
            url = source.url or DEFAULT_URLS[source.provider]
            try:
                endpoint = read_base_url(url, "", whole=True)
            except ValueError as error:
                sentence = str(error).replace("`base_url`", "`url`")
                if "user name or password" in sentence:
                    sentence = "`url` must not carry a user name or password."
                self._error("config.invalid_value", (*path, "url"), sentence)
                continue
            found = Source(
                source.type,
                source.provider,
                endpoint.base_url + (f"?{endpoint.query}" if endpoint.query and cost else ""),
                "" if isinstance(source, CostSource) else source.query,
                source.refresh_interval,
                dict(source.model_aliases) if isinstance(source, CostSource) else {},
            )
            self._paths[found.key] = path
            self.sources.append(found)

    def fill(self, document: Snapshot, folder: Path, *, online: bool, get: Get | None = None) -> Snapshot:
        """Return the document with what the sources say; without `online`, what they said last.

        A source that cannot be asked is a warning: what it said last counts, and without that the published
        prices and what Meseta measures itself.
        """
        if not self.sources:
            return document
        metrics = load(folder)
        if online:
            newer, failed = fetch(self.sources, get) if get is not None else fetch(self.sources)
            metrics.take(newer)
            save(folder, metrics)
            for source, reason in failed:
                known = source.key in metrics.prices or source.key in metrics.latencies
                rest = "what it said last counts" if known else "it is done without for now"
                message = f"{source.url} could not be asked: {reason.rstrip('.')}; {rest}."
                path = self._paths[source.key]
                self.problems.append(self.loaded.warning("config.source_unavailable", path, message))
        return apply(document, self.sources, metrics)

    def _error(self, code: str, path: KeyPath, message: str, hint: str = "") -> None:
        self.problems.append(self.loaded.problem(code, path, message, hint))
