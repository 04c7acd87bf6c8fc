"""A Plano file as a `version: 1` file, with its comments."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from meseta.config.comments import Comments
from meseta.config.endpoint import is_loopback
from meseta.config.imported import Imported, Importer, mapping, names_credential
from meseta.config.problems import ConfigError
from meseta.config.providers import AZURE, BY_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from meseta.config.document import Path as KeyPath

VERSIONS = ("v0.1", "v0.1.0", "0.1-beta", "0.2.0", "v0.2.0", "v0.3.0", "v0.4.0")
AZURE_VERSION = "2025-01-01-preview"
"""What Plano asks Azure for; Meseta's own default is the v1 API."""
ORCHESTRATORS = ("plano-orchestrator", "arch-router", "arch-agent", "plano/orchestrator")
"""Words in the names of models that want Plano's own prompt."""

NO_EFFECT = {
    "mode": "`mode` has no effect in Plano either.",
    "endpoints": "`endpoints` belongs to prompt targets, which Meseta does not have.",
    "prompt_targets": "Prompt targets have no counterpart: make them agents, or tools of an agent.",
    "system_prompt": "`system_prompt` belongs to prompt targets, which Meseta does not have.",
    "tracing": "Traces are not exported yet.",
    "state_storage": "Responses are kept in a file beside the log, without a setting.",
}
ROUTING_NO_EFFECT = {
    "llm_provider": "`llm_provider` has no effect in Plano either.",
    "model": "`model` has no effect in Plano either.",
}
BUDGET_NO_EFFECT = {"record_counterfactual": "What other choices would have cost is not recorded."}
UNGUARDED = {
    "filters": "Filters are not served: what they kept out now passes.",
    "input_filters": "Input filters are not served: what they kept out now passes.",
    "output_filters": "Output filters are not served: what they kept out now passes.",
    "prompt_guards": "Prompt guards are not served: what they should keep out passes, as in Plano.",
    "ratelimits": "Limits of tokens are not served: nothing of what they held back is held back now.",
}


def import_plano(
    content: bytes, file: str, folder: Path, environment: Mapping[str, str] | None = None
) -> Imported:
    """Translate a Plano file; raise ConfigError when it is none, or is not YAML at all.

    `folder` is where relative paths of the new file will start.
    """
    importer = Importer.read(content, file, environment)
    document, value = importer.document, importer.document.value
    if not isinstance(value, dict) or value.get("version") not in VERSIONS:
        message = "This is no file of Plano: its `version` is not one of Plano's."
        hint = f"Plano's versions are {', '.join(VERSIONS)}."
        raise ConfigError([document.problem("config.invalid_value", ("version",), message, hint)])
    comments = Comments(content.decode("utf-8-sig"), document)
    return importer.finish(_Translation(importer, value).tree, folder, comments)


