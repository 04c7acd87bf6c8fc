"""Where the program of an agent is."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def search_path(inherited: str | None) -> str:
    """Return the PATH of an agent whose entry says none.

    `python` is the one that runs Meseta, so that an agent finds the packages beside it.
    """
    folder = str(Path(sys.executable).parent)
    folders = (os.defpath if inherited is None else inherited).split(os.pathsep)
    return os.pathsep.join([folder, *(other for other in folders if other != folder)])


def find_program(program: str, cwd: Path, path: str) -> str | None:
    """Return what is to be started: a path as it is, from `cwd`, a name by `path`; None if there is none."""
    if not program or "\0" in program:
        return None
    return shutil.which(str(cwd / program)) if "/" in program else shutil.which(program, path=path)
