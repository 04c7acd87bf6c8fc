"""With which credential a provider is called: a key, the client's own, or one that must be fetched.

What must be fetched is only noted here. `Fetches` hands each target a placeholder, and fills the credentials
in once the whole file is known to be right.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from meseta.config import snapshot
from meseta.config.aws import sigv4
from meseta.config.credentials import (
    AwsRequest,
    CredentialError,
    GoogleRequest,
    Lease,
    Request,
    fetch,
    lease,
    verify,
)
from meseta.config.endpoint import host_and_path
from meseta.config.model import PlanoProvider, Provider
from meseta.config.providers import AWS_REGIONS, BEDROCK, VERTEX, is_region
from meseta.config.secrets import MASK, SecretError, SecretReference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meseta.config import providers
    from meseta.config.document import Path as KeyPath
    from meseta.config.load import Loaded
    from meseta.config.model import Aws
    from meseta.config.problems import Problem

_BEDROCK_HOST = re.compile(r"bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com")
_KEY_HEADERS = ("authorization", "api-key", "x-api-key", "x-goog-api-key")


class Fetches:
    """The credentials that the targets of one file need fetched, each asked for once."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.problems: list[Problem] = []
        self._places: dict[Request, KeyPath] = {}

    def later(self, request: Request, path: KeyPath) -> snapshot.Auth:
        """Note that a credential is needed at `path`, and return what stands for it until it is there."""
        self._places.setdefault(request, path)
        return {"type": "later", "request": request}

    def fill(self, targets: Sequence[snapshot.Target], *, online: bool) -> list[Lease]:
        """Put the credentials into the targets; offline check what can be checked and put `***`."""
        leases: list[Lease] = []
        for request, path in self._places.items():
            users = [target for target in targets if target["credentials"][0].get("request") == request]
            try:
                auth, expires = self._get(request, online=online)
            except CredentialError as error:
                code = "config.missing_extra" if error.missing else "config.credential_unavailable"
                self.problems.append(self.loaded.problem(code, path, str(error), error.hint, key=True))
                continue
            for target in users:
                target["credentials"] = [dict(auth)]
            granted = lease(request, tuple(target["name"] for target in users), expires)
            leases += [granted] if granted is not None else []
        return leases

    def _get(self, request: Request, *, online: bool) -> tuple[snapshot.Auth, float | None]:
        if online:
            credential = fetch(request)
            return credential.auth, credential.expires
        verify(request)
        if isinstance(request, AwsRequest):
            return sigv4(request.region, MASK, MASK, None), None
        return {"type": "header", "name": "authorization", "value": MASK}, None


