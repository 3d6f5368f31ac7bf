"""Two kinds of pairs, beside each other and never in one sum."""

from datetime import UTC, datetime

import pytest

from harness.controller.shadowing import ShadowLook, with_served
from harness.domain.decision import Decision, Verdict
from harness.domain.slices import SliceTest
from harness.rollout.evidence import PairCount

AT = datetime(2026, 3, 2, tzinfo=UTC)


def seen(verdict: Verdict | None, *languages: str, **more) -> ShadowLook:
    decision = None if verdict is None else Decision(arm="small", verdict=verdict, sentence="x", reasons=(), results=())
    flagged = tuple(
        SliceTest(attribute="language", value=value, metric="win_rate", n=300, estimate=0.4, evidence=50, flagged=True)
        for value in languages
    )
    return ShadowLook(at=AT, decision=decision, flagged=flagged, **more)


@pytest.mark.parametrize(
    ("shadow", "served", "expected"),
    [
        (Verdict.GO, Verdict.NO_GO, Verdict.NO_GO),
        (Verdict.NO_GO, Verdict.GO, Verdict.NO_GO),
        (Verdict.INCONCLUSIVE, Verdict.GO, Verdict.INCONCLUSIVE),
        (Verdict.GO, None, Verdict.GO),
        (None, Verdict.NO_GO, Verdict.NO_GO),
        (None, Verdict.GO, None),
    ],
)
def test_either_may_say_no_and_neither_says_go_for_the_other(shadow, served, expected):
    found = with_served(seen(shadow), seen(served)).decision
    assert (None if found is None else found.verdict) == expected


def test_slices_and_spend_are_of_both_and_counts_of_the_shadow():
    shadow = seen(Verdict.GO, "de", spend_usd=1.5, pairs=PairCount(due=10, complete=10))
    found = with_served(shadow, seen(Verdict.GO, "de", "fr", spend_usd=0.5, pairs=PairCount(due=3, complete=1)))
    assert [test.value for test in found.flagged] == ["de", "fr"]
    assert (found.spend_usd, found.pairs) == (2.0, PairCount(due=10, complete=10))
    assert with_served(seen(None), seen(None)).spend_usd is None
