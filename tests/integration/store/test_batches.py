"""Batches outlive the process that submitted them, on both databases."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from harness.domain.batch import BatchItem, BatchState, VendorBatch
from harness.store import Store

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def batch(name: str, *, minutes: int = 0) -> VendorBatch:
    return VendorBatch(
        id=name,
        run_id="run",
        vendor="openai",
        model="openai/gpt-4o-mini",
        base_url="http://localhost/v1",
        api_base=None,
        api_key_env="MY_KEY",
        state=BatchState.INTENDED,
        requests=2,
        created_at=BEGIN + timedelta(minutes=minutes),
        updated_at=BEGIN,
    )


def items(name: str, count: int = 2) -> list[BatchItem]:
    return [BatchItem(batch_id=name, custom_id=f"{name}-{n}", key=f"key{n}") for n in range(count)]


def test_what_was_intended_is_found_again_in_its_order(store: Store):
    ledger = store.batch_ledger("run")
    ledger.intend(batch("b2", minutes=2), items("b2"))
    ledger.intend(batch("b1", minutes=1), items("b1"))
    store.batch_ledger("other").intend(batch("b3"), items("b3"))

    assert ledger.batches() == [batch("b1", minutes=1), batch("b2", minutes=2)]
    assert ledger.untaken() == [*items("b1"), *items("b2")]
    assert {found.run_id for found in store.batches()} == {"run", "other"}


def test_what_was_taken_or_given_up_answers_nobody(store: Store):
    ledger = store.batch_ledger("run")
    for name in ("b1", "b2"):
        ledger.intend(batch(name), items(name, 1_200))
    ledger.take(items("b1", 1_199))
    ledger.take([])
    ledger.update(replace(batch("b2"), state=BatchState.ABANDONED))

    assert ledger.untaken() == [BatchItem(batch_id="b1", custom_id="b1-1199", key="key1199")]


def test_what_is_new_about_a_batch_is_kept_and_goes_with_its_run(store: Store):
    ledger = store.batch_ledger("run")
    ledger.intend(batch("b1"), items("b1"))
    later = replace(batch("b1"), state=BatchState.OPEN, vendor_id="batch_9", done=1, failed=1)
    ledger.update(later)

    assert store.batches("run") == [later]
    store.delete_run("run")
    assert store.batches() == []
    assert ledger.untaken() == []
