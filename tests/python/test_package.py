"""The package's surface: `__all__` is exact, importing is cheap."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

MODULES = ("meseta", "meseta.config", "meseta.reference", "meseta.sdk")
HEAVY = ("pydantic", "ruamel", "rich", "botocore", "google", "httpx", "uvicorn", "asyncio", "meseta._core")


@pytest.mark.parametrize("name", MODULES)
def test_all_is_exact(name: str) -> None:
    module = importlib.import_module(name)
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for exported in module.__all__:
        assert getattr(module, exported) is not None
    with pytest.raises(AttributeError):
        module.nothing_like_it  # noqa: B018


@pytest.mark.parametrize("name", ["meseta", "meseta.config", "meseta.sdk"])
def test_lazy_names_are_those_of_all(name: str) -> None:
    module = importlib.import_module(name)
    assert set(module._HOMES) == set(module.__all__)
    assert dir(module) == sorted(module.__all__)


@pytest.mark.parametrize(
    "code",
    [
        "import meseta, meseta.config, meseta.sdk",
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


def test_the_native_module_outlives_the_thread_that_imported_it() -> None:
    """An allocator that takes the first thread for the main one crashes whoever comes after it."""
    code = """
import threading

def use():
    from meseta import _core
    for _ in range(50):
        assert _core.features() and _core.error_codes()

def together(count):
    threads = [threading.Thread(target=use) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

together(1)
together(4)
use()
print("well")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr
