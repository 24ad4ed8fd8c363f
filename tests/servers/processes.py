"""Services of objects in processes of their own: S3 by moto, Google Cloud Storage by its emulator.

Each child prints its port when it listens, and ends when its standard input does, so that none outlives the tests.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent


@contextmanager
def service(script: str) -> Iterator[int]:
    """The port of the service that `script`, a file beside this one, runs."""
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(HERE / script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        line = child.stdout.readline()
        if not line.strip().isdigit():
            raise RuntimeError(f"{script} did not start; run it by hand to see why")
        yield int(line)
    finally:
        child.kill()
        child.communicate()
