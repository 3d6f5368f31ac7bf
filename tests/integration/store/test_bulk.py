"""Many rows at once end as the same rows one by one do, on both databases."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from harness.domain.observation import CallError, ErrorKind
from harness.errors import InfrastructureError
from harness.store import DataRefusedError, Store, bulk, tables
from harness.testing import exchange, observation

SIZES = (3, bulk.FEWEST, bulk.FEWEST_STAGED + 50)


def paid(n: int, cost: float, latency: float = 5.0, first: int = 0):
    return [
        observation("ok", arm="a", exchange_id=f"e{i:04}", attempts=1, cost_usd=cost, latency_ms=latency)
        for i in reversed(range(first, first + n))
    ]


@pytest.mark.parametrize("n", SIZES)
def test_repeated_calls_are_added_up_and_repeated_writes_are_not(store: Store, n: int) -> None:
    store.put_observations("r1", paid(n, 1.0))
    store.put_observations("r1", paid(n, 1.0))
    assert store.spent("r1")["candidates"] == n
    # Half of them asked again, half of them new.
    store.put_observations("r1", paid(n, 2.0, latency=7.0, first=n // 2))
    again, new = n - n // 2, n // 2
    assert store.spent("r1")["candidates"] == n // 2 + again * 3 + new * 2
    store.put_observations("r1", paid(n, 2.0, latency=7.0, first=n // 2))
    assert store.spent("r1")["candidates"] == n // 2 + again * 3 + new * 2


@pytest.mark.parametrize("n", SIZES)
def test_a_key_that_is_written_twice_at_once_ends_as_the_later_one(store: Store, n: int) -> None:
    store.put_observations("r1", paid(n, 1.0) + paid(1, 4.0, latency=9.0))
    assert store.spent("r1")["candidates"] == n + 4
    with store._database.engine.connect() as connection:
        o = tables.observations
        assert connection.scalar(sa.select(o.c.cost_usd).where(o.c.exchange_id == "e0000")) == 4.0


@pytest.mark.parametrize("n", SIZES)
def test_everything_a_column_may_hold_comes_back(store: Store, n: int) -> None:
    at = datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=UTC)
    items = [
        (
            exchange(
                "a \x00 \ud800 \U0001f600", id=f"e{i:04}", prompt="p\x00", timestamp=at if i % 2 else None,
                session="s\x00" if i % 2 else None, tags=("x", "y\x00"), metadata={"team": "t\ud800"},
            ),
            float(-i),
        )
        for i in range(n)
    ]  # fmt: skip
    store.put_exchanges("r1", items)
    found = {item.id: item for item in store.exchanges("r1")}
    assert list(found) == [f"e{i:04}" for i in reversed(range(n))]
    for original, _ in items:
        stored = found[original.id]
        assert (stored.timestamp, stored.tags, stored.metadata) == (
            at if original.timestamp else None,
            original.tags,
            original.metadata,
        )
        assert stored.production.completion == original.production.completion
        assert stored.request.messages == original.request.messages
    assert store.attribute_values("r1", "tag") == {"x": n, "y␀": n}
    # Read again, the same export replaces its rows.
    store.put_exchanges("r1", items)
    assert store.count_exchanges("r1") == n


@pytest.mark.parametrize("n", SIZES)
def test_what_cannot_be_held_is_refused_as_a_whole(store: Store, n: int) -> None:
    wrong = [*paid(n, 1.0), observation("ok", arm="a", exchange_id="z", attempts=1 << 70)]
    with pytest.raises(DataRefusedError):
        store.put_observations("r1", wrong)
    assert store.spent("r1")["candidates"] == 0
    store.put_observations("r1", paid(n, 1.0))
    assert store.spent("r1")["candidates"] == n


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("status", [1 << 31, 10**12, -(1 << 31) - 1])
def test_what_is_too_long_is_not_cut_off(store: Store, n: int, status: int) -> None:
    error = CallError(kind=ErrorKind.BAD_REQUEST, message="down", http_status=status)
    failed = [observation(None, arm="a", exchange_id=f"e{i:04}", error=error) for i in range(n)]
    if store._database.is_sqlite:
        store.put_observations("r1", failed)
        with store._database.engine.connect() as connection:
            found = connection.scalars(sa.select(tables.observations.c.http_status)).all()
        assert list(found) == [status] * n
    else:
        with pytest.raises(DataRefusedError):
            store.put_observations("r1", failed)


def test_a_missing_table_is_told_of(store: Store) -> None:
    store.put_observations("r1", paid(30, 1.0))
    with store._database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE observation_bodies")
    with pytest.raises(InfrastructureError, match="tables are missing"):
        store.put_observations("r1", paid(30, 1.0))
