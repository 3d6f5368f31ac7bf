"""What an arm is asked."""

from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelSpec
from harness.replay import request_for
from harness.testing import exchange

RECORDED = ChatRequest(
    model="gpt-4o",
    messages=(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "developer", "content": "Answer in French."},
        {"role": "user", "content": "Capital of France?"},
    ),
    tools=({"type": "function", "function": {"name": "look_up"}},),
    params={"temperature": 0.2, "max_tokens": 10},
)


def test_a_plain_spec_changes_only_the_model() -> None:
    asked = request_for(exchange(request=RECORDED), ModelSpec(model="openai/small"))
    assert asked.model == "openai/small"
    assert (asked.messages, asked.tools, asked.params) == (RECORDED.messages, RECORDED.tools, RECORDED.params)


def test_parameters_are_replaced_added_and_removed() -> None:
    spec = ModelSpec(model="m", params={"temperature": 0.0, "max_tokens": None, "seed": 7})
    assert request_for(exchange(request=RECORDED), spec).params == {"temperature": 0.0, "seed": 7}


def test_a_system_prompt_replaces_all_of_the_recorded_ones() -> None:
    spec = ModelSpec(model="m", system_prompt="Be kind.")
    roles = [(m["role"], m["content"]) for m in request_for(exchange(request=RECORDED), spec).messages]
    assert roles == [
        ("system", "Be kind."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Capital of France?"),
    ]


def test_laying_over_twice_changes_nothing_and_the_recording_stays() -> None:
    spec = ModelSpec(model="m", system_prompt="Be kind.", params={"max_tokens": None})
    once = request_for(exchange(request=RECORDED), spec)
    assert request_for(exchange(request=once), spec) == once
    assert RECORDED.params == {"temperature": 0.2, "max_tokens": 10}
