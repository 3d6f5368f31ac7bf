"""Answers obtained elsewhere find their exchanges, after the same redaction."""

import json
from dataclasses import replace

import pytest

from harness.config import Mapping_, Redaction
from harness.domain.exchange import ChatRequest
from harness.ingest.records import Ending, Record
from harness.ingest.redaction import Redactor
from harness.ingest.responses import JoinCounts, JoinIndex, RecordedResponses, recorded_observations
from harness.testing import exchange

FIELDS = {"arm": "challenger", "fingerprint": "f00"}


def chat(*turns, system=None):
    messages = [{"role": "system", "content": system}] if system else []
    messages += [{"role": role, "content": text} for role, text in turns]
    return ChatRequest(model="m", messages=tuple(messages))


def responses(*exchanges, extra=()):
    records = [Record(ending=Ending.EXCHANGE, file="f", line=1, exchange=item) for item in exchanges]
    return RecordedResponses([], reader=records + list(extra))


@pytest.mark.parametrize(
    ("stored", "answer", "key"),
    [
        (exchange(id="s1"), exchange("A", id="s1", prompt="reworded"), "id"),
        (
            exchange(id="s1", metadata={"trace_id": "t"}),
            exchange("A", id="x", prompt="?", metadata={"trace_id": "t"}),
            "trace_id",
        ),
        (exchange(id="s1"), exchange("A", id="x"), "messages"),
        (
            exchange(id="s1", request=chat(("user", "hi"), system="old")),
            exchange("A", id="x", request=chat(("user", "hi"), system="new")),
            "dialogue",
        ),
        (
            exchange(id="s1", request=chat(("user", "hi"), ("assistant", "mine"), ("user", "and?"))),
            exchange("A", id="x", request=chat(("user", "hi"), ("assistant", "yours"), ("user", "and?"))),
            "user_turns",
        ),
    ],
)
def test_an_answer_is_joined_by_the_surest_key(stored, answer, key):
    other = exchange(id="s2", prompt="something else")
    subject = responses(answer)
    found = list(subject.observations(**FIELDS, wanted=JoinIndex.of([other, stored]), redactor=None))
    assert [(o.exchange_id, o.arm, o.fingerprint, o.completion.text) for o in found] == [
        ("s1", "challenger", "f00", "A")
    ]
    assert subject.counts == JoinCounts(read=1, matched=1, by_key={key: 1})


def test_the_first_answer_counts_and_every_record_ends_once():
    stored = [exchange(id="s1"), exchange(id="d1", prompt="same"), exchange(id="d2", prompt="same")]
    extra = [
        Record(ending=Ending.SKIPPED, file="f", line=1, reason="no_result"),
        Record(ending=Ending.REJECTED, file="f", line=2),
        Record(ending=Ending.DUPLICATE, file="f", line=3),
    ]
    subject = responses(
        exchange("first", id="x1"),
        exchange("second", id="x2"),
        exchange("which?", id="x3", prompt="same"),
        exchange("by id", id="d2", prompt="same"),
        exchange("nobody asked", id="x4", prompt="new"),
        extra=extra,
    )
    found = list(subject.observations(**FIELDS, wanted=JoinIndex.of(stored), redactor=None))
    assert [(o.exchange_id, o.completion.text) for o in found] == [("s1", "first"), ("d2", "by id")]
    assert subject.counts == JoinCounts(
        read=8, matched=2, unmatched=1, duplicate=2, ambiguous=1, unusable=2, by_key={"messages": 1, "id": 1}
    )


def test_redaction_comes_before_joining_and_comparing():
    redactor = Redactor(Redaction())
    recorded = exchange("Write to bob@example.com", id="s1", prompt="Who is alice@example.com?", user="u@example.com")
    stored = redactor.exchange(recorded)
    answer = replace(recorded, id="elsewhere", user=None)
    subject = responses(answer)
    [found] = subject.observations(**FIELDS, wanted=JoinIndex.of([stored]), redactor=Redactor(Redaction()))
    assert found.completion.text == stored.production.completion.text
    assert "bob@" not in repr(found)
    assert list(responses(answer).observations(**FIELDS, wanted=JoinIndex.of([stored]), redactor=None)) == []


def test_a_table_of_prompts_and_answers_is_joined_by_prompt(tmp_path):
    rows = [{"instruction": f"Question {i}?", "output": f"Answer {i}.", "generator": "m"} for i in range(3)]
    file = tmp_path / "outputs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    mapping = Mapping_(prompt="instruction", response="output", model="generator")
    stored = [exchange(id=f"s{i}", prompt=f"Question {i}?") for i in (2, 0)]
    found = recorded_observations([str(file)], "mapping", mapping, **FIELDS, wanted=JoinIndex.of(stored), redactor=None)
    assert {o.exchange_id: o.completion.text for o in found} == {"s0": "Answer 0.", "s2": "Answer 2."}
