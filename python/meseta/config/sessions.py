"""Sessions and the shared store: Plano's keys `prompt_caching` and `routing`, and `store.shared`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meseta.config import snapshot
from meseta.config.headers import check_forwarded
from meseta.config.model import File, Store
from meseta.config.secrets import SecretError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meseta.config.document import Path as KeyPath
    from meseta.config.load import Loaded
    from meseta.config.plano import PlanoFile
    from meseta.config.problems import Problem
    from meseta.config.shared import SharedAddress


class SessionBuilder:
    """Resolves what a file says about sessions and collects what is wrong with it."""

    def __init__(self, loaded: Loaded, environment: Mapping[str, str], config: File | PlanoFile) -> None:
        self.loaded = loaded
        self.environment = environment
        self.config = config
        self.problems: list[Problem] = []

    def sessions(self, targets: Sequence[snapshot.Target]) -> dict[str, Any]:
        """Return how sessions are kept; `targets` have the prices that a budget weighs."""
        caching, routing = self.config.prompt_caching, self.config.routing
        budget = routing.routing_budget
        priced = any(source.type == "cost" for source in self.config.model_metrics_sources)
        if budget is not None and not priced and not any(target["price"] for target in targets):
            self._no_price()
        cache = routing.session_cache
        return {
            "implicit": (caching.enabled and caching.session_affinity) or budget is not None,
            "max_entries": routing.session_max_entries,
            "idle_ms": self._idle_ms(),
            "tenant_header": self._tenant_header(cache.tenant_header) if cache is not None else None,
            "budget": None
            if budget is None
            else {
                "percent": budget.max_switch_spend_pct,
                "replenish_on_rebind": budget.replenish_on_rebind,
                "cache_read_discount": budget.cache_read_discount,
            },
            "cache_marks": caching.enabled and caching.inject_cache_control,
            "minimum_prefix_tokens": caching.min_prefix_tokens,
        }

    def shared(self) -> dict[str, Any] | None:
        """Return the store that replicas share, which either of two keys may name."""
        store = self.config.store if isinstance(self.config, File) else None
        ours = store.shared if isinstance(store, Store) else None
        cache = self.config.routing.session_cache
        here: KeyPath = ("routing", "session_cache")
        theirs = None
        if cache is not None and cache.type == "redis":
            theirs = cache.url
            if theirs is None and ours is None:
                message = "A `session_cache` of type redis needs `url`."
                self._error(
                    "config.missing_key", here, message, "Write `url: redis://HOST:6379/0`.", key=True
                )
        elif cache is not None and cache.url is not None:
            message = "`url` has no effect, because the `type` is memory."
            self._warn("config.overridden", (*here, "url"), message, "Write `type: redis`.", key=True)
        if ours is not None and theirs is not None:
            message = "`store.shared` names the shared store already."
            self._error("config.conflict", (*here, "url"), message, "Remove one of the two.", key=True)
        if ours is not None:
            return self._address(ours, ("store", "shared"))
        return self._address(theirs, (*here, "url")) if theirs is not None else None

    def _address(self, address: SharedAddress, path: KeyPath) -> dict[str, Any] | None:
        for reference in address.references:
            if reference.kind == "literal":
                message = "The password of the shared store stands in the file in clear text."
                hint = "Write redis://user:$NAME@host:6379/0, or the whole address as $NAME."
                self._warn("config.literal_secret", path, message, hint)
            if reference.kind == "file":
                self.loaded.reads(self.loaded.folder / reference.name)
        try:
            return snapshot.shared(address.resolve(self.environment, self.loaded.folder))
        except SecretError as error:
            self._error("config.unresolved_secret", path, str(error))
            return None

    def _idle_ms(self) -> int | None:
        """Return how long a session is remembered; two keys may say so."""
        caching, routing = self.config.prompt_caching, self.config.routing
        own = caching.session_ttl_seconds if caching.enabled else None
        if own is not None and routing.session_ttl_seconds not in {None, own}:
            path = ("routing", "session_ttl_seconds")
            message = "`session_ttl_seconds` of `prompt_caching` says another time, and that one counts."
            self._warn("config.overridden", path, message, "Remove one of the two.", key=True)
        seconds = own if own is not None else routing.session_ttl_seconds
        return None if seconds is None else seconds * 1_000

    def _tenant_header(self, name: str | None) -> str | None:
        if name is None:
            return None
        reason = "must be one whole name." if name.endswith("*") else check_forwarded(name)
        if reason:
            path = ("routing", "session_cache", "tenant_header")
            self._error("config.invalid_value", path, f"The header {name[:60]!r} {reason}")
        return name.lower()

    def _no_price(self) -> None:
        path = ("routing", "routing_budget")
        message = "`routing_budget` weighs prices, and no model of this file has one."
        hint = "Name the models in `model_providers` or in a pool, or write their `price`."
        if isinstance(self.config, File):
            self._error("config.no_price", path, message, hint, key=True)
        else:
            # Plano takes prices from elsewhere, and its files must load.
            self._warn("config.no_price", path, message, hint, key=True)

    def _error(self, code: str, path: KeyPath, message: str, hint: str = "", *, key: bool = False) -> None:
        self.problems.append(self.loaded.problem(code, path, message, hint, key=key))

    def _warn(self, code: str, path: KeyPath, message: str, hint: str = "", *, key: bool = False) -> None:
        self.problems.append(self.loaded.warning(code, path, message, hint, key=key))
