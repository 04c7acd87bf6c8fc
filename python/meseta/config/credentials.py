"""Credentials that must be fetched and that expire: what is asked for, what comes back, when it is due again.

Standard library only: the long-running process keeps these and lets a child do the fetching. The libraries of
the clouds are imported by `aws.py` and `google.py`, where they are needed.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EARLIEST_SECONDS = 300.0
SHARE_OF_LIFE = 0.2
"""A credential is renewed this long before its end: the smaller of the two, so that short ones work."""

EXTRAS = {"aws": "meseta[aws]", "google": "meseta[google]"}
"""What to install for each kind of credential."""


class CredentialError(Exception):
    """A credential cannot be had; `str()` is a sentence that never contains a secret."""

    def __init__(self, message: str, hint: str = "", *, missing: bool = False) -> None:
        super().__init__(message)
        self.hint = hint
        self.missing = missing
        """Whether a package is missing rather than the credential."""


@dataclass(frozen=True)
class AwsRequest:
    """Where AWS credentials come from: a profile, a role, or the default chain of the AWS SDKs."""

    region: str
    profile: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    role_arn: str | None = None
    web_identity_token_file: str | None = None
    session_name: str = "meseta"
    kind: Literal["aws"] = "aws"


@dataclass(frozen=True)
class GoogleRequest:
    """Where a Google access token comes from: a service account, or Application Default Credentials."""

    file: str | None = None
    """Path of the JSON of a service account; None for Application Default Credentials."""
    kind: Literal["google"] = "google"


Request = AwsRequest | GoogleRequest


@dataclass(frozen=True)
class Credential:
    """A credential in the form that the snapshot wants."""

    auth: dict[str, Any] = field(repr=False)
    expires: float | None
    """Seconds since 1970; None when it does not expire."""


@dataclass(frozen=True)
class Lease:
    """A credential in use: which targets have it, and how to get the next one."""

    request: Request
    targets: tuple[str, ...]
    obtained: float
    expires: float

    @property
    def due(self) -> float:
        """When it should be renewed, in seconds since 1970."""
        return self.expires - min(EARLIEST_SECONDS, SHARE_OF_LIFE * (self.expires - self.obtained))

    def renewed(self, expires: float | None) -> Lease | None:
        """Return the lease on the next credential, or None when that one does not expire."""
        return lease(self.request, self.targets, expires)


def lease(request: Request, targets: tuple[str, ...], expires: float | None) -> Lease | None:
    """Return a lease that begins now, or None for a credential that does not expire."""
    return None if expires is None else Lease(request, targets, time.time(), expires)


def fetch(request: Request) -> Credential:
    """Get a credential, over the network if need be; raise CredentialError when it cannot be had."""
    if isinstance(request, AwsRequest):
        from meseta.config import aws

        return aws.fetch(request)
    from meseta.config import google

    return google.fetch(request)


def verify(request: Request) -> None:
    """Check what can be checked without the network; raise CredentialError."""
    if isinstance(request, AwsRequest):
        from meseta.config import aws

        aws.verify(request)
    else:
        from meseta.config import google

        google.verify(request)


def fetch_all(requests: Sequence[Request]) -> list[Credential | CredentialError]:
    """Fetch each one; what failed is in its place, so that one failure does not cost the others."""
    outcomes: list[Credential | CredentialError] = []
    for request in requests:
        try:
            outcomes.append(fetch(request))
        except CredentialError as error:
            outcomes.append(error)
    return outcomes


def missing_extra(kind: str, noun: str) -> CredentialError:
    """Return the error for a package that is not installed."""
    return CredentialError(
        f"{noun} need the extra package that is not installed here.",
        f"Run `pip install '{EXTRAS[kind]}'`.",
        missing=True,
    )


def request_as_dict(request: Request) -> dict[str, Any]:
    """Return a request as plain data, for a pipe to another process; it may hold secrets."""
    return asdict(request)


def request_from_dict(data: Mapping[str, Any]) -> Request:
    """Return what `request_as_dict` was given."""
    return AwsRequest(**data) if data["kind"] == "aws" else GoogleRequest(**data)


def sentence(error: object) -> str:
    """Return the first line of another library's error, short enough to be read."""
    text = " ".join(str(error).split()) or type(error).__name__
    return (text if len(text) <= 300 else text[:297] + "...").rstrip(".")
