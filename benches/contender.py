"""What a contender is, where it runs, and how packages are installed for one."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

BENCHES = Path(__file__).resolve().parent
REPOSITORY = BENCHES.parent
WORK = BENCHES / ".work"
MODEL = "bench"
CHAT = "chat"
MESSAGES = "messages"


class AbsentError(Exception):
    """A contender that cannot run here; the text is the reason that the table gives."""


@dataclass(frozen=True)
class Setting:
    """Where one contender runs: its folder for files, the mock's port, its own port, its worker threads."""

    folder: Path
    mock: int
    port: int
    workers: int

    def write(self, name: str, text: str) -> str:
        """Write a file into the folder and return its path."""
        path = self.folder / name
        path.write_text(text)
        return str(path)


@dataclass(frozen=True)
class Launch:
    """A command line and what it needs besides."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)


class Contender:
    """A gateway that can be prepared and launched."""

    name: str
    # What its clients speak, as the generator names it.
    api = CHAT
    headers: tuple[str, ...] = ()

    def request_headers(self, mock: int) -> list[str]:
        """Extra `name:value` request headers that the gateway needs to find the mock on port `mock`."""
        return [header.format(mock=mock) for header in self.headers]

    def prepare(self) -> str:
        """Install what is missing and return the version, or raise `AbsentError`."""
        raise NotImplementedError

    def launch(self, setting: Setting) -> Launch:
        """Write the configuration and return what starts the gateway in the foreground."""
        raise NotImplementedError


def install(folder: Path, command: list[str]) -> None:
    """Run one installing command inside `folder`; its words go to `install.log` there."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "install.log"
    try:
        with log.open("a") as words:
            subprocess.run(command, cwd=folder, stdout=words, stderr=words, check=True, timeout=900)
    except (OSError, subprocess.SubprocessError) as reason:
        where = log.relative_to(REPOSITORY)
        raise AbsentError(f"{command[0]} failed ({type(reason).__name__}), see {where}") from reason


def pip_install(folder: Path, package: str) -> None:
    """Install one package into a virtual environment of its own."""
    install(folder, [sys.executable, "-m", "venv", "."])
    install(folder, ["bin/python", "-m", "pip", "install", package])


def output(command: list[str]) -> str:
    """Return what a command prints, on either stream."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as reason:
        raise AbsentError(f"{Path(command[0]).name} does not run ({type(reason).__name__})") from reason
    return done.stdout + done.stderr


def first_match(pattern: str, text: str) -> str:
    """Return the first group of the first match, or `unknown`."""
    found = re.search(pattern, text)
    return found[1] if found else "unknown"
