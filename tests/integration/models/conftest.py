"""Fixtures of the model client's integration tests: the fault server and the recorded cassettes."""

from collections.abc import AsyncIterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.models.litellm_client import LitellmClient

HERE = Path(__file__).parent
CASSETTES = HERE.parents[1] / "data" / "cassettes"


def load(file: Path) -> ModuleType:
    """A test helper by path: with import-mode importlib, neighbours cannot be imported by name."""
    found = spec_from_file_location(f"shadow_harness_tests_{file.stem}", file)
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def faults() -> ModuleType:
    return load(HERE / "fault_server.py")


@pytest.fixture(scope="session")
def cassettes() -> ModuleType:
    return load(CASSETTES / "record.py")


@pytest.fixture
async def server(faults: ModuleType) -> AsyncIterator[Any]:
    async with faults.fault_server() as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[LitellmClient]:
    opened = LitellmClient()
    yield opened
    await opened.aclose()
