"""Every pair's words as lines of JSON, on SQLite and on PostgreSQL."""

import json
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from harness.domain.judgment import Judgment, JudgmentState, Label, Order, UnscoredReason
from harness.store import Store, tables, texts
from harness.testing import exchange, observation

NASTY = "clearer \x00 \ud800 \u2028 \n \u202e"


def judgment(id_: str, order: Order = Order.NONE, **more: object) -> Judgment:
    base = Judgment(
        exchange_id=id_, arm="small", judge="pairwise", judge_fingerprint="j1", observation_fingerprint="f1",
        order=order, value=0.5, label=Label.TIE, explanation=NASTY, raw="{}", details={"p": 0.5},
    )  # fmt: skip
    return replace(base, **more)  # type: ignore[arg-type]


def lines(store: Store, judges: dict[str, str] | None = None) -> list[dict[str, Any]]:
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


def said_by_order(store: Store) -> dict[str, list[tuple[object, object]]]:
    return {
        str(line["exchange_id"]): [(one["order"], one["said"] and one["said"]["raw"]) for one in line["judgments"]]
        for line in lines(store)
    }


def remove(store: Store, table: sa.Table, exchange_id: str, order: Order) -> None:
    with store._database.engine.begin() as connection:
        connection.execute(
            sa.delete(table).where(table.c.exchange_id == exchange_id, table.c.answer_order == order.value)
        )


@pytest.mark.parametrize("batch", [1, 2, 200])
def test_bodies_find_their_judgments_whatever_is_missing(
    filled: Store, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "_BATCH", batch)
    both = (Order.CANDIDATE_FIRST, Order.PRODUCTION_FIRST)
    filled.put_judgments("r1", [judgment(f"e{n}", order, raw=f"{n}{order.value}") for n in range(4) for order in both])
    whole = {f"e{n}": [(order.value, f"{n}{order.value}") for order in both] for n in range(4)}
    assert said_by_order(filled) == whole
    first, second = both
    # A judgment without a body, bodies without a judgment, one order only, and nothing after the last body.
    remove(filled, tables.judgment_bodies, "e0", first)
    remove(filled, tables.judgments, "e1", first)
    remove(filled, tables.judgments, "e2", second)
    remove(filled, tables.judgment_bodies, "e3", second)
    assert said_by_order(filled) == {
        "e0": [(first.value, None), whole["e0"][1]],
        "e1": whole["e1"][1:],
        "e2": whole["e2"][:1],
        "e3": [whole["e3"][0], (second.value, None)],
    }


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1 + 0.2, 1e16, 5e-324, None])
def test_values_are_written_to_the_last_digit(filled: Store, value: float | None) -> None:
    filled.put_judgments("r1", [judgment("e0", value=value, label=None, reason=None)])
    [line, *_] = lines(filled)
    [one] = line["judgments"]
    assert list(one) == ["judge", "order", "state", "reason", "value", "label", "said"]
    assert (repr(one["value"]), one["label"], one["reason"]) == (repr(value), None, None)


@pytest.mark.parametrize("page", [1, 2, 3, 200])
def test_an_arm_that_was_asked_little_keeps_its_own_words(
    store: Store, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "_PAGE", page)
    store.put_exchanges("r1", [(exchange(f"answer {n}", id=f"e{n}"), float(n)) for n in range(9)])
    asked = ("e1", "e4", "e5", "e8")
    store.put_observations(
        "r1", [observation(f"said of {id_}", exchange_id=id_, arm="small", fingerprint="f1") for id_ in asked]
    )
    store.put_judgments("r1", [judgment(id_, raw=id_) for id_ in asked])
    found = lines(store)
    assert [line["exchange_id"] for line in found] == list(asked)
    for id_, line in zip(asked, found, strict=True):
        assert line["production"]["completion"]["text"] == f"answer {id_[1:]}"
        assert line["candidate"]["completion"]["text"] == f"said of {id_}"
        assert [one["said"]["raw"] for one in line["judgments"]] == [id_]
