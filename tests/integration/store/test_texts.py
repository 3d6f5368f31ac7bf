"""Every pair's words as lines of JSON, on SQLite and on PostgreSQL."""

import json
from dataclasses import replace

import pytest

from harness.domain.judgment import Judgment, JudgmentState, Label, Order, UnscoredReason
from harness.store import Store, texts
from harness.testing import exchange, observation

NASTY = "clearer \x00 \ud800 \u2028 \n \u202e"


def judgment(id_: str, order: Order = Order.NONE, **more: object) -> Judgment:
    base = Judgment(
        exchange_id=id_, arm="small", judge="pairwise", judge_fingerprint="j1", observation_fingerprint="f1",
        order=order, value=0.5, label=Label.TIE, explanation=NASTY, raw="{}", details={"p": 0.5},
    )  # fmt: skip
    return replace(base, **more)  # type: ignore[arg-type]


def lines(store: Store, judges: dict[str, str] | None = None) -> list[dict[str, object]]:
    found = list(store.pair_texts("r1", "small", "f1", judges={"j1": "pairwise"} if judges is None else judges))
    assert all(b"\n" not in line for line in found)
    return [json.loads(line) for line in found]


@pytest.fixture
def filled(store: Store) -> Store:
    store.put_exchanges("r1", [(exchange(f"answer {n}", id=f"e{n}"), 1.0 - n / 10) for n in range(5)])
    answers = [observation(f"said by {n}", exchange_id=f"e{n}", arm="small", fingerprint="f1") for n in range(4)]
    store.put_observations("r1", answers)
    store.put_observations("r1", [observation("x", exchange_id="e4", arm="other", fingerprint="f1")])
    return store


def test_every_pair_is_one_line_in_the_order_of_ids(filled: Store) -> None:
    found = lines(filled)
    assert [line["exchange_id"] for line in found] == ["e0", "e1", "e2", "e3"]
    pairs = {pair.exchange_id: pair for pair in filled.pairs("r1", "small", "f1")}
    for line in found:
        pair = pairs[str(line["exchange_id"])]
        assert line["arm"] == "small"
        assert line["status"] == pair.candidate.status.value
        assert line["request"]["messages"] == [dict(message) for message in pair.request.messages]
        for side, observed in (("production", pair.production), ("candidate", pair.candidate)):
            assert observed.completion is not None
            assert line[side]["completion"]["text"] == observed.completion.text
        assert line["judgments"] == []


def test_judges_words_come_with_their_pair_whatever_is_in_them(filled: Store) -> None:
    filled.put_judgments(
        "r1",
        [
            judgment("e1", Order.PRODUCTION_FIRST),
            judgment("e1", Order.CANDIDATE_FIRST, label=Label.WIN, value=1.0),
            judgment("e2", state=JudgmentState.UNSCORED, reason=UnscoredReason.REFUSED, value=None, label=None),
            judgment("e3", Order.PRODUCTION_FIRST, state=JudgmentState.UNSCORED, reason=UnscoredReason.NOT_DRAWN),
            judgment("e3", judge="exact", judge_fingerprint="unknown"),
        ],
    )
    by_id = {line["exchange_id"]: line["judgments"] for line in lines(filled)}
    assert [(one["judge"], one["order"], one["label"], one["value"]) for one in by_id["e1"]] == [
        ("pairwise", "candidate_first", "win", 1.0),
        ("pairwise", "production_first", "tie", 0.5),
    ]
    assert by_id["e1"][0]["said"] == {"explanation": NASTY, "raw": "{}", "details": {"p": 0.5}}
    assert (by_id["e2"][0]["state"], by_id["e2"][0]["reason"]) == ("unscored", "refused")
    assert by_id["e3"] == [], "what was not drawn, and other judges, are left out"


def test_pages_are_small_where_bodies_are_large(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = lines(filled)
    monkeypatch.setattr(texts, "_PAGE_BYTES", 1)
    assert lines(filled) == whole
    monkeypatch.setattr(texts, "_PAGE", 2)
    assert lines(filled) == whole


def test_an_exchange_that_left_the_sample_is_left_out(filled: Store) -> None:
    filled.remove_exchanges("r1", ["e1"])
    assert [line["exchange_id"] for line in lines(filled)] == ["e0", "e2", "e3"]
    assert list(filled.pair_texts("r1", "nobody", "f1", judges={})) == []
