"""The variables that secrets may refer to: the process's, supplemented by a `.env` file."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LARGEST_FILE = 1_048_576
"""Bytes; a larger `.env` is ignored as something else."""

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*", re.ASCII)


def gather(folder: Path, process: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables of `.env` in `folder`, overlaid by those of the process (which win)."""
    values = read_dotenv(folder / ".env")
    values.update(os.environ if process is None else process)
    return values


def read_dotenv(path: Path) -> dict[str, str]:
    """Read `NAME=value` lines; no file, or one that cannot be read, is an empty table.

    `export` in front, `#` comments and single or double quotes are understood; nothing is expanded. Lines
    that
    are none of this are skipped, as other readers of such files do.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
    except OSError:
        return {}
    if len(content) > LARGEST_FILE:
        return {}
    values: dict[str, str] = {}
    for line in content.decode("utf-8-sig", "replace").splitlines():
        match = _LINE.fullmatch(line)
        if match:
            values[match.group(1)] = _unquote(match.group(2))
    return values


def _unquote(text: str) -> str:
    if text[:1] in {"'", '"'}:
        end = text.find(text[0], 1)
        if end > 0:
            return text[1:end]
    return re.split(r"\s+#|^#", text, maxsplit=1)[0].rstrip()
