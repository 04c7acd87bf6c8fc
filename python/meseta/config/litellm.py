"""The `config.yaml` of a LiteLLM proxy as a `version: 1` file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meseta.config.imported import Imported, Importer, mapping
from meseta.config.litellm_groups import GroupBuilder
from meseta.config.litellm_models import Deployment, ModelReader, Section
from meseta.config.problems import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PORT = 4000
"""Where LiteLLM listens, so that clients need not change."""

SECTIONS = ("model_list", "litellm_settings", "router_settings", "general_settings")

UNGUARDED = "Guardrails are not served: what they kept out now passes."
LOGGERS = frozenset(
    {
        "arize",
        "arize_phoenix",
        "athina",
        "argilla",
        "braintrust",
        "datadog",
        "datadog_llm_observability",
        "dynamodb",
        "gcs_bucket",
        "gcs_pubsub",
        "galileo",
        "greenscale",
        "helicone",
        "humanloop",
        "lago",
        "langfuse",
        "langfuse_otel",
        "langsmith",
        "langtrace",
        "literalai",
        "logfire",
        "lunary",
        "mlflow",
        "openmeter",
        "opik",
        "otel",
        "pagerduty",
        "posthog",
        "prometheus",
        "promptlayer",
        "s3",
        "s3_v2",
        "sentry",
        "slack",
        "sqs",
        "supabase",
        "traceloop",
        "wandb",
        "weave",
    }
)
"""Callbacks of LiteLLM that only write down or tell. Any other one may stand between a caller and a model."""
CALLBACKS = ("callbacks", "input_callback", "success_callback", "failure_callback", "service_callbacks")
ELSEWHERE = {
    "environment_variables": "Set these variables in the environment, or in `.env` beside the file.",
    "mcp_servers": "MCP servers are not served yet.",
    "callback_settings": "Callbacks have no counterpart; the log has every request.",
    "include": "Other files are not included; import each of them.",
    "prompts": "Prompts are not kept by Meseta.",
}
GENERAL = {
    "database_url": "Keys that LiteLLM keeps in its database are not imported; write them under `auth.keys`.",
    "alerting": "Alerts are not sent.",
    "custom_auth": "Code of your own cannot check keys.",
    "enable_jwt_auth": "JWTs are not checked.",
    "store_model_in_db": "Models that LiteLLM keeps in its database are not imported.",
    "pass_through_endpoints": "There are no other endpoints than those of the model APIs.",
}
LITELLM = {
    "drop_params": "What a provider does not know is left out without being asked.",
    "modify_params": "Requests are made to fit a provider without being asked.",
    "cache": "Answers are not cached.",
    "cache_params": "Answers are not cached.",
    "set_verbose": "MESETA_LOG says how much is said.",
    "json_logs": "MESETA_LOG says how much is said.",
}
ROUTER = {
    "retry_policy": "Which causes are tried again is `retry.on`; numbers for each cause have no counterpart.",
    "retry_after": "The pause before a try is `retry.backoff`.",
    "allowed_fails_policy": "Failures are not counted by cause.",
    "enable_pre_call_checks": "A prompt that is too long goes to the `fallback` for `context_length`.",
    "routing_strategy_args": "Strategies have no arguments.",
    "default_litellm_params": "Clients send such parameters themselves.",
    "cache_responses": "Answers are not cached.",
    "set_verbose": "MESETA_LOG says how much is said.",
}


def import_litellm(
    content: bytes, file: str, folder: Path, environment: Mapping[str, str] | None = None
) -> Imported:
    """Translate the file of a LiteLLM proxy; raise ConfigError when it is none, or is not YAML at all.

    `folder` is where relative paths of the new file will start.
    """
    importer = Importer.read(content, file, environment)
    tree = _with_references(importer.document.value)
    if not isinstance(tree, dict) or not isinstance(tree.get("model_list"), list):
        message = "This is no file of a LiteLLM proxy: it has no `model_list`."
        raise ConfigError([importer.document.problem("config.missing_key", (), message)])
    importer.reserve(tree)
    return importer.finish(_Translation(importer, tree).file(), folder)


def _with_references(tree: Any) -> Any:
    """Return a copy in which `os.environ/NAME` is `$NAME`."""
    if isinstance(tree, dict):
        return {key: _with_references(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_with_references(value) for value in tree]
    if isinstance(tree, str) and tree.startswith("os.environ/"):
        return f"${tree.removeprefix('os.environ/').strip()}"
    return tree


class _Translation:
    def __init__(self, importer: Importer, tree: dict[str, Any]) -> None:
        self.importer = importer
        self.note = importer.note
        self.tree = tree
        self.general = self._section("general_settings")
        self.litellm = self._section("litellm_settings")
        self.router = self._section("router_settings")

    def _section(self, name: str) -> Section:
        value = self.tree.get(name)
        return Section(self.importer, (name,), value if isinstance(value, dict) else {})

    def file(self) -> dict[str, Any]:
        """Return the new file; everything that was not read is named."""
        reader = ModelReader(self.importer, self._credentials())
        models = enumerate(self.tree["model_list"])
        read = [reader.read(value, ("model_list", number)) for number, value in models]
        deployments = [deployment for deployment in read if deployment is not None]
        forward = self._forward()
        for deployment in deployments:
            self._defaults(deployment)
            if forward:
                deployment.entry["forward_headers"] = list(forward)
        groups = GroupBuilder(self.importer, deployments, self.router, self.litellm)
        groups.build(self.general.text("completion_model"))
        made = mapping(
            version=1,
            listeners=[self._listener()],
            model_providers=groups.entries,
            model_aliases=groups.aliases or None,
            pools=groups.pools or None,
            admission=self._admission(),
            store=self._store(),
        )
        self._rest()
        return made

    def _credentials(self) -> dict[str, dict[str, Any]]:
        written = self.tree.get("credential_list")
        found = {}
        for entry in written if isinstance(written, list) else []:
            if isinstance(entry, dict) and isinstance(entry.get("credential_values"), dict):
                found[str(entry.get("credential_name"))] = entry["credential_values"]
        return found

    def _forward(self) -> list[str]:
        """Return the client headers that travel on."""
        if self.general.take("forward_client_headers_to_llm_api") is not True:
            return []
        # All that begins with x- would take the client's keys along, which Meseta does not do.
        path = (*self.general.path, "forward_client_headers_to_llm_api")
        self.note("changed", path, "Only `anthropic-beta` travels on; name others under `forward_headers`.")
        return ["anthropic-beta"]

    def _defaults(self, deployment: Deployment) -> None:
        """Write what LiteLLM says once for every model to each of them."""
        entry = deployment.entry
        total = self.router.duration("timeout") or self.litellm.duration("request_timeout")
        first = self.router.duration("stream_timeout")
        timeouts = mapping(total=total, first_token=first) | entry.get("timeouts", {})
        if timeouts:
            entry["timeouts"] = timeouts
        fails = self._either("allowed_fails")
        rest = self.router.duration("cooldown_time") or self.litellm.duration("cooldown_time")
        if self.router.take("disable_cooldowns") is True:
            entry["health"] = {"failures": 1_000_000, "error_rate": 100, "minimum_requests": 1_000_000}
        elif fails is not None or rest is not None:
            # LiteLLM rests when there are more failures than allowed, and always equally long.
            failures = int(min(fails, 999_999)) + 1 if fails is not None else None
            entry["health"] = mapping(failures=failures, rest=rest, rest_max=rest)
        concurrency = self.router.number("default_max_parallel_requests")
        if concurrency and "limits" not in entry:
            entry["limits"] = {"concurrency": int(min(concurrency, 1_000_000))}

    def _either(self, key: str) -> float | None:
        """Return a number of the router's settings, or of the others: LiteLLM takes it from both."""
        first, second = self.router.number(key), self.litellm.number(key)
        return second if first is None else first

    def _listener(self) -> dict[str, Any]:
        key = self.general.text("master_key")
        path = (*self.general.path, "master_key")
        auth = None
        if key is not None:
            secret = self.importer.secret(key, "LITELLM_MASTER_KEY", path)
            auth = {"keys": [secret]} if secret != "none" else None  # noqa: S105 (the word for no secret)
        self.note(
            "changed",
            path if key is not None else (),
            f"The listener is on 127.0.0.1:{PORT}; with `address: 0.0.0.0` other machines reach it too, as "
            "they do in LiteLLM.",
        )
        size = self.general.number("max_request_size_mb")
        return mapping(
            name="models",
            type="model",
            port=PORT,
            auth=auth,
            limits={"body": f"{int(size) or 1}MiB"} if size else None,
        )

    def _admission(self) -> dict[str, int] | None:
        most = self.general.number("global_max_parallel_requests")
        return {"concurrency": int(min(most, 1_000_000))} if most else None

    def _store(self) -> dict[str, str] | None:
        """Return where replicas share what they know: LiteLLM's Redis."""
        host, port = self.router.text("redis_host"), self.router.text("redis_port") or "6379"
        database, url = self.router.text("redis_db") or "0", self.router.text("redis_url")
        password = self.router.text("redis_password")
        path = self.router.path
        if url is not None:
            return {"shared": self.importer.secret(url, "REDIS_URL", (*path, "redis_url"))}
        if host is None:
            return None
        if any(part.startswith("$") for part in (host, port, database)):
            message = "The address of Redis is in several variables; put it whole into REDIS_URL."
            self.note("to do", (*path, "redis_host"), message)
            return {"shared": "$REDIS_URL"}
        secret = (
            self.importer.secret(password, "REDIS_PASSWORD", (*path, "redis_password"))
            if password
            else "none"
        )
        user = "" if secret == "none" else f":{secret}@"  # noqa: S105 (the word for no secret)
        return {"shared": f"redis://{user}{host}:{port}/{database}"}

    def _rest(self) -> None:
        """Name every key that was not read."""
        read = {*SECTIONS, "credential_list"}
        for key in self.tree:
            if key == "guardrails":
                self.note("unguarded", (key,), UNGUARDED)
            elif key not in read:
                self.note("dropped", (key,), ELSEWHERE.get(key, f"`{key}` has no counterpart in Meseta."))
        if self.litellm.take("guardrails") is not None:
            self.note("unguarded", ("litellm_settings", "guardrails"), UNGUARDED)
        for key in CALLBACKS:
            self._callbacks(key)
        self.general.rest(GENERAL)
        self.litellm.rest(LITELLM)
        self.router.rest(ROUTER)

    def _callbacks(self, key: str) -> None:
        """Name what is called around every request; guardrails are among them under names of their own."""
        written = self.litellm.take(key)
        if written is None:
            return
        names = [str(name) for name in (written if isinstance(written, list) else [written])]
        path = (*self.litellm.path, key)
        others = [name for name in names if name not in LOGGERS]
        if others:
            listed = ", ".join(others)
            message = f"Not served, and may have kept something out that now passes: {listed}."
            self.note("unguarded", path, message)
        if len(others) < len(names):
            self.note("dropped", path, "Callbacks have no counterpart; the log has every request.")
