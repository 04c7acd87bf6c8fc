"""The package's surface: `__all__` is exact, importing is cheap."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

MODULES = ("meseta", "meseta.config", "meseta.reference")
HEAVY = ("pydantic", "ruamel", "rich", "botocore", "google", "meseta._core")


@pytest.mark.parametrize("name", MODULES)
def test_all_is_exact(name: str) -> None:
    module = importlib.import_module(name)
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for exported in module.__all__:
        assert getattr(module, exported) is not None
    with pytest.raises(AttributeError):
        module.nothing_like_it  # noqa: B018


@pytest.mark.parametrize("name", ["meseta", "meseta.config"])
def test_lazy_names_are_those_of_all(name: str) -> None:
    module = importlib.import_module(name)
    assert set(module._HOMES) == set(module.__all__)
    assert dir(module) == sorted(module.__all__)


@pytest.mark.parametrize(
    "code",
    [
        "import meseta, meseta.config",
        "from meseta.cli.main import main; main(['--help'])",
        "from meseta.cli.main import main; main(['up', '--help'])",
        "import meseta.cli.up, meseta.plane, meseta.config.child, meseta.config.snapshot",
    ],
)
def test_heavy_modules_are_not_imported(code: str) -> None:
    """`--help` must be quick and the process of `up` small."""
    check = f"{code}\nimport sys\nprint('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"
