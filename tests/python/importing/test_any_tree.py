"""Files with parts taken out, or of another kind, become a file or an error, and never tell a secret."""

from __future__ import annotations

import io
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from meseta.config import ConfigError
from meseta.config.from_plano import import_plano
from meseta.config.litellm import import_litellm

FILES = Path(__file__).parent / "files"
SECRETS = {
    import_litellm: (
        "sk-live-",
        "AKIA",
        "hunter2",
        "very-secret",
        "gsk_",
        "correct-horse",
        "sk-master",
        "sk-lf",
    ),
    import_plano: ("sk-proj-", "sk-guard-", "geheim99", "acme-token"),
}

STRANGE: list[Any] = [
    None,
    True,
    -1,
    1e300,
    "",
    "none",
    "*",
    "$X",
    "a/*",
    "os.environ/X",
    [],
    {},
    [[]],
    [None],
    {"a": {}},
]


@st.composite
def mappings(draw: st.DrawFn, file: Path) -> str:
    """Return the file as text, with up to five of its values replaced or taken out."""
    tree = YAML(typ="safe").load(file.read_text("utf-8"))
    for _ in range(draw(st.integers(0, 5))):
        paths = list(_paths(tree))
        if not paths:
            break
        path = draw(st.sampled_from(paths))
        parent = tree
        for part in path[:-1]:
            parent = parent[part]
        if draw(st.booleans()):
            # A copy: one put into itself, or changed later, would be another one in the next file.
            parent[path[-1]] = deepcopy(draw(st.sampled_from(STRANGE)))
        else:
            del parent[path[-1]]
    stream = io.StringIO()
    YAML(typ="safe", pure=True).dump(tree, stream)
    return stream.getvalue()


def _paths(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children: Any = (
        tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    )
    return [found for key, value in children for found in [(*path, key), *_paths(value, (*path, key))]]


@pytest.mark.parametrize(
    ("translate", "name"),
    [
        (import_litellm, "litellm-everything.yaml"),
        (import_plano, "plano-models.yaml"),
        (import_plano, "plano-agents.yaml"),
    ],
)
def test_any_tree_becomes_a_file_or_an_error(translate: Any, name: str) -> None:
    @given(mappings(FILES / name))
    @settings(deadline=None, max_examples=40)
    def translated(text: str) -> None:
        with suppress(ConfigError):
            result = translate(text.encode(), "old.yaml", Path("/nowhere"), {})
            assert not [secret for secret in SECRETS[translate] if secret in result.text]

    translated()
