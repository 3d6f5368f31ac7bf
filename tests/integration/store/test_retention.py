"""Deleting by age and by user, on both databases."""

import json
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from harness.domain.judgment import Order
from harness.domain.reduction import Reduced, Why
from harness.store import Store, integrity, retention, tables
from harness.store.retention import Selection, Wanted
from harness.testing import exchange, observation
from tests.integration.store.upkeep import NOW, RUN, filled, judgment


def by_age(days: int, what: Reduced = Reduced.EXCHANGES) -> Selection:
    return Selection(run_id=RUN, what=what, reason=Why.AGE, older_than=NOW - timedelta(days=days))


def of_user(user: str) -> Selection:
    return Selection(run_id=RUN, what=Reduced.EXCHANGES, reason=Why.USER, users=(user,))


def reduce_all(store: Store, selection: Selection, **more: object) -> int:
    after: str | None = ""
    total = 0
    while after is not None:
        n, after = store.reduce_next(selection, after=after, **more)  # type: ignore[arg-type]
        total += n
    return total


def everything(store: Store) -> str:
    """All that the store holds, texts unpacked."""
    from harness.store import bodies

    found = []
    with store.database.engine.connect() as connection:
        for table in tables.metadata.sorted_tables:
            for row in connection.execute(sa.select(table)):
                values = row._mapping
                found.append(repr({k: bodies.decode(v) if k == "body" else v for k, v in values.items()}))
    return "\n".join(found)


def test_texts_go_and_numbers_stay(store: Store) -> None:
    filled(store)
    before = store.evidence(RUN, "candidate", "f1", judges={"j": ("jf", "win_rate")})
    spent = store.spent(RUN)

    assert reduce_all(store, by_age(5, Reduced.TEXTS)) == 5

    after = store.evidence(RUN, "candidate", "f1", judges={"j": ("jf", "win_rate")})
    np.testing.assert_array_equal(after.exchange_ids, before.exchange_ids)
    np.testing.assert_array_equal(after.scores["j"].value, before.scores["j"].value)
    np.testing.assert_array_equal(after.candidate.cost_usd, before.candidate.cost_usd)
    assert store.spent(RUN) == spent == {"candidates": 5.0, "judges": 5.0}
    said = everything(store)
    assert "Question 4?" not in said
    assert "Else 4." not in said
    assert "better than e000004" not in said
    assert "about e000004" not in said
    assert "Question 5?" in said
    # What needs texts works with those there are.
    assert [item.id for item in store.exchanges(RUN)] == [f"e{i:06}" for i in range(5, 10)]
    assert len(list(store.pairs(RUN, "candidate", "f1"))) == 5
    assert len(store.judgments(RUN, "candidate", "f1", ids=["e000004", "e000005"])) == 2
    assert len(list(store.pair_texts(RUN, "candidate", "f1", judges={"jf": "j"}))) == 5
    assert store.count_pending_exchanges(RUN, "other", "f9") == 5
    assert store.count_pending_pairs(
        RUN, "candidate", "f1", judge_fingerprint="new", orders=[Order.PRODUCTION_FIRST]
    ) == 5  # fmt: skip
    # Again there is nothing to do.
    assert reduce_all(store, by_age(5, Reduced.TEXTS)) == 0
    [noted] = store.reductions(RUN)
    assert (noted.what, noted.reason, noted.n_exchanges) == (Reduced.TEXTS, Why.AGE, 5)
    assert "texts of 5 exchanges were deleted on" in noted.sentence


def test_everything_of_a_user_goes_and_what_it_had_cost_stays_spent(store: Store) -> None:
    filled(store)
    filled(store, 4, run_id="r2")
    store.begin_attempt(
        family="f", fingerprint="f1", sequence="s", arm="candidate", run_id=RUN, alpha_of=lambda number: 0.05 / number
    )

    assert reduce_all(store, of_user("u1")) == 5

    with store.database.engine.connect() as connection:
        for table in tables.metadata.sorted_tables:
            if "exchange_id" in table.c:
                statement = sa.select(table.c.exchange_id).where(table.c.run_id == RUN).distinct()
                left = {int(id_[1:]) % 2 for id_ in connection.scalars(statement)}
                assert left == {0}, table.name
    assert store.spent(RUN) == {"candidates": 5.0, "judges": 5.0}
    assert store.spent("r2") == {"candidates": 2.0, "judges": 2.0}
    assert store.count_exchanges("r2") == 4
    assert len(store.decisions(RUN)) == 1
    assert [attempt.run_id for attempt in store.attempts()] == [RUN]
    [noted] = store.reductions(RUN)
    assert noted.n_exchanges == 5
    assert "u1" not in repr(noted)
    assert "5 exchanges were deleted on" in noted.sentence


