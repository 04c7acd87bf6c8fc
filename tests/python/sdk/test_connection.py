"""What a connection knows, and what it gives to the vendors' SDKs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

import meseta
from meseta.sdk import hooks
from meseta.sdk.connection import newest

if TYPE_CHECKING:
    from tests.python.sdk.conftest import Gateway


def test_nothing_said() -> None:
    with meseta.connect() as connection:
        assert connection.openai_kwargs() == {
            "base_url": "http://127.0.0.1:12000/v1",
            "api_key": "unused",
            "default_headers": {},
        }
        assert connection.anthropic_kwargs()["base_url"] == "http://127.0.0.1:12000"
        assert connection.hub is None


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESETA_URL", "http://gateway:1/v1/")
    monkeypatch.setenv("MESETA_HUB_URL", "http://gateway:2")
    monkeypatch.setenv("MESETA_KEY", "secret-key")
    with meseta.connect() as connection:
        assert (connection.url, connection.hub) == ("http://gateway:1", "http://gateway:2")
        assert connection.openai_kwargs()["api_key"] == "secret-key"
    with meseta.connect("http://other:3", "another") as connection:
        assert (connection.url, connection.openai_kwargs()["api_key"]) == ("http://other:3", "another")


def test_the_key_of_the_environment_is_for_its_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(url: str, hub: str | None = None) -> str:
        with meseta.connect(url, hub=hub) as connection:
            return str(connection.openai_kwargs()["api_key"])

    monkeypatch.setenv("MESETA_KEY", "secret-key")
    assert key("http://anywhere:1") == "secret-key", "nothing says whose it is"
    monkeypatch.setenv("MESETA_URL", "http://gateway:1")
    monkeypatch.setenv("MESETA_HUB_URL", "http://gateway:2")
    assert key("http://gateway:1/v1") == key("http://gateway:1", "http://gateway:2") == "secret-key"
    assert key("http://other:1") == key("http://gateway:1", "http://other:2") == "unused"


def test_without_any_http_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in hooks.LIBRARIES:
        monkeypatch.setitem(sys.modules, name, None)
    with meseta.connect("http://g:1") as connection:
        assert connection.openai_kwargs()["base_url"] == "http://g:1/v1"
        assert hooks.installed() == []


def test_defaults_are_headers() -> None:
    with meseta.connect(session="s", run="r", tags=["a", "b"]) as connection:
        expected = {"x-meseta-session": "s", "x-meseta-run": "r", "x-meseta-tags": "a,b"}
        assert connection.openai_kwargs()["default_headers"] == expected


def test_an_agent_is_asked_at_the_hub() -> None:
    with meseta.connect("http://g:1", hub="http://g:2", agent="weather") as connection:
        given = connection.openai_kwargs()
    assert (given["base_url"], given["default_headers"]) == ("http://g:2/v1", {"x-meseta-agent": "weather"})
    with meseta.connect("http://g:2", agent="weather") as connection:
        assert connection.anthropic_kwargs()["base_url"] == "http://g:2"


def test_export() -> None:
    environment = {"OPENAI_API_KEY": "the vendor's", "PATH": "/bin"}
    with meseta.connect("http://g:1", "ours") as connection:
        connection.export(environment)
    assert environment == {
        "PATH": "/bin",
        "OPENAI_BASE_URL": "http://g:1/v1",
        "OPENAI_API_KEY": "ours",
        "ANTHROPIC_BASE_URL": "http://g:1",
        "ANTHROPIC_API_KEY": "ours",
    }


def test_the_key_is_not_shown() -> None:
    with meseta.connect(key="very-secret") as connection:
        assert "very-secret" not in repr(connection)
    with pytest.raises(ValueError, match="line end") as raised:
        meseta.connect(key="very-secret\n")
    assert "very-secret" not in str(raised.value)


def test_the_newest_open_connection_is_used(gateway: Gateway) -> None:
    assert newest().url == "http://127.0.0.1:12000"
    with meseta.connect("http://g:1") as outer:
        with meseta.connect("http://g:2") as inner:
            assert newest() is inner
        assert newest() is outer
    assert newest() is not outer


@pytest.mark.parametrize("url", ["http://g/?a=b", "http://g/#top"])
def test_urls_that_cannot_be_extended(url: str) -> None:
    with pytest.raises(ValueError, match="ends with its path"):
        meseta.connect(url)
