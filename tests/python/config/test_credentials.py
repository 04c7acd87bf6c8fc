"""Credentials by the real libraries of AWS and Google, against local token services."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from meseta.config import ConfigError, load_bytes, redact, resolve_file, resolve_loaded
from meseta.config.child import fetch_in_child, resolve_in_child
from meseta.config.credentials import (
    AwsRequest,
    Credential,
    CredentialError,
    GoogleRequest,
    Lease,
    fetch,
    fetch_all,
    request_as_dict,
    request_from_dict,
    verify,
)

REGION = "us-west-2"
ROLE = "arn:aws:iam::123456789012:role/meseta"


def keys(credential: Credential) -> tuple[str, str, str | None]:
    auth = credential.auth
    assert (auth["type"], auth["region"], auth["service"]) == ("sigv4", REGION, "bedrock")
    return auth["access_key_id"], auth["secret_access_key"], auth["session_token"]


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "aws-config"
    file.write_text(
        "[profile lasting]\naws_access_key_id = AKIA1\naws_secret_access_key = s1\n"
        "[profile assumed]\nrole_arn = arn:aws:iam::123456789012:role/other\nsource_profile = lasting\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    return file


def test_a_profile(profiles: Path) -> None:
    credential = fetch(AwsRequest(REGION, profile="lasting"))
    assert keys(credential) == ("AKIA1", "s1", None)
    assert credential.expires is None


def test_a_profile_that_assumes_a_role(profiles: Path, sts: Any) -> None:
    credential = fetch(AwsRequest(REGION, profile="assumed"))
    assert keys(credential) == ("ASIA1", "secret-1", "session-1")
    assert credential.expires is not None
    assert 3000 < credential.expires - time.time() <= 3600
    assert "Credential=AKIA1/" in sts.asked.get()["authorization"]


def test_a_profile_that_is_not_there(profiles: Path) -> None:
    with pytest.raises(CredentialError, match="profile 'nobody' does not exist"):
        verify(AwsRequest(REGION, profile="nobody"))


def test_the_default_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CredentialError, match="No AWS credentials were found"):
        fetch(AwsRequest(REGION))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s2")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "t2")
    assert keys(fetch(AwsRequest(REGION))) == ("AKIA2", "s2", "t2")


def test_a_web_identity(sts: Any, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("oidc-token\n")
    request = AwsRequest(REGION, role_arn=ROLE, web_identity_token_file=str(token), session_name="tests")
    credential = fetch(request)
    assert keys(credential) == ("ASIA1", "secret-1", "session-1")
    asked = sts.asked.get()
    assert asked["Action"] == "AssumeRoleWithWebIdentity"
    assert (asked["RoleArn"], asked["RoleSessionName"], asked["WebIdentityToken"]) == (
        ROLE,
        "tests",
        "oidc-token",
    )
    assert asked["authorization"] == "", "the token is the proof, nothing else"
    token.write_text("the next token")
    fetch(request)
    assert sts.asked.get()["WebIdentityToken"] == "the next token"


@pytest.mark.parametrize("content", ["", " \n", "x" * 70_000])
def test_a_web_identity_that_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(content)
    with pytest.raises(CredentialError, match="empty or larger"):
        verify(AwsRequest(REGION, role_arn=ROLE, web_identity_token_file=str(tmp_path / "token")))


def test_a_role_by_keys_and_by_the_chain(sts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    request = AwsRequest(REGION, role_arn=ROLE, access_key_id="AKIA3", secret_access_key="s3")
    assert keys(fetch(request))[0] == "ASIA1"
    asked = sts.asked.get()
    assert (asked["Action"], asked["RoleSessionName"]) == ("AssumeRole", "meseta")
    assert "Credential=AKIA3/" in asked["authorization"]
    with pytest.raises(CredentialError, match="Unable to locate credentials"):
        fetch(AwsRequest(REGION, role_arn=ROLE))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA4")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s4")
    assert keys(fetch(AwsRequest(REGION, role_arn=ROLE)))[0] == "ASIA2"
    assert "Credential=AKIA4/" in sts.asked.get()["authorization"]


def test_a_refusal_is_a_sentence_without_secrets(sts: Any) -> None:
    sts.refuse = True
    with pytest.raises(CredentialError, match="AccessDenied") as caught:
        fetch(AwsRequest(REGION, role_arn=ROLE, access_key_id="AKIA3", secret_access_key="s3-secret"))
    assert "s3-secret" not in str(caught.value)


def test_a_service_account(google_tokens: Any, service_account: Path) -> None:
    credential = fetch(GoogleRequest(str(service_account)))
    assert credential.auth == {"type": "header", "name": "authorization", "value": "Bearer token-1"}
    assert credential.expires is not None
    assert 3000 < credential.expires - time.time() <= 3600
    assert google_tokens.asked.get()["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"


def test_application_default_credentials(
    google_tokens: Any, service_account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(service_account))
    assert fetch(GoogleRequest()).auth["value"] == "Bearer token-1"


def test_google_refuses(google_tokens: Any, service_account: Path) -> None:
    google_tokens.refuse = True
    with pytest.raises(CredentialError, match=r"no access token: invalid_grant: No\.") as caught:
        fetch(GoogleRequest(str(service_account)))
    assert "PRIVATE KEY" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", '{"type": "authorized_user"}', "[" * 60_000, "\xff"])
def test_what_is_not_a_service_account(content: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(content)
    with pytest.raises(CredentialError, match="not the JSON of a service account"):
        verify(GoogleRequest(str(tmp_path / "key")))


@pytest.mark.parametrize(
    ("module", "request_", "command"),
    [
        ("botocore.session", AwsRequest(REGION), "pip install 'meseta[aws]'"),
        ("google.auth.transport.requests", GoogleRequest(), "pip install 'meseta[google]'"),
    ],
)
def test_a_missing_extra_names_the_command(
    module: str, request_: AwsRequest | GoogleRequest, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(CredentialError) as caught:
        verify(request_)
    assert caught.value.missing
    assert command in caught.value.hint
    text = {
        "aws": b"version: 1\nmodel_providers: [{model: amazon_bedrock/*, aws: {region: us-east-1}}]\n",
        "google": b"version: 1\nmodel_providers: [{model: vertex_ai/*, google: {project: p}}]\n",
    }[request_.kind]
    with pytest.raises(ConfigError) as refused:
        resolve_loaded(load_bytes(text), environment={})
    assert [problem.code for problem in refused.value.errors] == ["config.missing_extra"]
    assert command in refused.value.errors[0].hint


@pytest.mark.parametrize(
    "request_",
    [
        AwsRequest(REGION, "p", "a", "s-secret", "t-secret", ROLE, "/token", "n"),
        GoogleRequest("/key.json"),
        GoogleRequest(),
    ],
)
def test_a_request_travels_as_json_and_is_not_shown(request_: AwsRequest | GoogleRequest) -> None:
    assert request_from_dict(json.loads(json.dumps(request_as_dict(request_)))) == request_
    assert "-secret" not in repr(request_)


def test_one_failure_does_not_cost_the_others(profiles: Path) -> None:
    outcomes = fetch_all([AwsRequest(REGION, profile="nobody"), AwsRequest(REGION, profile="lasting")])
    assert isinstance(outcomes[0], CredentialError)
    assert isinstance(outcomes[1], Credential)


def test_the_child_fetches_the_same(profiles: Path) -> None:
    requests = [AwsRequest(REGION, profile="lasting"), AwsRequest(REGION, profile="nobody")]
    here, there = fetch_all(requests), fetch_in_child(requests)
    assert here[0] == there[0]
    assert isinstance(here[1], CredentialError)
    assert isinstance(there[1], CredentialError)
    assert (str(here[1]), here[1].hint, here[1].missing) == (
        str(there[1]),
        there[1].hint,
        there[1].missing,
    )


@pytest.mark.parametrize(("life", "before"), [(3600.0, 300.0), (900.0, 180.0), (10.0, 2.0)])
def test_when_a_lease_is_due(life: float, before: float) -> None:
    lease = Lease(GoogleRequest(), ("a",), 1000.0, 1000.0 + life)
    assert lease.due == 1000.0 + life - before


FILE = """
version: 1
model_providers:
  - model: amazon_bedrock/*
    aws: &aws {{region: us-west-2, role_arn: {role}, web_identity_token_file: token}}
  - {{model: amazon_bedrock/own, aws: *aws}}
  - {{model: vertex_ai/*, google: {{location: europe-west4, credentials: "file:{account}"}}}}
  - {{model: sim/*}}
model_aliases: {{claude: {{target: amazon_bedrock/claude}}}}
"""


def test_a_file_is_resolved_with_fetched_credentials(
    sts: Any, google_tokens: Any, service_account: Path, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("oidc-token")
    file = tmp_path / "m.yaml"
    file.write_text(FILE.format(role=ROLE, account=service_account))
    offline = resolve_file(file)
    assert sts.asked.empty(), "nothing is fetched unless it is asked for"
    assert google_tokens.asked.empty()
    assert offline.leases == []
    resolved = resolve_in_child(file, online=True)
    auths = {target["name"]: target["credentials"][0] for target in resolved.snapshot["targets"]}
    bedrock = auths["amazon_bedrock/*"]
    assert bedrock["access_key_id"] == "ASIA1"
    assert auths["amazon_bedrock/own"] == auths["amazon_bedrock/claude"] == bedrock
    assert sts.given == 1, "the same credentials are fetched once"
    assert auths["vertex_ai/*"]["value"] == "Bearer token-1"
    assert resolved.snapshot["targets"][2]["base_url"] == (
        "https://europe-west4-aiplatform.googleapis.com/v1/projects/acme-1/locations/europe-west4/"
        "publishers/google"
    )
    assert {lease.targets for lease in resolved.leases} == {
        ("amazon_bedrock/*", "amazon_bedrock/own", "amazon_bedrock/claude"),
        ("vertex_ai/*",),
    }
    assert str(service_account) in resolved.files
    shown = json.dumps(redact(resolved.snapshot)) + repr(resolved)
    for secret in ("ASIA1", "secret-1", "session-1", "token-1"):
        assert secret not in shown


def test_a_refused_credential_is_a_mistake_with_its_place(sts: Any, tmp_path: Path) -> None:
    sts.refuse = True
    (tmp_path / "token").write_text("oidc-token")
    file = tmp_path / "m.yaml"
    file.write_text(
        "version: 1\nmodel_providers:\n"
        "  - {model: amazon_bedrock/*,\n"
        f"     aws: {{region: us-west-2, role_arn: {ROLE}, web_identity_token_file: token}}}}\n"
    )
    resolve_file(file)
    with pytest.raises(ConfigError) as caught:
        resolve_file(file, online=True)
    assert [(problem.code, problem.line) for problem in caught.value.errors] == [
        ("config.credential_unavailable", 4)
    ]


def test_nothing_is_fetched_for_a_file_with_mistakes(sts: Any, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("oidc-token")
    file = tmp_path / "m.yaml"
    text = FILE.format(role=ROLE, account="missing.json") + "listeners: [{name: a, address: nowhere}]\n"
    file.write_text(text)
    with pytest.raises(ConfigError):
        resolve_file(file, online=True)
    assert sts.asked.empty()
