"""A store that was really damaged, row by row and byte by byte."""

from pathlib import Path

import pytest

from harness.domain.reduction import Reduced, Why
from harness.store import Store, integrity
from harness.store.retention import Selection
from harness.testing import observation
from tests.integration.store.upkeep import NOW, RUN, filled

ONE = f"run_id = '{RUN}' AND exchange_id = 'e000003'"


def damage(store: Store, *statements: str) -> None:
    with store.database.engine.begin() as connection:
        for statement in statements:
            broken = "X'00112233'" if store.database.is_sqlite else "'\\x00112233'::bytea"
            connection.exec_driver_sql(statement.replace("WHERE ONE", f"WHERE {ONE}").replace("BROKEN", broken))


def found(store: Store, **options: bool) -> set[tuple[str, str | None, int]]:
    findings = integrity.check(store.database, **options)
    assert all(finding.message and finding.todo for finding in findings)
    return {(finding.check, finding.run_id, finding.n) for finding in findings}


def test_a_sound_store_has_no_findings(store: Store) -> None:
    filled(store)
    filled(store, 3, run_id="r2")
    assert found(store, every_body=True) == set()


def test_a_reduced_store_has_no_findings(store: Store) -> None:
    filled(store)
    texts = Selection(run_id=RUN, what=Reduced.TEXTS, reason=Why.AGE, older_than=NOW)
    store.reduce_next(texts)
    store.reduce_next(Selection(run_id=RUN, what=Reduced.EXCHANGES, reason=Why.USER, users=("u0",)))
    assert found(store, every_body=True) == set()


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DELETE FROM exchange_bodies WHERE ONE", ("missing_body", RUN, 1)),
        ("DELETE FROM observation_bodies WHERE ONE AND arm = 'candidate'", ("missing_body", RUN, 1)),
        ("DELETE FROM judgment_bodies WHERE ONE", ("missing_body", RUN, 2)),
        ("DELETE FROM judgments WHERE ONE AND answer_order = 'production_first'", ("body_alone", RUN, 1)),
        ("UPDATE exchanges SET body_bytes = 7 WHERE ONE", ("body_size", RUN, 1)),
        ("DELETE FROM observations WHERE ONE AND arm = 'production'", ("no_production", RUN, 1)),
        ("DELETE FROM observations WHERE ONE AND arm = 'candidate'", ("no_observation", RUN, 2)),
        ("DELETE FROM exchanges WHERE ONE", ("no_exchange", RUN, 1)),
        ("DELETE FROM exchanges WHERE ONE", ("stage", RUN, 1)),
        ("DELETE FROM label_plans WHERE ONE", ("outside_plan", RUN, 1)),
        ("UPDATE observations SET cost_usd = -1 WHERE ONE AND arm = 'candidate'", ("spend", RUN, 1)),
        ("UPDATE observations SET status = 'lost' WHERE ONE AND arm = 'candidate'", ("unknown_value", RUN, 1)),
        ("DELETE FROM decisions", ("stage", RUN, 1)),
        ("DELETE FROM ingest_reports", ("stage", RUN, 1)),
        ("UPDATE runs SET stage = 'done'", ("stage", RUN, 1)),
        ("DELETE FROM runs", ("no_run", RUN, 10)),
    ],
)
def test_what_is_wrong_is_found_and_named(store: Store, statement: str, expected: tuple[str, str, int]) -> None:
    filled(store)
    damage(store, statement)
    assert expected in found(store)


def test_a_finding_names_the_rows(store: Store) -> None:
    filled(store)
    damage(store, "DELETE FROM judgments WHERE ONE AND answer_order = 'production_first'")
    [finding] = integrity.check(store.database)
    [key] = finding.keys
    assert "exchange_id=e000003" in key
    assert "answer_order=production_first" in key


def test_an_unreadable_text_is_found_where_it_is(store: Store) -> None:
    filled(store)
    damage(store, "UPDATE judgment_bodies SET body = BROKEN WHERE ONE")
    [finding] = integrity.check(store.database, every_body=True)
    assert (finding.check, finding.n) == ("unreadable", 2)
    assert "exchange_id=e000003" in finding.keys[0]


def test_of_many_texts_a_sample_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(store, 30)
    monkeypatch.setattr(integrity, "SAMPLE", 5)
    monkeypatch.setattr(integrity, "_PAGE", 7)
    damage(store, "UPDATE judgment_bodies SET body = BROKEN")
    all_of_them = integrity.check(store.database, every_body=True)
    assert [finding.n for finding in all_of_them] == [60]
    sampled = sum(finding.n for _ in range(5) for finding in integrity.check(store.database))
    assert 0 < sampled < 150


def test_an_answer_that_came_after_the_deletion_is_found(store: Store) -> None:
    filled(store)
    store.reduce_next(Selection(run_id=RUN, what=Reduced.TEXTS, reason=Why.AGE, older_than=NOW))
    store.put_observations(RUN, [observation("Late.", arm="candidate", exchange_id="e000003")])
    assert ("text_left", RUN, 1) in found(store)


def test_a_file_with_torn_pages_is_found(tmp_path: Path) -> None:
    path = tmp_path / "harness.db"
    with Store.open(f"sqlite:///{path}") as store:
        filled(store, 200)
        with store.database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    # Everything behind the first pages, which hold the schema: one page in four is gone.
    for at in range(40 * 4096, len(data), 4 * 4096):
        data[at : at + 4096] = b"\x17" * 4096
    path.write_bytes(bytes(data))
    with Store.open(f"sqlite:///{path}") as store:
        findings = integrity.check(store.database)
    assert findings
    assert {finding.check for finding in findings} == {"file"}
