"""Where requests of an entry go, and in which dialects: the table of providers, and the keys of the entry."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from meseta.config import dialects as wire
from meseta.config import snapshot
from meseta.config.credentials import CredentialError
from meseta.config.endpoint import Endpoint, host_and_path, read_base_url
from meseta.config.google import read_service_account
from meseta.config.model import PlanoProvider, Provider
from meseta.config.providers import (
    AZURE,
    BEDROCK,
    BY_NAME,
    COMPATIBLE,
    INTERFACES,
    SIMULATOR,
    VERTEX,
    bedrock_url,
    is_project,
    is_region,
    vertex_origin,
    vertex_path,
)
from meseta.config.sections import nearest

if TYPE_CHECKING:
    from meseta.config import providers
    from meseta.config.access import AccessBuilder
    from meseta.config.dialects import Dialect
    from meseta.config.document import Path as KeyPath

PLANO_AZURE_VERSION = "2025-01-01-preview"
"""What Plano asks Azure for, whatever its file says."""

_API_VERSION = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}(-preview)?", re.ASCII)
_DEPLOYMENT_ENDINGS = ("/openai/deployments", "/openai")


@dataclass(frozen=True)
class Place:
    """Where an entry's requests go."""

    base_url: str
    query: str
    row: providers.Provider
    """How it is asked there."""
    dialects: tuple[Dialect, ...]
    api_version: str | None = None
    """Of Azure, when it is asked in the way before its v1 API."""

    def target(self, name: str, provider: str, model: str) -> snapshot.Target:
        """Return a target at this place, with no credential yet."""
        target = snapshot.target(name, provider, model, self.base_url, self.row, self.dialects)
        target["query"] = self.query
        if self.api_version is not None:
            target["paths"] = {
                operation: path + self.api_version for operation, path in wire.DEPLOYMENTS.items()
            }
        return target


