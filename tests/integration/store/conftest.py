"""The store contract runs on both databases; PostgreSQL is a real server from a wheel, on a socket of its own."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.store import Store
from tests.postgres import postgres

__all__ = ["postgres"]

_numbers = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that does not exist yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/harness.db"
    # A schema each: as separate as a database each, and some 300 files less to make and delete.
    server = request.getfixturevalue("postgres")
    schema = f"store_{next(_numbers)}"
    server.psql(f"CREATE SCHEMA {schema};")
    return f"{server.get_uri()}&options=-csearch_path%3D{schema}"


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as opened:
        yield opened