def test_a_second_deletion_adds_to_the_first(store: Store) -> None:
    filled(store)
    assert reduce_all(store, by_age(8)) == 2
    assert reduce_all(store, by_age(6)) == 2
    [noted] = store.reductions(RUN)
    assert noted.n_exchanges == 4
    assert noted.older_than == NOW - timedelta(days=6)
    assert noted.candidates_usd == 2.0


def test_without_a_time_the_run_s_beginning_counts(store: Store) -> None:
    filled(store, 2)
    store.put_exchanges(RUN, [(exchange(id="timeless"), 0.9)])
    old = Selection(run_id=RUN, what=Reduced.EXCHANGES, reason=Why.AGE, older_than=NOW)
    assert store.count_selected(old)[0] == 2
    later = Selection(run_id=RUN, what=Reduced.EXCHANGES, reason=Why.AGE, older_than=NOW + timedelta(seconds=1))
    assert store.count_selected(later)[0] == 3


def test_a_selection_of_everything_is_refused() -> None:
    with pytest.raises(ValueError, match="everything"):
        Selection(run_id=RUN, what=Reduced.EXCHANGES, reason=Why.AGE)


def test_what_is_still_to_be_asked_or_judged_is_spared(store: Store) -> None:
    filled(store)
    unread = exchange(id="e000000-unread", timestamp=NOW - timedelta(days=20))
    unasked = exchange(id="e000000-unasked", timestamp=NOW - timedelta(days=20))
    store.put_exchanges(RUN, [(unread, 0.01), (unasked, 0.02)])
    store.put_observations(RUN, [observation("No.", arm="candidate", exchange_id=unread.id)])
    orders = (Order.PRODUCTION_FIRST, Order.CANDIDATE_FIRST)
    sparing = [Wanted(arm="candidate", fingerprint="f1", judges=(("jf", orders),))]

    assert reduce_all(store, by_age(0, Reduced.TEXTS), sparing=sparing) == 10
    assert [item.id for item in store.exchanges(RUN)] == [unread.id, unasked.id]

    store.put_judgments(RUN, [judgment(unread.id, order) for order in orders])
    assert reduce_all(store, by_age(0, Reduced.TEXTS), sparing=sparing) == 1
    assert reduce_all(store, by_age(0, Reduced.TEXTS)) == 1


def test_it_goes_on_where_it_was_killed_and_the_counts_add_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(store, 25)
    monkeypatch.setattr(retention, "BATCH", 10)
    monkeypatch.setattr(retention.page, "__defaults__", (10,))
    selection = by_age(0)
    n, after = store.reduce_next(selection)
    assert (n, after) == (10, "e000009")
    real, calls = retention._note, []

    def killed(*args: object) -> None:
        calls.append(args)
        raise KeyboardInterrupt

    monkeypatch.setattr(retention, "_note", killed)
    with pytest.raises(KeyboardInterrupt):
        store.reduce_next(selection, after="e000009")
    assert calls
    monkeypatch.setattr(retention, "_note", real)
    # Nothing of the batch that was killed has happened.
    assert store.count_exchanges(RUN) == 15
    assert reduce_all(store, selection) == 15
    assert store.reductions(RUN)[0].n_exchanges == 25
    assert store.spent(RUN)["candidates"] == 12.5


SLOWLY = """
import sys, time
from harness.cli import main
from harness.store import Store

at_once = Store.reduce_next

def with_pauses(*args, **kwargs):
    found = at_once(*args, **kwargs)
    time.sleep(0.5)
    return found

Store.reduce_next = with_pauses
sys.exit(main(sys.argv[1:]))
"""
"""The command with pauses between its batches, so that a busy machine kills it in time."""


