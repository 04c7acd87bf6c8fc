"""Google access tokens by google-auth: a service account, or Application Default Credentials."""

from __future__ import annotations

import json
from datetime import UTC
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meseta.config.credentials import Credential, CredentialError, GoogleRequest, missing_extra, sentence

if TYPE_CHECKING:
    import types

SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
LARGEST_FILE = 65_536
"""Bytes; the JSON of a service account is about 2 KiB."""

LONGEST_SECONDS = 20
"""For one call to a token server."""


def read_service_account(file: str) -> dict[str, Any]:
    """Read the JSON of a service account; raise CredentialError when it is none."""
    try:
        with Path(file).open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the path cannot be"
        raise CredentialError(f"The service account {file} cannot be read: {reason}.") from None
    try:
        info = json.loads(content) if len(content) <= LARGEST_FILE else None
    except (ValueError, RecursionError):
        info = None
    if not isinstance(info, dict) or info.get("type") != "service_account":
        raise CredentialError(
            f"The file {file} is not the JSON of a service account.",
            "For another kind, set GOOGLE_APPLICATION_CREDENTIALS and leave `credentials` out.",
        )
    return info


def verify(request: GoogleRequest) -> None:
    """Check that google-auth is there, and that the key of the service account is one."""
    for name in ("google.auth", "google.auth.transport.requests"):
        _library(name)
    if request.file is not None:
        _service_account(request.file)


def fetch(request: GoogleRequest) -> Credential:
    """Return an access token as a bearer token; raise CredentialError when it cannot be had."""
    verify(request)
    errors = _library("google.auth.exceptions")
    transport = _library("google.auth.transport.requests").Request()

    def call(*arguments: Any, **named: Any) -> Any:
        return transport(*arguments, **{**named, "timeout": LONGEST_SECONDS})

    try:
        if request.file is not None:
            credentials = _service_account(request.file)
        else:
            credentials, _ = _library("google.auth").default(scopes=SCOPES, request=call)
        credentials.refresh(call)
    except (errors.GoogleAuthError, OSError, ValueError) as error:
        # The second argument is the whole answer of the server.
        told = error.args[0] if isinstance(error, errors.GoogleAuthError) and error.args else error
        raise CredentialError(f"Google gives no access token: {sentence(told)}.") from None
    # google-auth keeps the moment without a time zone and means UTC.
    expires = credentials.expiry.replace(tzinfo=UTC).timestamp() if credentials.expiry else None
    auth = {"type": "header", "name": "authorization", "value": f"Bearer {credentials.token}"}
    return Credential(auth, expires)


def _service_account(file: str) -> Any:
    info = read_service_account(file)
    kind = _library("google.oauth2.service_account").Credentials
    try:
        return kind.from_service_account_info(info, scopes=SCOPES)
    except (_library("google.auth.exceptions").GoogleAuthError, ValueError, TypeError):
        # The message of the library may quote the key.
        raise CredentialError(f"The service account {file} has no usable key.") from None


def _library(name: str) -> types.ModuleType:
    try:
        return import_module(name)
    except ImportError:
        raise missing_extra("google", "Google credentials") from None
