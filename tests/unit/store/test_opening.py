"""Store URLs, and what the user is told when a store cannot be used."""

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

import harness
from harness.errors import ConfigurationError, InfrastructureError
from harness.store import Store, bodies
from harness.testing import exchange, observation


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("not a url", "cannot be read"),
        ("mysql://host/db", "not mysql"),
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
    ],
)
def test_urls_that_are_no_store(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Store.open(url)


def test_folders_are_made(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/a/b/c.db"):
        assert (tmp_path / "a" / "b" / "c.db").is_file()


def test_a_missing_store_is_not_made_when_that_was_not_asked(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"does not exist.*creates it"):
        Store.open(f"sqlite:///{tmp_path}/none.db", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("just some text, long enough to be looked at" * 100)
    with pytest.raises(InfrastructureError, match="not a database"):
        Store.open(f"sqlite:///{tmp_path}/x.db")


def test_a_password_is_shown_nowhere() -> None:
    with pytest.raises(InfrastructureError) as caught:
        Store.open("postgresql://user:s3cr3t@127.0.0.1:1/db")
    assert "s3cr3t" not in str(caught.value)
    assert "s3cr3t" not in repr(caught.value.__cause__)
    assert "127.0.0.1" in str(caught.value)


def test_what_a_store_is_called_hides_the_password(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/x.db") as store:
        assert repr(store) == f"Store('sqlite:///{tmp_path}/x.db')"


def test_a_locked_store_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.store.connection._BUSY_TIMEOUT_MS", 50)
    with Store.open(f"sqlite:///{tmp_path}/x.db") as store:
        other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(InfrastructureError, match="locked; another process holds the store"):
            store.put_exchanges("r1", [(exchange(), 0.0)])
        other.execute("ROLLBACK")
        other.close()
        store.put_exchanges("r1", [(exchange(), 0.0)])
        assert store.count_exchanges("r1") == 1


def test_importing_the_store_loads_nothing_heavy() -> None:
    script = (
        "import sys, harness.store;print(sorted({'alembic', 'pandas', 'numpy', 'litellm', 'psycopg'} & {*sys.modules}))"
    )
    root = Path(harness.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_writing_does_not_unpack_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(f"sqlite:///{tmp_path}/x.db") as store:
        store.put_exchanges("r1", [(exchange(), 0.0)])
        monkeypatch.setattr(bodies, "decode", lambda _: pytest.fail("a body was read"))
        store.put_exchanges("r1", [(exchange(), 0.0)])
        store.put_observations("r1", [observation("ok", arm="a")])
        store.evidence("r1", "a", "f1", judges={})
        store.observation_counts("r1", "a", "f1")


def test_a_thousand_observations_take_little_processor_time(tmp_path: Path) -> None:
    items = [observation("Paris. " * 100, arm="a", exchange_id=f"e{i}") for i in range(1_000)]
    with Store.open(f"sqlite:///{tmp_path}/x.db") as store:
        store.put_observations("r1", items)
        times = []
        for _ in range(5):
            begin = time.thread_time()
            store.put_observations("r1", items)
            times.append(time.thread_time() - begin)
    # 0.04 s where it was measured; the bound only catches a change of kind.
    assert min(times) < 0.3
