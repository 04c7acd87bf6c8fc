"""From what people wrote to the snapshot: complete, explicit, with every reference fetched.

Nothing here opens a socket, unless `online` asks for the credentials that must be fetched. Every mistake of
the whole file comes out of one run, in file order.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from meseta.config import snapshot
from meseta.config.calls import CallSettings
from meseta.config.economics import Economics
from meseta.config.effects import Effects
from meseta.config.embeddings import find_weights
from meseta.config.environment import gather
from meseta.config.hub import HubBuilder
from meseta.config.listeners import ListenerBuilder
from meseta.config.load import Loaded, load_file
from meseta.config.model import Conversations, File, Responses
from meseta.config.naming import Naming
from meseta.config.plano import PlanoFile, PlanoTrafficListeners
from meseta.config.pools import PoolBuilder
from meseta.config.prices import PublishedPrices
from meseta.config.problems import ConfigError, Problem
from meseta.config.providers import BY_NAME, SIMULATOR
from meseta.config.references import References
from meseta.config.resolved import Resolved
from meseta.config.sessions import SessionBuilder
from meseta.config.sources import SourceBuilder
from meseta.config.targets import Entry, TargetBuilder
from meseta.config.traffic import Retry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meseta.config.access import Fetches
    from meseta.config.choosing import Weights
    from meseta.config.credentials import Lease
    from meseta.config.document import Path as KeyPath
    from meseta.config.fleet import AgentSpec
    from meseta.config.metrics import Source
    from meseta.config.model import PlanoProvider
    from meseta.config.prices import Prices


def resolve_file(
    path: str | Path,
    *,
    environment: Mapping[str, str] | None = None,
    home: str | None = None,
    simulator_url: str = snapshot.SIMULATOR_URL,
    port: int | None = None,
    online: bool = False,
) -> Resolved:
    """Read and resolve the file at `path`; raise ConfigError with every mistake in it.

    `environment` (default: this process's) is supplemented by the `.env` beside the file. `home` is
    MESETA_HOME.
    `port` replaces the port of the first listener. Without `online`, a credential that must be fetched over
    the network is `***` in the snapshot, which can then be looked at but not served.
    """
    return resolve_loaded(
        load_file(path),
        environment=environment,
        home=home,
        simulator_url=simulator_url,
        port=port,
        online=online,
    )


def resolve_loaded(
    loaded: Loaded,
    *,
    environment: Mapping[str, str] | None = None,
    home: str | None = None,
    simulator_url: str = snapshot.SIMULATOR_URL,
    port: int | None = None,
    online: bool = False,
    prices: Prices | None = None,
    weights: Weights = find_weights,
) -> Resolved:
    """Resolve a configuration that was read; raise ConfigError with every mistake, those of form included.

    `prices` (default: the published ones) knows what models cost whose price the file does not say, and
    `weights` where the data of the embedded chooser is.
    """
    problems = list(loaded.problems)
    document: snapshot.Snapshot | None = None
    leases: list[Lease] = []
    sources: list[Source] = []
    fleet: list[AgentSpec] = []
    if loaded.config is not None:
        loaded.reads(loaded.folder / ".env")
        variables = gather(loaded.folder, environment)
        run = _Run(loaded, variables, home, simulator_url, prices or PublishedPrices(), weights)
        document = run.document(loaded.config, port)
        problems += run.problems
        sources, fleet = run.sources.sources, run.fleet
        if run.fetches is not None and not any(problem.severity == "error" for problem in problems):
            leases = run.fetches.fill(document["targets"], online=online)
            problems += run.fetches.problems
            document = run.sources.fill(document, run.folder(loaded.config), online=online)
            problems += run.sources.problems
    problems.sort(key=lambda problem: (problem.line, problem.column))
    if document is None or any(problem.severity == "error" for problem in problems):
        raise ConfigError(problems)
    return Resolved(document, problems, loaded.files, leases, sources, fleet)


class _Run:
    """One pass over one file."""

    def __init__(
        self,
        loaded: Loaded,
        environment: Mapping[str, str],
        home: str | None,
        simulator_url: str,
        prices: Prices,
        weights: Weights,
    ) -> None:
        self.loaded = loaded
        self.environment = environment
        self.home = home
        self.simulator_url = simulator_url
        self.prices = prices
        self.weights = weights
        self.problems: list[Problem] = []
        self.fetches: Fetches | None = None
        self.fleet: list[AgentSpec] = []
        self.sources = SourceBuilder(loaded)

    def document(self, config: File | PlanoFile, port: int | None) -> snapshot.Snapshot:
        section, providers = self._providers(config)
        listeners = self._listeners(config, providers)
        if port is not None and listeners.listeners:
            listeners.listeners[0]["port"] = port
        entries, broken = self._entries(config, section, providers)
        written = config.pools if isinstance(config, File) else []
        naming = Naming(
            self.loaded,
            complete=not self.loaded.kept.keys() & {"model_providers", "llm_providers", "pools"},
            broken=broken,
            pools=[pool.name for pool in written],
        )
        naming.add_entries(entries)
        naming.add_aliases(config.model_aliases)
        retry = config.retry if isinstance(config, File) else Retry()
        CallSettings(self.loaded, self.problems).retry(retry, ("retry",))
        references = References(self.loaded, naming)
        pools = PoolBuilder(self.loaded, references, retry, config.model_aliases)
        pools.add_all(written)
        hub = HubBuilder(self.loaded, self.environment, references, self.weights)
        hub.add(config, section, listeners.listeners, listeners.paths)
        self.fleet = hub.fleet
        self.sources.add_all(config.model_metrics_sources)
        sessions = SessionBuilder(self.loaded, self.environment, config)
        document: snapshot.Snapshot = {
            "format": snapshot.FORMAT,
            "listeners": listeners.listeners,
            "targets": [*naming.targets, *hub.targets],
            "names": naming.names,
            "wildcards": naming.wildcards,
            "default": naming.default,
            "pools": pools.pools,
            "retry_budget": _retry_budget(config),
            "admission": _admission(config),
            "sessions": sessions.sessions(naming.targets),
            "shared": sessions.shared(),
            "catalog": naming.catalog,
            "log": self._log(config),
            "responses": self._responses(config),
            "agents": hub.agents,
            "preferences": hub.preferences,
            "chooser": hub.chooser,
            "histories": self._histories(config) if hub.keeps else None,
            "context_key": None,
            "latencies": {},
        }
        if document["shared"] is not None and document["histories"] is not None:
            self._warn_of_replicas()
        builders = (naming, references, pools, hub, sessions, self.sources)
        self.problems += [problem for builder in builders for problem in builder.problems]
        self.sources.problems.clear()
        # What else is wrong may be the reason for it.
        if not any(problem.severity == "error" for problem in [*self.loaded.problems, *self.problems]):
            self.problems += Effects(self.loaded, config, document).look()
        return document

    def _warn_of_replicas(self) -> None:
        """Say that a conversation which comes to another replica is a new one there."""
        message = "Conversations that `history: keep` keeps are each replica's own and are not in `shared`."
        hint = "Have the load balancer bring a session to one replica, by its header x-meseta-session."
        path: KeyPath = ("store", "shared")
        self.problems.append(self.loaded.warning("config.not_shared", path, message, hint, key=True))

    def _listeners(self, config: File | PlanoFile, providers: Sequence[PlanoProvider]) -> ListenerBuilder:
        builder = ListenerBuilder(self.loaded, self.environment)
        if isinstance(config, File):
            for number, listener in enumerate(config.listeners):
                builder.add(listener, ("listeners", number))
        elif isinstance(config.listeners, PlanoTrafficListeners):
            if config.listeners.egress_traffic is not None:
                path: KeyPath = ("listeners", "egress_traffic")
                builder.add_plano(config.listeners.egress_traffic, "egress_traffic", path)
            elif providers:
                builder.add_implied("egress_traffic", ("listeners",))
        else:
            for number, plano in enumerate(config.listeners):
                if plano.type in {"model", "agent"}:
                    builder.add_plano(plano, plano.name, ("listeners", number))
                else:
                    message = f"The listener {plano.name!r} is of type {plano.type}, which is not served yet."
                    self.problems.append(
                        self.loaded.warning("config.not_served", ("listeners", number, "type"), message)
                    )
            if providers and not any(plano.type == "model" for plano in config.listeners):
                builder.add_implied("egress_traffic", ("listeners",))
        if not builder.listeners and self.loaded.complete:
            message = "There is no listener of type model or agent, so there is nothing to serve."
            hint = "Add `- {type: model, name: models, port: 12000}` to `listeners`."
            self.problems.append(
                self.loaded.problem("config.missing_key", ("listeners",), message, hint, key=True)
            )
        needs_models = any(served["type"] == "model" for served in builder.listeners)
        absent = not any(self.loaded.has((key,)) for key in ("model_providers", "llm_providers"))
        if needs_models and not providers and (absent or self.loaded.complete):
            message = "`model_providers` is missing or empty, so there is nothing to call."
            hint = "List what can be called, such as `- {model: openai/*, access_key: $OPENAI_API_KEY}`."
            self.problems.append(
                self.loaded.problem("config.missing_key", ("model_providers",), message, hint, key=True)
            )
        builder.agree()
        self.problems += builder.problems
        return builder

    def _entries(
        self, config: File | PlanoFile, section: str, providers: Sequence[PlanoProvider]
    ) -> tuple[list[Entry], set[str]]:
        """Return the targets of the file, and the names of the entries that did not become one."""
        builder = TargetBuilder(self.loaded, self.environment, self.simulator_url, self.prices)
        total_ms = _plano_timeout(config)
        built = [builder.build(entry, (section, number), total_ms) for number, entry in enumerate(providers)]
        self.problems += builder.problems
        self.fetches = builder.access.fetches
        entries = [entry for entry in built if entry is not None]
        simulated = [entry for entry in entries if entry.target["base_url"] == self.simulator_url]
        if simulated and not any(
            entry.wildcard and entry.target["provider"] == SIMULATOR for entry in entries
        ):
            entries.append(_simulator(simulated[0], self.prices))
        broken: set[str] = set()
        for entry, target in zip(providers, built, strict=True):
            if target is None:
                broken |= {entry.model, entry.model.partition("/")[2], entry.name or entry.model}
        return entries, broken

    def _providers(self, config: File | PlanoFile) -> tuple[str, Sequence[PlanoProvider]]:
        if isinstance(config, PlanoFile) and config.llm_providers is not None:
            path: KeyPath = ("llm_providers",)
            if self.loaded.has(("model_providers",)):
                message = "`llm_providers` is the older name of `model_providers`; a file has one of them."
                self.problems.append(self.loaded.problem("config.conflict", path, message, key=True))
            else:
                message = "`llm_providers` is the older name of `model_providers`."
                hint = "Rename it."
                self.problems.append(self.loaded.warning("config.overridden", path, message, hint, key=True))
            return "llm_providers", config.llm_providers
        return "model_providers", config.model_providers

    def _log(self, config: File | PlanoFile) -> dict[str, object] | None:
        if isinstance(config, File) and isinstance(config.store, str):
            return None
        folder = self.folder(config)
        if isinstance(config, PlanoFile) or isinstance(config.store, str):
            return snapshot.log(folder)
        store = config.store
        if "\0" in str(folder):
            message = "`path` must be the path of a directory."
            self.problems.append(self.loaded.problem("config.invalid_value", ("store", "path"), message))
        return snapshot.log(folder, keep_hours=_hours(store.keep), max_bytes=store.max_size)

    def _responses(self, config: File | PlanoFile) -> dict[str, object] | None:
        storage = config.state_storage if isinstance(config, PlanoFile) else None
        if storage is not None and storage.type != "memory":
            message = f"Responses are kept in a file beside the log, and not in {storage.type}."
            path: KeyPath = ("state_storage", "type")
            self.problems.append(self.loaded.warning("config.not_served", path, message))
        wish = config.responses if isinstance(config, File) else Responses()
        if wish is None and isinstance(config, File):
            # Who keeps no log does not expect whole conversations to be kept.
            wish = "off" if config.store == "off" else Responses()
        if not isinstance(wish, Responses):
            return None
        return snapshot.responses(
            self.folder(config),
            keep_hours=_hours(wish.keep),
            max_bytes=wish.max_size,
            max_response_bytes=wish.max_response_size,
        )

    def _histories(self, config: File | PlanoFile) -> dict[str, object]:
        wish = config.conversations if isinstance(config, File) else Conversations()
        return snapshot.histories(
            self.folder(config),
            keep_hours=_hours(wish.keep),
            max_bytes=wish.max_size,
            max_message_bytes=wish.max_message_size,
        )

    def folder(self, config: File | PlanoFile) -> Path:
        """Return the directory of everything that is kept."""
        if isinstance(config, File) and not isinstance(config.store, str) and config.store.path:
            return self.loaded.folder / config.store.path
        return (Path.cwd() if self.home else self.loaded.folder) / (self.home or ".meseta")


def _hours(milliseconds: int) -> int:
    """Return whole hours, rounded up."""
    return -(-milliseconds // 3_600_000)


def _retry_budget(config: File | PlanoFile) -> dict[str, float]:
    if isinstance(config, PlanoFile):
        return dict(snapshot.RETRY_BUDGET)
    return {"percent": config.retry_budget.share, "minimum_per_second": config.retry_budget.minimum}


def _admission(config: File | PlanoFile) -> dict[str, int] | None:
    if isinstance(config, PlanoFile) or config.admission is None:
        return None
    wish = config.admission
    return {
        "concurrency": wish.concurrency,
        "tenant_concurrency": wish.tenant_concurrency,
        "queue": wish.queue,
        "queue_ms": wish.queue_timeout if wish.queue else 0,
    }


def _simulator(like: Entry, prices: Prices) -> Entry:
    """Return the wildcard for the simulator, which is there whenever the file names the simulator at all."""
    row = BY_NAME[SIMULATOR]
    target = snapshot.target(f"{SIMULATOR}/*", SIMULATOR, "*", like.target["base_url"], row)
    economics = Economics(row, None, prices)
    return Entry(target, like.path, target["name"], named=False, default=False, economics=economics)


def _plano_timeout(config: File | PlanoFile) -> int | None:
    """Plano limits a call per listener; we do so per target.

    Its one model listener decides for all of them.
    """
    if isinstance(config, File):
        return None
    if isinstance(config.listeners, PlanoTrafficListeners):
        return config.listeners.egress_traffic.timeout if config.listeners.egress_traffic else None
    limits = [
        listener.timeout for listener in config.listeners if listener.type == "model" and listener.timeout
    ]
    return max(limits) if limits else None