def test_a_process_that_is_killed_while_it_deletes_is_repeated_and_the_counts_add_up(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    n = 2_000
    filled(store, n)
    arguments = [
        "db", "delete", "--user-id", "u1", "--yes", "--json",
        "--store", store_url, "--runs-dir", str(tmp_path / "runs"),
    ]  # fmt: skip
    slowly = [sys.executable, "-c", SLOWLY, *arguments]
    with subprocess.Popen(slowly, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while not (begun := sum(item.n_exchanges for item in store.reductions(RUN))):
            assert process.poll() is None, process.stderr.read()  # type: ignore[union-attr]
        process.kill()
    assert process.wait() == -signal.SIGKILL
    begun = sum(item.n_exchanges for item in store.reductions(RUN))
    assert 0 < begun < n / 2
    # What is noted as deleted is what is gone.
    assert store.count_exchanges(RUN) == n - begun
    again = [sys.executable, "-m", "harness", *arguments]
    done = subprocess.run(again, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["deleted"] == {RUN: n / 2 - begun}
    assert [(item.reason, item.n_exchanges) for item in store.reductions(RUN)] == [(Why.USER, n / 2)]
    assert store.spent(RUN) == {"candidates": n * 0.5, "judges": n * 0.5}
    assert integrity.check(store.database) == []


def test_writers_go_on_while_it_deletes(store: Store) -> None:
    filled(store, 400)
    stop, written, failed = threading.Event(), [0], []

    def write() -> None:
        try:
            while not stop.is_set():
                i = written[0]
                new = exchange(id=f"new{i:06}", timestamp=NOW + timedelta(days=1))
                store.put_exchanges(RUN, [(new, 2.0 + i)])
                store.put_observations(RUN, [observation(arm="candidate", exchange_id=new.id)])
                written[0] += 1
        except BaseException as error:
            failed.append(error)
            raise

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert reduce_all(store, by_age(0)) == 400
    finally:
        stop.set()
        writer.join()
    assert not failed
    assert store.count_exchanges(RUN) == written[0]


def test_answers_to_exchanges_that_are_gone_can_be_removed(store: Store) -> None:
    filled(store, 6)
    assert reduce_all(store, of_user("u1")) == 3
    # A worker that was at it.
    store.put_observations(RUN, [observation("Late.", arm="candidate", exchange_id="e000001")])
    store.put_judgments(RUN, [judgment("e000001", Order.PRODUCTION_FIRST)])
    assert store.count_strays(RUN) == 1
    assert store.drop_strays(RUN) == 1
    assert store.drop_strays(RUN) == 0
    assert "Late." not in everything(store)
    assert "better than e000001" not in everything(store)
    assert store.spent(RUN)["judges"] == 3.25
    assert [(item.reason, item.n_exchanges) for item in store.reductions(RUN)] == [(Why.USER, 3)]


def test_what_was_stored_of_a_run_after_its_removal_can_be_removed(store: Store) -> None:
    for run_id in (RUN, "other"):
        filled(store, 3, run_id=run_id)
    before = everything(store)
    store.delete_run("other")
    # A worker elsewhere that was at it.
    store.put_observations("other", [observation("Late.", arm="candidate", exchange_id="e000001")])
    store.put_judgments("other", [judgment("e000001", Order.PRODUCTION_FIRST)])
    assert {item.check for item in integrity.check(store.database)} == {"no_run"}
    assert store.runless() == {"other": 4}
    store.drop_runless("other")
    assert store.runless() == {}
    assert "Late." not in everything(store)
    # One that has come back meanwhile stays, and so does every other.
    filled(store, 3, run_id="other")
    store.drop_runless("other")
    store.drop_runless(RUN)
    after = everything(store)
    assert len(after.splitlines()) == len(before.splitlines())
    # Of the other run every row is as it was.
    kept = {line for line in before.splitlines() if f"'{RUN}'" in line}
    assert len(kept) > 20
    assert kept <= set(after.splitlines())


def test_an_exchange_that_is_read_again_meanwhile_is_no_stray(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(store, 6)
    reduce_all(store, of_user("u1"))
    store.put_observations(RUN, [observation("Late.", arm="candidate", exchange_id="e000001")])
    find, again = retention.strays, exchange("Answer 1.", id="e000001", prompt="Question 1?", user="u1")
    reader = threading.Thread(target=lambda: store.put_exchanges(RUN, [(again, 0.5)]))

    def found_and_then_read(connection: sa.Connection, run_id: str) -> list[str]:
        ids = find(connection, run_id)
        if ids and not reader.ident:
            reader.start()
            reader.join(1.0)  # on SQLite it waits for the transaction to end
        return ids

    monkeypatch.setattr(retention, "strays", found_and_then_read)
    assert store.drop_strays(RUN) == 1
    reader.join(60)
    assert "e000001" in {item.id for item in store.exchanges(RUN)}
    assert "Late." not in everything(store)
