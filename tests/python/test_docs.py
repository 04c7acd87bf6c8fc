"""The reference pages are complete and as generated; the guides name only what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from meseta.cli.main import COMMANDS
from meseta.config import CODES, ConfigError, load_bytes, resolve_loaded
from meseta.reference import PAGES
from meseta.settings import SETTINGS

DOCS = Path(__file__).parents[2] / "docs"
OURS = (
    "install-and-first-request.md",
    "providers.md",
    "pools.md",
    "replicas.md",
    "coming-from-plano.md",
    "operations.md",
    "python-sdk.md",
    "first-agents.md",
    "evaluate-routing.md",
    "importing.md",
    "agents-life-cycle.md",
)
ENVIRONMENT = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k", "AZURE_OPENAI_API_KEY": "k", "TEAM_KEY": "k"}
ENVIRONMENT["REDIS_PASSWORD"] = "p"
ENVIRONMENT["AWS_BEARER_TOKEN_BEDROCK"] = ENVIRONMENT["OPENROUTER_API_KEY"] = "k"
ENVIRONMENT["AIRLINE_KEY"] = "k"
ENVIRONMENT |= {"FIRST_KEY": "k-1", "SECOND_KEY": "k-2"}


@pytest.mark.parametrize("name", sorted(PAGES))
def test_generated_page(name: str) -> None:
    assert (DOCS / "reference" / name).read_text("utf-8") == PAGES[name](), (
        "out of date; run `python -m meseta.reference docs/reference`"
    )


def test_every_code_is_documented() -> None:
    page = (DOCS / "reference" / "configuration.md").read_text("utf-8")
    assert re.findall(r"^### (config\.\w+)$", page, re.MULTILINE) == [code.name for code in CODES]


def test_every_code_is_used_and_every_used_code_is_known() -> None:
    package = Path(__file__).parents[2] / "python" / "meseta"
    used = {
        found
        for file in package.rglob("*.py")
        if file.name != "problems.py"
        for found in re.findall(r'"(config\.[a-z_]+)"', file.read_text("utf-8"))
        if found != "config.yaml"
    }
    assert used == {code.name for code in CODES}


def test_every_command_and_setting_is_documented() -> None:
    commands = (DOCS / "reference" / "commands.md").read_text("utf-8")
    assert all(f"\n## meseta {command.name}\n" in commands for command in COMMANDS)
    environment = (DOCS / "reference" / "environment.md").read_text("utf-8")
    assert all(f"| `{setting.name}` |" in environment for setting in SETTINGS)


@pytest.mark.parametrize("name", OURS)
def test_commands_in_guides_exist(name: str) -> None:
    known = {command.name for command in COMMANDS} | {"--help", "--version"}
    text = (DOCS / "guides" / name).read_text("utf-8")
    assert set(re.findall(r"(?:^|`|^\$ )meseta ([a-z-]+)", text, re.MULTILINE)) <= known


@pytest.mark.parametrize("name", OURS)
def test_configurations_in_guides_are_valid(name: str) -> None:
    text = (DOCS / "guides" / name).read_text("utf-8")
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        if not block.startswith("version:"):
            continue
        try:
            resolve_loaded(load_bytes(block.encode(), name), environment=ENVIRONMENT)
        except ConfigError as error:
            assert {problem.code for problem in error.errors} <= {"config.not_found"}, str(error)  # noqa: PT017