class PlaceFinder:
    """Finds the place of each entry; what is wrong goes to the problems of `access`."""

    def __init__(self, access: AccessBuilder, simulator_url: str) -> None:
        self.access = access
        self.simulator_url = simulator_url

    def find(self, entry: PlanoProvider, path: KeyPath, provider: str) -> Place:
        """Return the place of an entry; a wrong one gets one as well, so that its other keys are checked."""
        row = BY_NAME.get(provider)
        if row is None:
            self._unknown_provider(entry, path, provider)
            row = INTERFACES.get(entry.provider_interface or "", COMPATIBLE)
        elif entry.provider_interface not in {None, provider}:
            message = f"`provider_interface` is not for {provider}, which Meseta knows."
            self._error("config.conflict", (*path, "provider_interface"), message, "Remove the key.")
        self._foreign_keys(entry, path, row)
        api_version = self._api_version(entry, path, row)
        endpoint = self._endpoint(entry, path, row, provider, old=api_version is not None)
        row = row.at(endpoint.base_url) if endpoint.base_url else row
        if api_version is not None:
            row = replace(row, dialects=(wire.CHAT,), selectable=())
        return Place(endpoint.base_url, endpoint.query, row, self._dialects(entry, path, row), api_version)

    def _unknown_provider(self, entry: PlanoProvider, path: KeyPath, provider: str) -> None:
        if entry.base_url is None:
            near = nearest(provider, BY_NAME)
            message = f"{provider} is not a provider that Meseta knows, so it needs `base_url`."
            hint = f"Did you mean {near}? " if near else ""
            hint += "An OpenAI-compatible server needs `base_url` and `provider_interface: openai`."
            self._error("config.missing_key", (*path, "model"), message, hint)
        elif entry.provider_interface is None:
            message = f"{provider} is not a provider that Meseta knows, so it needs `provider_interface`."
            hint = "Write `provider_interface: openai`, or the known provider whose API it speaks."
            self._error("config.missing_key", path, message, hint)
        if entry.provider_interface is not None and entry.provider_interface not in INTERFACES:
            near = nearest(entry.provider_interface, INTERFACES)
            message = f"`provider_interface` must be a provider that Meseta knows: {', '.join(INTERFACES)}."
            hint = f"Did you mean {near}?" if near else "Most servers are compatible with openai."
            self._error("config.invalid_value", (*path, "provider_interface"), message, hint)

    def _foreign_keys(self, entry: PlanoProvider, path: KeyPath, row: providers.Provider) -> None:
        """Refuse keys that only one provider has a use for, on any other one."""
        if not isinstance(entry, Provider):
            return
        for key, owner in (("aws", BEDROCK), ("google", VERTEX), ("api_version", AZURE)):
            if getattr(entry, key) is not None and row.name != owner:
                message = f"`{key}` is for {owner} only."
                self._error("config.conflict", (*path, key), message, "Remove the key.", key=True)
        if entry.aws is not None and row.name == BEDROCK and _has_credential(entry):
            extra = set(entry.aws.model_fields_set) - {"region"}
            if extra:
                message = (
                    "`aws` has no say here beyond its `region`, because another key gives the credential."
                )
                hint = "Remove the key or `passthrough_auth`, or keep only `region`."
                self._error("config.conflict", (*path, "aws"), message, hint, key=True)

    def _api_version(self, entry: PlanoProvider, path: KeyPath, row: providers.Provider) -> str | None:
        if row.name != AZURE:
            return None
        is_v1 = (entry.base_url or "").partition("?")[0].rstrip("/").endswith("/openai/v1")
        if not isinstance(entry, Provider):
            return None if is_v1 else PLANO_AZURE_VERSION
        version = entry.api_version
        if version is None:
            return None
        here = (*path, "api_version")
        if _API_VERSION.fullmatch(version) is None:
            message = "`api_version` must be a date, such as 2024-10-21 or 2025-04-01-preview."
            self._error("config.invalid_value", here, message, "Leave it out for the v1 API.")
            return None
        if is_v1:
            message = "`api_version` is of the API before v1, and `base_url` names the v1 API."
            self._error("config.conflict", here, message, "Remove `api_version`, or /openai/v1.", key=True)
        return version

    def _endpoint(
        self, entry: PlanoProvider, path: KeyPath, row: providers.Provider, provider: str, *, old: bool
    ) -> Endpoint:
        nowhere = Endpoint("", "")
        usual = "" if old else row.path
        if row.name == VERTEX and not _has_path(entry.base_url):
            found = self._vertex(entry, path)
            if found is None:
                return nowhere
            origin, usual = found
            if entry.base_url is None:
                return Endpoint(origin + usual, "")
        if entry.base_url is not None:
            try:
                endpoint = read_base_url(entry.base_url, usual)
            except ValueError as error:
                self._error("config.invalid_value", (*path, "base_url"), str(error))
                return nowhere
            return _resource_root(endpoint) if old else endpoint
        if provider == SIMULATOR:
            return Endpoint(self.simulator_url, "")
        if row.name == BEDROCK:
            aws = entry.aws if isinstance(entry, Provider) else None
            region = self.access.region(aws, (*path, "aws") if aws else path, None)
            return Endpoint(bedrock_url(region), "") if region is not None else nowhere
        if row.base_url is None and provider in BY_NAME:
            message = f"{provider} needs `base_url`, because every customer has an address of their own."
            self._error("config.missing_key", path, message, f"Write it such as {row.example}.")
        return Endpoint(row.base_url or "", "")

    def _vertex(self, entry: PlanoProvider, path: KeyPath) -> tuple[str, str] | None:
        """Return host and path of Vertex AI, or None when the entry does not say enough."""
        google = entry.google if isinstance(entry, Provider) else None
        location = google.location if google is not None else "global"
        if not is_region(location):
            message = "`location` has characters that no location has."
            self._error("config.invalid_value", (*path, "google", "location"), message)
            return None
        project = google.project if google is not None else None
        if project is None and google is not None and google.credentials is not None:
            if google.credentials.kind != "file":
                return None  # a problem of the credential, and said there
            try:
                info = read_service_account(str(self.access.loaded.folder / google.credentials.name))
            except CredentialError as error:
                here = (*path, "google", "credentials")
                self._error("config.unresolved_secret", here, str(error), error.hint)
                return None
            project = str(info.get("project_id") or "") or None
        project = project or snapshot.first_set(("GOOGLE_CLOUD_PROJECT",), self.access.environment)
        if project is None and (entry.access_key is not None or getattr(entry, "access_keys", None)):
            # With an API key the project is that of the key.
            return vertex_origin("global"), "/v1/publishers/google"
        if project is None:
            message = "vertex_ai needs the id of a project."
            hint = "Write `google: {project: ID}`, or set GOOGLE_CLOUD_PROJECT."
            self._error("config.missing_key", (*path, "google") if google else path, message, hint)
            return None
        if not is_project(project):
            message = "The id of the project has characters that no id has."
            self._error("config.invalid_value", (*path, "google") if google else path, message)
            return None
        return vertex_origin(location), vertex_path(project, location)

    def _dialects(self, entry: PlanoProvider, path: KeyPath, row: providers.Provider) -> tuple[Dialect, ...]:
        if not isinstance(entry, Provider) or entry.dialects is None:
            return row.dialects
        known = row.known_dialects()
        for number, dialect in enumerate(entry.dialects):
            here = (*path, "dialects", number)
            if dialect not in known:
                message = (
                    f"{row.name} has no known address for {dialect} here; it has for {', '.join(known)}."
                )
                hint = "For another server, write `provider_interface` with a provider that speaks it."
                self._error("config.invalid_value", here, message, hint)
            elif dialect in entry.dialects[:number]:
                self._error("config.duplicate", here, f"{dialect} is written twice.", "Remove one of them.")
        return tuple(entry.dialects)

    def _error(self, code: str, path: KeyPath, message: str, hint: str = "", *, key: bool = False) -> None:
        self.access.problems.append(self.access.loaded.problem(code, path, message, hint, key=key))


def _has_credential(entry: Provider) -> bool:
    return entry.access_key is not None or entry.access_keys is not None or entry.passthrough_auth


def _has_path(base_url: str | None) -> bool:
    return base_url is not None and bool(host_and_path(base_url)[1].strip("/"))


def _resource_root(endpoint: Endpoint) -> Endpoint:
    """Return the address that the paths of deployments are appended to, whichever of it was written."""
    path = host_and_path(endpoint.base_url)[1]
    for ending in _DEPLOYMENT_ENDINGS:
        if path.endswith(ending):
            return Endpoint(endpoint.base_url.removesuffix(ending), endpoint.query)
    return endpoint
