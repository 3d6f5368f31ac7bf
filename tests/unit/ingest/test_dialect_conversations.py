"""Published conversation sets: one call per assistant turn."""

from datetime import UTC, datetime


def test_each_assistant_turn_is_a_call_with_the_history_before_it(sample, endings, by_id):
    records = sample("sharegpt.json")
    assert endings(records) == [
        (None, "exchange", "sg1#1"),
        (None, "exchange", "sg1#2"),
        (None, "skipped", "no_result"),
    ]
    found = by_id(records)
    assert found["sg1#1"].request.messages == (
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "One\n\nand a half"},
    )
    assert [message["role"] for message in found["sg1#2"].request.messages] == ["system", "user", "assistant", "user"]
    assert [found[key].production.completion.text for key in ("sg1#1", "sg1#2")] == ["1", "2"]
    assert {item.session for item in found.values()} == {"sg1"}
    assert {item.production.latency_ms for item in found.values()} == {None}


def test_wildchat_leaves_addresses_out(sample, by_id):
    one = by_id(sample("wildchat.jsonl"))["h1#1"]
    assert (one.request.model, one.production.completion.text, one.session) == ("gpt-4-0314", "Hello", "h1")
    assert one.request.messages == ({"role": "user", "content": "Hi"},)
    assert one.timestamp == datetime(2023, 4, 9, 0, 2, 55, tzinfo=UTC)
    assert one.metadata == {"language": "English", "toxic": "false", "turn": "1"}


def test_lmsys(sample, by_id):
    one = by_id(sample("lmsys.jsonl"))["l1#1"]
    assert (one.request.model, one.production.completion.text) == ("vicuna-13b", "Hello")
    assert one.metadata == {"language": "English", "redacted": "false", "turn": "1"}


def test_wildchat_keeps_the_country_as_a_slice_and_drops_the_state(records_of):
    turns = [{"role": "user", "content": "Hi", "hashed_ip": "x"}, {"role": "assistant", "content": "Hello"}]
    place = {"country": "NL", "state": "Utrecht", "hashed_ip": "x", "header": {"accept-language": "nl"}}
    (record,) = records_of({"conversation_hash": "h", "model": "m", "conversation": turns, **place})
    assert record.exchange.metadata == {"country": "NL", "turn": "1"}
