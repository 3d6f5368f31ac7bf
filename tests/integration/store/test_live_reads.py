"""What the worker of a live experiment reads, on SQLite and on PostgreSQL."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from harness.domain.exchange import Source
from harness.domain.observation import CallError, ErrorKind, Status, Usage
from harness.store import DataRefusedError, Store
from harness.testing import exchange, observation

RUN = "live"


def fill(store: Store, n: int = 6) -> None:
    items = [(exchange(id=f"e{i}", source=Source(file=f"gw.1.spool#{i}", line=None)), float(i)) for i in range(n)]
    store.put_exchanges(RUN, items)


def test_an_exchange_with_any_ending_is_not_asked_again(store):
    fill(store)
    ends = [
        observation(arm="new", exchange_id="e0"),
        observation(arm="new", exchange_id="e1", error=CallError(kind=ErrorKind.AUTHENTICATION, message="no")),
        observation(arm="new", exchange_id="e2", status=Status.DROPPED, completion=None, reason="breaker_open"),
        observation(arm="new", exchange_id="e3", status=Status.SKIPPED, completion=None, reason="budget"),
    ]
    store.put_observations(RUN, ends)

    found = store.unasked_exchanges(RUN, "new", "f1", limit=10)

    assert [(position, item.id) for position, item in found] == [(4.0, "e4"), (5.0, "e5")]
    assert store.count_unasked_exchanges(RUN, "new", "f1") == 2
    assert store.count_unasked_exchanges(RUN, "new", "another") == 6


def test_unasked_exchanges_come_in_order_from_behind_a_position(store):
    fill(store)
    first = store.unasked_exchanges(RUN, "new", "f1", limit=2)
    assert [item.id for _, item in first] == ["e0", "e1"]
    behind = store.unasked_exchanges(RUN, "new", "f1", after=first[-1][0], limit=10)
    assert [item.id for _, item in behind] == ["e2", "e3", "e4", "e5"]
    assert store.unasked_exchanges(RUN, "new", "f1", after=5.0, limit=10) == []


def test_the_last_position_and_the_sources(store):
    assert store.last_position(RUN) is None
    fill(store)
    assert store.last_position(RUN) == 5.0
    assert store.exchange_sources(RUN, ["e1", "missing", "e4"]) == {"e1": "gw.1.spool#1", "e4": "gw.1.spool#4"}


def test_what_was_spent_since_a_moment_is_by_arm(store):
    fill(store)
    before = datetime.now(UTC) - timedelta(seconds=5)
    store.put_observations(
        RUN,
        [
            observation(arm="new", exchange_id="e0", cost_usd=0.25, attempts=1),
            observation(arm="new", exchange_id="e1", cost_usd=0.5, attempts=1),
            observation(arm="old", exchange_id="e1", cost_usd=1.0, attempts=1),
            observation(arm="new", exchange_id="e2", cost_usd=9.0),  # recorded elsewhere, not spent here
        ],
    )
    assert store.spent_since(RUN, before) == ({"new": 0.75, "old": 1.0}, 0.0)
    assert store.spent_since(RUN, datetime.now(UTC) + timedelta(seconds=5)) == ({}, 0.0)


def test_rows_that_the_database_cannot_hold_are_told_from_a_database_that_is_away(store, store_url):
    with pytest.raises(DataRefusedError, match="cannot hold"):
        store.put_observations(RUN, [observation(arm="new", exchange_id="e0", usage=Usage(tokens_in=1 << 63))])
    if store_url.startswith("postgresql"):
        # Above what a row of an index may have; letters that do not compress.
        long = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9_000))
        with pytest.raises(DataRefusedError, match="ProgramLimitExceeded"):
            store.put_exchanges(RUN, [(exchange(id="e0", metadata={"team": long}), 0.0)])
    fill(store)
    assert store.count_exchanges(RUN) == 6
