"""What this process keeps from others of its user."""

from __future__ import annotations

import subprocess
import sys

import pytest

READ = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
"""PR_GET_DUMPABLE"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux is asked")
def test_the_kernel_shows_the_memory_to_nobody() -> None:
    close = "from meseta.privacy import close_memory; close_memory(); "
    outputs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for code in (READ, close + READ)
    ]
    assert outputs == ["1\n", "0\n"]
