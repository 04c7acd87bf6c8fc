"""Credentials that expire in seconds are renewed while the old ones serve; no test waits for a set time."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.waiting import PATIENCE

from meseta.config.credentials import (
    AwsRequest,
    Credential,
    CredentialError,
    GoogleRequest,
    Lease,
    fetch_all,
    lease,
)
from meseta.plane import Plane
from meseta.renewal import Renewal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from meseta.config.credentials import Request

ROLE = "arn:aws:iam::123456789012:role/meseta"
TARGETS = ("amazon_bedrock/*",)


class Watched:
    """A renewal, and everything that came of it."""

    def __init__(self, fetch: Any) -> None:
        self.put: queue.Queue[str] = queue.Queue()
        self.reports: queue.Queue[tuple[str, str]] = queue.Queue()
        self.accept = True
        self.renewal = Renewal(fetch, self._put, lambda text, level: self.reports.put((level, text)))

    def _put(self, _: int, renewed: Sequence[tuple[Lease, Credential]]) -> bool:
        for held, credential in renewed:
            assert held.targets == TARGETS
            self.put.put(credential.auth["access_key_id"])
        return self.accept


@pytest.fixture
def stopping() -> Iterator[list[Renewal]]:
    renewals: list[Renewal] = []
    yield renewals
    for renewal in renewals:
        renewal.stop()


def expiring(request: Request, seconds: float) -> Lease:
    held = lease(request, TARGETS, time.time() + seconds)
    assert held is not None
    return held


def test_real_credentials_are_renewed_again_and_again(
    sts: Any, tmp_path: Path, stopping: list[Renewal]
) -> None:
    (tmp_path / "token").write_text("oidc-token")
    request = AwsRequest("us-west-2", role_arn=ROLE, web_identity_token_file=str(tmp_path / "token"))
    sts.lifetime = 3.0
    watched = Watched(fetch_all)
    stopping.append(watched.renewal)
    watched.renewal.follow([expiring(request, 1.0)])
    assert [watched.put.get(timeout=PATIENCE) for _ in range(2)] == ["ASIA1", "ASIA2"]
    assert watched.reports.get(timeout=PATIENCE) == ("info", "Renewed the credentials of amazon_bedrock/*.")
    sts.refuse = True
    level, text = watched.reports.get(timeout=PATIENCE)
    while level == "info":
        level, text = watched.reports.get(timeout=PATIENCE)
    assert level == "warn"
    assert text.startswith(
        "The credentials of amazon_bedrock/* could not be renewed: AWS gives no credentials"
    )
    assert "Next attempt in" in text
    sts.refuse = False
    given = sts.given
    while not watched.put.empty():
        watched.put.get()
    assert int(watched.put.get(timeout=PATIENCE).removeprefix("ASIA")) > given - 1


def test_a_defect_does_not_end_it(stopping: list[Renewal]) -> None:
    outcomes: Iterator[Any] = iter(
        [
            RuntimeError("a defect"),
            [CredentialError("Refused.")],
            [Credential({"access_key_id": "A"}, None)],
        ]
    )

    def fetch(_: Sequence[Request]) -> list[Credential | CredentialError]:
        outcome: list[Credential | CredentialError] | Exception = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    watched = Watched(fetch)
    stopping.append(watched.renewal)
    watched.renewal.follow([expiring(GoogleRequest(), 0.0)])
    assert watched.put.get(timeout=PATIENCE) == "A"
    said = [watched.reports.get(timeout=PATIENCE) for _ in range(3)]
    assert [level for level, _ in said] == ["warn", "warn", "info"]
    assert "RuntimeError: a defect; the ones in use have expired" in said[0][1]
    assert "Refused; " in said[1][1]


def test_after_a_reload_the_old_ones_are_not_renewed(stopping: list[Renewal]) -> None:
    began, go_on = threading.Event(), threading.Event()

    def fetch(requests: Sequence[Request]) -> list[Credential | CredentialError]:
        began.set()
        assert go_on.wait(PATIENCE)
        return [Credential({"access_key_id": "A"}, time.time() + 3600) for _ in requests]

    watched = Watched(fetch)
    watched.accept = False
    stopping.append(watched.renewal)
    first = watched.renewal.follow([expiring(GoogleRequest(), 0.0)])
    assert began.wait(PATIENCE)
    assert watched.renewal.follow([]) == first + 1
    go_on.set()
    assert watched.put.get(timeout=PATIENCE) == "A", "it was offered, and refused"
    watched.accept = True
    watched.renewal.follow([expiring(GoogleRequest(), 0.0)])
    assert watched.put.get(timeout=PATIENCE) == "A"
    assert watched.reports.get(timeout=PATIENCE)[0] == "info"
    assert watched.reports.empty(), "what was refused is not said to be renewed"


def test_without_a_lease_there_is_no_thread() -> None:
    before = set(threading.enumerate())
    watched = Watched(fetch_all)
    watched.renewal.follow([])
    assert set(threading.enumerate()) <= before
    watched.renewal.stop()


def test_a_plane_puts_renewed_credentials_in_force(
    google_tokens: Any, service_account: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESETA_HOME", str(tmp_path / "home"))
    google_tokens.lifetime = 2
    reports: queue.Queue[str] = queue.Queue()
    file = tmp_path / "m.yaml"
    file.write_text(
        "version: 1\nlisteners: [{name: a, port: 0}]\nmodel_providers:\n"
        f'  - {{model: vertex_ai/*, google: {{credentials: "file:{service_account}"}}}}\n'
        "  - {model: sim/*}\n"
    )
    from meseta.plane import Source

    with Plane(Source.of_file(file, home=None), report=lambda text, _: reports.put(text)) as plane:
        before = plane.stats()["snapshot"]
        assert reports.get(timeout=PATIENCE) == "Renewed the credentials of vertex_ai/*."
        assert plane.stats()["snapshot"] != before
        assert "token-" not in str(plane.snapshot)
        plane.reload()
        assert reports.get(timeout=PATIENCE) == "Renewed the credentials of vertex_ai/*."
