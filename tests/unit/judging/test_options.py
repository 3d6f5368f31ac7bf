"""Drawing orders: even, independent of the audit, and the same every time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.domain.judgment import Order
from harness.judging.options import drawn_orders

PF, CF = Order.PRODUCTION_FIRST, Order.CANDIDATE_FIRST
IDS = [f"chatcmpl-{i:05d}" for i in range(20_000)]


def test_both_orders_need_no_draw():
    assert {drawn_orders("both", 0.0, id_) for id_ in IDS[:100]} == {(PF, CF)}


def test_orders_are_drawn_evenly_and_say_nothing_about_the_audit():
    drawn = {id_: drawn_orders("single", 0.0, id_) for id_ in IDS}
    audited = {id_ for id_ in IDS if len(drawn_orders("single", 0.15, id_)) == 2}
    # Five standard errors of a share among 20,000 ids.
    assert set(drawn.values()) == {(PF,), (CF,)}
    assert sum(orders == (PF,) for orders in drawn.values()) / len(IDS) == pytest.approx(0.5, abs=0.018)
    assert len(audited) / len(IDS) == pytest.approx(0.15, abs=0.013)
    for order in (PF, CF):
        group = [id_ for id_ in IDS if drawn[id_] == (order,)]
        assert sum(id_ in audited for id_ in group) / len(group) == pytest.approx(0.15, abs=0.018)


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_audit_only_adds_to_a_smaller_one(exchange_id, one, other):
    less, more = sorted((one, other))
    assert set(drawn_orders("single", less, exchange_id)) <= set(drawn_orders("single", more, exchange_id))
    assert drawn_orders("single", 1.0, exchange_id) == (PF, CF)
    assert len(drawn_orders("single", 0.0, exchange_id)) == 1
