"""AWS credentials by botocore: profiles, roles, web identities and the default chain of the AWS SDKs."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meseta.config.credentials import AwsRequest, Credential, CredentialError, missing_extra, sentence

if TYPE_CHECKING:
    import types

SERVICE = "bedrock"
"""The name of Amazon Bedrock in a signature."""

LARGEST_TOKEN_FILE = 65_536
"""Bytes; a web identity token larger than this is a mistake."""


def sigv4(
    region: str, access_key_id: str, secret_access_key: str, session_token: str | None
) -> dict[str, Any]:
    """Return the `auth` of a target whose requests are signed."""
    return {
        "type": "sigv4",
        "region": region,
        "service": SERVICE,
        "access_key_id": access_key_id,
        "secret_access_key": secret_access_key,
        "session_token": session_token,
    }


def verify(request: AwsRequest) -> None:
    """Check that botocore is there, that the profile exists and that the token file can be read."""
    session = _session(request)
    if request.profile is not None and request.profile not in session.available_profiles:
        raise CredentialError(
            f"The AWS profile {request.profile!r} does not exist.",
            "Add it to the AWS configuration file (~/.aws/config, or AWS_CONFIG_FILE).",
        )
    if request.web_identity_token_file is not None:
        _read_token(request.web_identity_token_file)


def fetch(request: AwsRequest) -> Credential:
    """Return credentials for signing; raise CredentialError when they cannot be had."""
    verify(request)
    exceptions = _library("botocore.exceptions")
    try:
        if request.role_arn is None:
            return _from_chain(request)
        return _from_role(request)
    except (exceptions.BotoCoreError, exceptions.ClientError, OSError, ValueError) as error:
        raise CredentialError(f"AWS gives no credentials: {sentence(error)}.") from None


def _from_chain(request: AwsRequest) -> Credential:
    """Profile or default chain: environment, files, SSO, web identity, container, instance."""
    credentials = _session(request).get_credentials()
    if credentials is None:
        raise CredentialError(
            "No AWS credentials were found.",
            "Name a `profile` or keys in `aws`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        )
    frozen = credentials.get_frozen_credentials()
    # botocore has no public name for it; the AWS command line reads the same attribute.
    expiry = getattr(credentials, "_expiry_time", None)
    auth = sigv4(request.region, frozen.access_key, frozen.secret_key, frozen.token)
    return Credential(auth, expiry.timestamp() if expiry is not None else None)


def _from_role(request: AwsRequest) -> Credential:
    """Assume the role with a web identity, with the given keys, or with what the chain finds."""
    config = _library("botocore.config").Config
    limits = {"connect_timeout": 5, "read_timeout": 15, "retries": {"total_max_attempts": 3}}
    wish = {"RoleArn": request.role_arn, "RoleSessionName": request.session_name}
    session = _session(request)
    if request.web_identity_token_file is not None:
        # The token is the proof; nothing else signs this call.
        unsigned = config(signature_version=_library("botocore").UNSIGNED, **limits)
        client = session.create_client("sts", region_name=request.region, config=unsigned)
        token = _read_token(request.web_identity_token_file)
        answer = client.assume_role_with_web_identity(**wish, WebIdentityToken=token)
    else:
        client = session.create_client(
            "sts",
            region_name=request.region,
            config=config(**limits),
            aws_access_key_id=request.access_key_id,
            aws_secret_access_key=request.secret_access_key,
            aws_session_token=request.session_token,
        )
        answer = client.assume_role(**wish)
    given = answer["Credentials"]
    auth = sigv4(request.region, given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    return Credential(auth, given["Expiration"].timestamp())


def _session(request: AwsRequest) -> Any:
    session = _library("botocore.session").Session(profile=request.profile)
    session.set_config_variable("region", request.region)
    return session


def _read_token(file: str) -> str:
    try:
        with Path(file).open("rb") as stream:
            content = stream.read(LARGEST_TOKEN_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the path cannot be"
        raise CredentialError(f"The web identity token {file} cannot be read: {reason}.") from None
    if not content.strip() or len(content) > LARGEST_TOKEN_FILE:
        raise CredentialError(f"The web identity token {file} is empty or larger than 64 KiB.")
    return content.decode("utf-8", "replace").strip()


def _library(name: str) -> types.ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise missing_extra("aws", "AWS credentials of this kind") from None
