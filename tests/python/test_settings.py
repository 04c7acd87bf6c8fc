from __future__ import annotations

import re
from pathlib import Path

import pytest

import meseta
from meseta.settings import FOR_AGENTS, SETTINGS, SettingError, Settings

PACKAGE = Path(meseta.__file__).parent


def test_defaults() -> None:
    settings = Settings.from_environment({})
    assert (settings.home, settings.log, settings.drain_seconds) == (None, "info", 30.0)
    assert settings.control
    assert settings.workers >= 1


def test_values() -> None:
    values = {"MESETA_HOME": "/h", "MESETA_WORKERS": "3", "MESETA_LOG": "error", "MESETA_DRAIN": "1.5s"}
    values["MESETA_CONTROL"] = "off"
    assert Settings.from_environment(values) == Settings("/h", 3, "error", 1.5, control=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MESETA_WORKERS", "0"),
        ("MESETA_WORKERS", "1025"),
        ("MESETA_WORKERS", "two"),
        ("MESETA_WORKERS", "9" * 5000),
        ("MESETA_WORKERS", "²"),
        ("MESETA_LOG", "loud"),
        ("MESETA_DRAIN", "30"),
        ("MESETA_CONTROL", "maybe"),
    ],
)
def test_a_bad_value_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        Settings.from_environment({name: value})


def test_every_variable_that_the_code_names_is_in_the_table() -> None:
    named = {
        word
        for file in PACKAGE.rglob("*.py")
        for word in re.findall(r"\bMESETA_[A-Z]+(?:_[A-Z]+)*\b", file.read_text("utf-8"))
    }
    assert named == {setting.name for setting in (*SETTINGS, *FOR_AGENTS)}