class _Translation:
    """Turns the tree of a Plano file into that of ours, in place, so that its parts keep their comments."""

    def __init__(self, importer: Importer, tree: dict[str, Any]) -> None:
        self.importer = importer
        self.note = importer.note
        self.tree = tree
        self.section = "llm_providers" if "llm_providers" in tree else "model_providers"
        """What the file calls its providers."""
        self.timeouts: dict[str, Any] = {}
        """Of every provider; Plano writes them elsewhere."""
        importer.reserve(tree)
        tree["version"] = 1
        self._top_level()
        overrides = tree.pop("overrides", None)
        overrides = overrides if isinstance(overrides, dict) else {}
        if "upstream_connect_timeout" in overrides:
            self.timeouts["connect"] = overrides.pop("upstream_connect_timeout")
        self._listeners()
        self._providers()
        self._chooser(overrides)
        for key in [key for key, section in tree.items() if section is None]:
            del tree[key]

    def _top_level(self) -> None:
        tree = self.tree
        self._drop(tree, (), NO_EFFECT)
        routing = tree.get("routing")
        if isinstance(routing, dict):
            self._drop(routing, ("routing",), ROUTING_NO_EFFECT)
            budget = routing.get("routing_budget")
            if isinstance(budget, dict):
                self._drop(budget, ("routing", "routing_budget"), BUDGET_NO_EFFECT)
            if not routing:
                del tree["routing"]
        if "llm_providers" in tree:
            if "model_providers" in tree:
                self.note(
                    "dropped",
                    ("llm_providers",),
                    "`llm_providers` stands beside `model_providers`, which wins.",
                )
                del tree["llm_providers"]
                self.section = "model_providers"
            else:
                items = [
                    ("model_providers" if key == "llm_providers" else key, value)
                    for key, value in tree.items()
                ]
                tree.clear()
                tree.update(items)
                self.note("translated", ("llm_providers",), "`llm_providers` is `model_providers`.")

    def _drop(self, section: Any, path: KeyPath, reasons: Mapping[str, str]) -> None:
        """Take keys out that have no counterpart, each with its reason."""
        for key, reason in reasons.items():
            if key in section:
                self.note("dropped", (*path, key), reason)
                del section[key]
        for key, reason in UNGUARDED.items():
            if key in section:
                self.note("unguarded", (*path, key), reason)
                del section[key]

    # Listeners

    def _listeners(self) -> None:
        written = self.tree.get("listeners")
        kept = []
        for number, listener in enumerate(
            self._directions(written) if isinstance(written, dict) else _list(written)
        ):
            path = ("listeners", number)
            if not isinstance(listener, dict):
                self.note("dropped", path, "This is no listener.")
            elif listener.get("type") == "prompt":
                self.note("dropped", path, "A listener of type prompt has no counterpart in Meseta.")
            else:
                self._known_agents(listener, path)
                if listener.get("type") == "agent" and not listener.get("agents"):
                    self.note("dropped", path, "The listener has no agent that `agents` names.")
                else:
                    self._listener(listener, path)
                    kept.append(listener)
        if not kept:
            self.note("changed", ("listeners",), "No listener is left; there is a new one of type model.")
            kept.append(mapping(name="models", type="model", port=12000))
        self.tree["listeners"] = kept

    def _directions(self, written: dict[str, Any]) -> list[Any]:
        if written.get("ingress_traffic") is not None:
            self.note(
                "dropped",
                ("listeners", "ingress_traffic"),
                "The prompt listener has no counterpart in Meseta.",
            )
        egress = written.get("egress_traffic")
        if not isinstance(egress, dict):
            return []
        self.note(
            "translated", ("listeners", "egress_traffic"), "`egress_traffic` is a listener of type model."
        )
        egress.pop("message_format", None)
        return [{"name": "models", "type": "model", **egress}]

    def _listener(self, listener: Any, path: KeyPath) -> None:
        kind = "agents" if listener.get("type") == "agent" else "models"
        reasons = {
            "max_retries": "Tries at other models belong to a pool; see `retry` and `pools`.",
            "router": "Who chooses agents is said in `chooser`.",
        }
        self._drop(listener, path, reasons)
        if "timeout" in listener:
            limit = listener.pop("timeout")
            if kind == "models":
                self.timeouts["total"] = str(limit)
            else:
                self._agents_total(listener, str(limit))
            self.note("translated", (*path, "timeout"), f"`timeout` is `timeouts.total` of the {kind}.")
        address = listener.get("address")
        if address is None:
            message = "A listener without `address` is on 127.0.0.1 here, and on 0.0.0.0 in Plano."
            self.note("changed", path, message)
        elif not is_loopback(str(address)) and "auth" not in listener:
            listener["auth"] = mapping(keys=["$MESETA_KEY"])
            message = (
                "Whoever reaches this listener could spend your keys; clients now need the key in MESETA_KEY."
            )
            self.note("to do", (*path, "address"), message)

    def _known_agents(self, listener: Any, path: KeyPath) -> None:
        known = {str(agent.get("id")) for agent in self._mappings("agents")}
        agents = _list(listener.get("agents"))
        for place in reversed(range(len(agents))):
            here = (*path, "agents", place)
            if isinstance(agents[place], dict):
                self._drop(agents[place], here, {})
                if str(agents[place].get("id")) not in known:
                    self.note("dropped", here, "`agents` names no such agent.")
                    del agents[place]

    def _agents_total(self, listener: Any, limit: str) -> None:
        names = {str(agent.get("id")) for agent in _list(listener.get("agents")) if isinstance(agent, dict)}
        for agent in self._mappings("agents"):
            if str(agent.get("id")) in names and "timeouts" not in agent:
                agent["timeouts"] = mapping(total=limit)

    def _mappings(self, section: str) -> list[dict[str, Any]]:
        """Return the entries of a section that have the form of one."""
        return [entry for entry in _list(self.tree.get(section)) if isinstance(entry, dict)]

    # Providers

    def _providers(self) -> None:
        entries = _list(self.tree.get("model_providers"))
        entries[:] = [
            entry
            for number, entry in enumerate(list(entries))
            if not isinstance(entry, dict) or self._entry(entry, (self.section, number))
        ]

    def _entry(self, entry: Any, path: KeyPath) -> bool:
        provider = str(entry.get("model", "")).partition("/")[0]
        if provider not in BY_NAME and "base_url" not in entry:
            message = f"Meseta does not know {provider[:60]!r}, and the entry has no `base_url`."
            self.note("dropped", (*path, "model"), message)
            return False
        if provider not in BY_NAME and str(entry.get("provider_interface")) not in BY_NAME:
            entry["provider_interface"] = "openai"
            message = f"{provider[:60]!r} is asked in the way of OpenAI, which most servers understand."
            self.note("changed", (*path, "model"), message)
        if provider in BY_NAME and "provider_interface" in entry:
            del entry["provider_interface"]
        row = BY_NAME.get(provider)
        usual = row.variables[0] if row is not None and row.variables else f"{_constant(provider)}_API_KEY"
        if "access_key" in entry:
            entry["access_key"] = self.importer.secret(entry["access_key"], usual, (*path, "access_key"))
        if "base_url" in entry:
            entry["base_url"] = self.importer.address(entry["base_url"], (*path, "base_url"))
        if provider == AZURE and not str(entry.get("base_url", "")).rstrip("/").endswith("/openai/v1"):
            entry["api_version"] = AZURE_VERSION
        self._headers(entry, usual, path)
        if self.timeouts:
            entry["timeouts"] = dict(self.timeouts)
        self._inline_preferences(entry, path)
        return True

    def _headers(self, entry: Any, usual: str, path: KeyPath) -> None:
        headers = entry.get("headers")
        for name in list(headers) if isinstance(headers, dict) else ():
            if not names_credential(str(name)):
                continue
            here = (*path, "headers", name)
            value = str(headers.pop(name))
            if str(name).lower() == "authorization" and "access_key" not in entry:
                secret = value.removeprefix("Bearer ")
                entry["access_key"] = self.importer.secret(secret, usual, here)
                self.note("translated", here, "The header `authorization` is `access_key`.")
            else:
                self.importer.secret(value, _constant(str(name)), here)
                self.note(
                    "dropped",
                    here,
                    f"The header {str(name)[:60]!r} holds a credential; write it as `access_key`.",
                )
        if isinstance(headers, dict) and not headers:
            del entry["headers"]

    def _inline_preferences(self, entry: Any, path: KeyPath) -> None:
        inline = entry.pop("routing_preferences", None)
        for preference in inline if isinstance(inline, list) else []:
            if not isinstance(preference, dict):
                continue
            every = self.tree.setdefault("routing_preferences", [])
            if not isinstance(every, list):
                continue
            model, name = entry.get("name") or entry.get("model"), preference.get("name")
            same = next(
                (one for one in self._mappings("routing_preferences") if one.get("name") == name), None
            )
            if same is None or not isinstance(same.get("models"), list):
                every.append(preference)
                preference["models"] = [model]
            else:
                same["models"].append(model)
            message = "The preference stands at the top level, with this model."
            self.note("translated", (*path, "routing_preferences"), message)

    # Choosing

    def _chooser(self, overrides: dict[str, Any]) -> None:
        tree = self.tree
        wanted = overrides.get("llm_routing_model") or overrides.get("agent_orchestration_model")
        chooses = bool(tree.get("routing_preferences")) or any(
            listener.get("type") == "agent" for listener in self._mappings("listeners")
        )
        read = {"llm_routing_model", "agent_orchestration_model", "orchestrator_model_context_length"}
        for key in overrides:
            if key not in read:
                self.note("dropped", ("overrides", key), f"`{key}` has no counterpart in Meseta.")
        if not chooses:
            return
        model = self._declared(str(wanted)) if wanted else None
        if model is None:
            message = "Meseta's embedded chooser chooses, and no model is asked."
            if wanted:
                message = f"The model {str(wanted)[:80]!r} is not among `model_providers`. {message}"
            else:
                message = f"Plano asks a model that its makers host. {message}"
            self.note("changed", ("overrides",) if wanted else ("routing_preferences",), message)
            return
        plano = any(word in str(wanted).lower() for word in ORCHESTRATORS)
        settings = mapping(
            model=model,
            prompt="plano" if plano else None,
            context_tokens=overrides.get("orchestrator_model_context_length"),
        )
        tree["chooser"] = mapping(embedded=False, model=settings if len(settings) > 1 else model)
        message = (
            "This model alone chooses, as in Plano. Without `embedded: false` it is asked in doubt only."
        )
        self.note("translated", ("overrides",), message)

    def _declared(self, wanted: str) -> str | None:
        """Return the name of the entry that Plano takes: it compares what follows the first slash."""
        bare = wanted.partition("/")[2] or wanted
        for entry in self._mappings("model_providers"):
            model = str(entry.get("model", ""))
            if bare in {model, model.partition("/")[2], entry.get("name")}:
                return str(entry.get("name") or model)
        return None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _constant(name: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_") or "PROVIDER"