class AccessBuilder:
    """Turns the credential keys of an entry into the `credentials` of its target."""

    def __init__(self, loaded: Loaded, environment: Mapping[str, str]) -> None:
        self.loaded = loaded
        self.environment = environment
        self.problems: list[Problem] = []
        self.fetches = Fetches(loaded)

    def build(
        self, entry: PlanoProvider, path: KeyPath, row: providers.Provider, headers: Mapping[str, str]
    ) -> list[snapshot.Auth]:
        """Return how the target authenticates; `row` says how this provider takes a key."""
        several = entry.access_keys if isinstance(entry, Provider) else None
        if several is not None and entry.access_key is not None:
            message = "`access_key` and `access_keys` cannot stand together."
            self._error("config.conflict", (*path, "access_keys"), message, "Keep `access_keys`.", key=True)
        if several is not None and not entry.passthrough_auth:
            return self._keys(several, (*path, "access_keys"), row, headers)
        return [self._one(entry, path, row, headers)]

    def _one(
        self, entry: PlanoProvider, path: KeyPath, row: providers.Provider, headers: Mapping[str, str]
    ) -> snapshot.Auth:
        if entry.passthrough_auth:
            self._overridden(entry, path)
            return {"type": "passthrough"}
        if entry.access_key is not None:
            return self._key(entry.access_key, (*path, "access_key"), row, headers)
        if isinstance(entry, Provider) and entry.aws is not None and row.name == BEDROCK:
            return self._aws(entry.aws, (*path, "aws"), entry.base_url)
        if isinstance(entry, Provider) and row.name == VERTEX:
            return self._google(entry, path)
        known = entry.model.startswith(f"{row.name}/")
        carried = any(name in headers for name in _KEY_HEADERS)
        if known and row.needs_key and entry.base_url is None and not carried:
            message = f"{row.name} asks for a key, and this entry has none."
            variable = f"${row.variables[0]}" if row.variables else "$NAME"
            hint = f"Write `access_key: {variable}`, `passthrough_auth: true`, or `access_key: none`."
            if row.name == BEDROCK:
                hint = f"Write `access_key: {variable}`, or `aws: {{region: REGION}}` for AWS credentials."
            self._warn("config.no_credential", path, message, hint)
        return {"type": "none"}

    def _overridden(self, entry: PlanoProvider, path: KeyPath) -> None:
        for key in ("access_key", "access_keys"):
            if getattr(entry, key, None) is not None:
                message = f"`{key}` has no effect, because `passthrough_auth` sends the client's credential."
                self._warn("config.overridden", (*path, key), message, "Remove one of the two.", key=True)

    def _keys(
        self,
        references: Sequence[SecretReference],
        path: KeyPath,
        row: providers.Provider,
        headers: Mapping[str, str],
    ) -> list[snapshot.Auth]:
        found: list[snapshot.Auth] = []
        for number, reference in enumerate(references):
            if reference.kind == "none":
                message = "A key among several cannot be `none`."
                self._error("config.invalid_value", (*path, number), message, "Remove it.")
                continue
            auth = self._key(reference, (*path, number), row, headers)
            if auth in found and auth["type"] != "none":
                message = f"This key is the same as that of `access_keys[{found.index(auth)}]`."
                self._error("config.duplicate", (*path, number), message, "Remove one of them.")
            found.append(auth)
        return found or [{"type": "none"}]

    def _key(
        self,
        reference: SecretReference,
        path: KeyPath,
        row: providers.Provider,
        headers: Mapping[str, str],
    ) -> snapshot.Auth:
        secret = self.secret(reference, path)
        if secret is None:
            return {"type": "none"}
        auth = snapshot.header_auth(row, secret)
        if auth["name"] in headers:
            several = isinstance(path[-1], int)
            entry, key = (path[:-2], "access_keys") if several else (path[:-1], "access_key")
            message = f"The header {auth['name']} is set by `{key}` already."
            self._error("config.conflict", (*entry, "headers"), message, "Remove one of the two.", key=True)
        return auth

    def secret(self, reference: SecretReference, path: KeyPath) -> str | None:
        """Fetch a secret of the file; None when it is `none` or cannot be had, which is then a problem."""
        if reference.kind == "literal":
            name = f"{path[-2]}[{path[-1]}]" if isinstance(path[-1], int) else path[-1]
            message = f"`{name}` holds the key itself, in clear text."
            self._warn("config.literal_secret", path, message, "Write a reference: $NAME or file:/path.")
        if reference.kind == "file":
            self.loaded.reads(self.loaded.folder / reference.name)
        try:
            secret = reference.resolve(self.environment, self.loaded.folder)
        except SecretError as error:
            hint = "Set it in the environment or in the .env file beside the configuration."
            self._error(
                "config.unresolved_secret", path, str(error), hint if reference.kind == "variable" else ""
            )
            return None
        return secret.reveal() if secret is not None else None

    def region(self, aws: Aws | None, path: KeyPath, base_url: str | None) -> str | None:
        """Return the AWS region of an entry; None when it is not known, which is then a problem."""
        region = aws.region if aws is not None else None
        region = region or snapshot.first_set(AWS_REGIONS, self.environment)
        if region is None and base_url is not None:
            host = _BEDROCK_HOST.fullmatch(host_and_path(base_url)[0])
            region = host.group(1) if host else None
        if region is None:
            message = f"{BEDROCK} needs a region."
            self._error(
                "config.missing_key", path, message, "Write `aws: {region: us-west-2}`, or set AWS_REGION."
            )
        elif not is_region(region):
            message = "The AWS region has characters that no region has."
            self._error("config.invalid_value", path, message, "Write it such as us-west-2.")
            return None
        return region

    def _aws(self, aws: Aws, path: KeyPath, base_url: str | None) -> snapshot.Auth:
        region = self.region(aws, path, base_url)
        keys: dict[str, str | None] = {}
        for name in ("access_key_id", "secret_access_key", "session_token"):
            reference = getattr(aws, name)
            keys[name] = self.secret(reference, (*path, name)) if reference is not None else None
        written = {name for name in keys if getattr(aws, name) is not None}
        if written and not {"access_key_id", "secret_access_key"} <= written:
            message = "`access_key_id` and `secret_access_key` belong together."
            self._error("config.missing_key", path, message, "Write both of them.", key=True)
        if aws.web_identity_token_file is not None and aws.role_arn is None:
            message = "`web_identity_token_file` proves who asks for a role, and there is no `role_arn`."
            self._error("config.missing_key", path, message, "Write `role_arn`.", key=True)
        sources = [name for name in ("profile", "web_identity_token_file") if getattr(aws, name) is not None]
        sources += ["access_key_id"] if written else []
        if len(sources) > 1:
            message = f"`{sources[0]}` and `{sources[1]}` are two sources of the credentials."
            self._error("config.conflict", (*path, sources[1]), message, "Remove one of them.", key=True)
        if region is None or (written and None in (keys["access_key_id"], keys["secret_access_key"])):
            return {"type": "none"}
        access_key_id, secret_access_key = keys["access_key_id"], keys["secret_access_key"]
        if aws.role_arn is None and access_key_id is not None and secret_access_key is not None:
            return sigv4(region, access_key_id, secret_access_key, keys["session_token"])
        token_file = aws.web_identity_token_file
        request = AwsRequest(
            region,
            profile=aws.profile,
            role_arn=aws.role_arn,
            web_identity_token_file=str(self.loaded.folder / token_file) if token_file else None,
            session_name=aws.session_name,
            access_key_id=access_key_id,
            secret_access_key=secret_access_key,
            session_token=keys["session_token"],
        )
        return self.fetches.later(request, path)

    def _google(self, entry: Provider, path: KeyPath) -> snapshot.Auth:
        reference = entry.google.credentials if entry.google is not None else None
        file = None
        if reference is not None:
            file = self.service_account(reference, (*path, "google", "credentials"))
            if file is None:
                return {"type": "none"}
        return self.fetches.later(GoogleRequest(file), (*path, "google") if entry.google else path)

    def service_account(self, reference: SecretReference, path: KeyPath) -> str | None:
        """Return the path of the service account that `credentials` names."""
        if reference.kind != "file":
            message = "`credentials` must name a file: the JSON of a service account."
            self._error("config.invalid_value", path, message, "Write `credentials: file:/path/to/key.json`.")
            return None
        file = self.loaded.folder / reference.name
        self.loaded.reads(file)
        return str(file)

    def _error(self, code: str, path: KeyPath, message: str, hint: str = "", *, key: bool = False) -> None:
        self.problems.append(self.loaded.problem(code, path, message, hint, key=key))

    def _warn(self, code: str, path: KeyPath, message: str, hint: str = "", *, key: bool = False) -> None:
        self.problems.append(self.loaded.warning(code, path, message, hint, key=key))
