"""Model servers on loopback for runs through the command line."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

UPSTREAM = Path(__file__).parents[1] / "upstream.py"


@pytest.fixture
def upstream(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, Path]]:
    """Address of a model server in a process of its own, and the log of what it was asked; slow as its parameter."""
    log = tmp_path / "asked.jsonl"
    delay_s = str(getattr(request, "param", 0.0))
    process = subprocess.Popen([sys.executable, str(UPSTREAM), str(log), delay_s], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    yield f"http://127.0.0.1:{port}/v1", log
    process.kill()
    process.wait()
    process.stdout.close()
