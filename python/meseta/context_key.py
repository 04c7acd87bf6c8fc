"""The key that signs what agents are told of the run that they work for, kept beside the log."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAME = "context.key"
"""Its file in the home: 64 hexadecimal digits that only its owner can read.

Replicas that are to understand each other's contexts are given the same file.
"""

_BYTES = 32


def context_key(home: Path) -> str | None:
    """Return the key as 64 hexadecimal digits, made now if there is none.

    None where the home cannot be written: then the plane makes a key of its own, and what an agent was told
    before a restart counts for nothing after it.
    """
    path = home / NAME
    found = _read(path)
    if found is not None:
        return found
    key = secrets.token_hex(_BYTES)
    try:
        home.mkdir(parents=True, exist_ok=True)
        # Whole or not at all, and whoever is first is right.
        draft = home / f".{NAME}.{os.getpid()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(key)
        try:
            os.link(draft, path)
        except FileExistsError:
            return _read(path)
        finally:
            draft.unlink()
    except OSError:
        return None
    return key


def _read(path: Path) -> str | None:
    try:
        key = path.read_text(encoding="ascii").strip()
        bytes.fromhex(key)
    except (OSError, ValueError):
        return None
    return key if len(key) == 2 * _BYTES else None
