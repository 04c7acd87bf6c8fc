"""What every test shares: no variable of the machine leaks in, and the working directory is empty.

And two local servers in the place of AWS's and Google's token services.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from meseta.config.providers import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("MESETA_", "AWS_", "GOOGLE_", "CLOUDSDK_")) and name != "MESETA_UPDATE":
            monkeypatch.delenv(name)
    for provider in PROVIDERS:
        for variable in provider.variables:
            monkeypatch.delenv(variable, raising=False)
    # No profile of this machine, and no question to the metadata server of a cloud.
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-aws-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("MESETA_ALLOW_DEBUG", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)


class TokenService:
    """A local server that hands out credentials, and remembers what it was asked."""

    def __init__(self, kind: str) -> None:
        self.lifetime = 3600.0
        """Seconds that the next credential lasts."""
        self.refuse = False
        self.asked: queue.Queue[dict[str, str]] = queue.Queue()
        """The form of every request, the signature of AWS with it."""
        self.given = 0
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                service.asked.put({**form, "authorization": self.headers.get("authorization", "")})
                status, content_type, text = service.answer(kind, form)
                self.send_response(status)
                self.send_header("content-type", content_type)
                self.send_header("content-length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def answer(self, kind: str, form: dict[str, str]) -> tuple[int, str, str]:
        """Status, content type and body, as the real service writes them."""
        if kind == "google":
            if self.refuse:
                return (
                    400,
                    "application/json",
                    json.dumps({"error": "invalid_grant", "error_description": "No."}),
                )
            self.given += 1
            token = {"access_token": f"token-{self.given}", "expires_in": int(self.lifetime)}
            return 200, "application/json", json.dumps({**token, "token_type": "Bearer"})
        action = form["Action"]
        if self.refuse:
            error = "<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not you.</Message></Error>"
            return 403, "text/xml", f"<ErrorResponse>{error}<RequestId>r</RequestId></ErrorResponse>"
        self.given += 1
        expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self.lifetime))
        credentials = (
            f"<Credentials><AccessKeyId>ASIA{self.given}</AccessKeyId><SecretAccessKey>secret-{self.given}"
            f"</SecretAccessKey><SessionToken>session-{self.given}</SessionToken>"
            f"<Expiration>{expires}</Expiration></Credentials>"
        )
        result = f"<{action}Result>{credentials}</{action}Result>"
        namespace = "https://sts.amazonaws.com/doc/2011-06-15/"
        return 200, "text/xml", f'<{action}Response xmlns="{namespace}">{result}</{action}Response>'

    def close(self) -> None:
        """Stop it."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenService]:
    """AWS's security token service, which botocore is pointed at."""
    service = TokenService("aws")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", service.url)
    yield service
    service.close()


@pytest.fixture
def google_tokens() -> Iterator[TokenService]:
    """Google's token server; a service account names it as its `token_uri`."""
    service = TokenService("google")
    yield service
    service.close()


@pytest.fixture
def service_account(google_tokens: TokenService, tmp_path: Path) -> Path:
    """The JSON of a service account whose tokens come from `google_tokens`, with a key made for this test."""
    rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
    serialization: Any = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = tmp_path / "service-account.json"
    written = {
        "type": "service_account",
        "project_id": "acme-1",
        "private_key_id": "k1",
        "private_key": key.decode(),
        "client_email": "meseta@acme-1.example",
        "token_uri": google_tokens.url,
    }
    file.write_text(json.dumps(written))
    return file
