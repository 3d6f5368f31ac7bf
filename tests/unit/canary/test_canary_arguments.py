"""What the candidate is asked, and how a broken answer ends."""

import json

import pytest

from harness.canary.asking import Shape, Unfit, arguments, broken
from harness.domain.model import ModelSpec

SPEC = ModelSpec(
    model="openai/cheap", params={"temperature": 0, "top_p": None, "max_tokens": 5}, system_prompt="Brief."
)
SAID = [{"role": "system", "content": "old"}, {"role": "user", "content": "hi"}]


def test_chat_gets_the_candidates_settings_and_prompt():
    body = {"model": "m", "messages": SAID, "temperature": 1, "top_p": 0.5, "max_completion_tokens": 9, "user": "u"}
    assert arguments(Shape.CHAT, body, SPEC) == {
        "messages": [{"role": "system", "content": "Brief."}, SAID[1]], "temperature": 0, "max_tokens": 5,
    }  # fmt: skip


def test_responses_get_instructions():
    assert arguments(Shape.RESPONSES, {"input": SAID, "instructions": "old"}, SPEC) == {
        "input": [SAID[1]], "instructions": "Brief.", "temperature": 0, "max_output_tokens": 5,
    }  # fmt: skip


def test_messages_get_system():
    body = {"messages": SAID[1:], "max_tokens": 9, "system": "old"}
    assert arguments(Shape.MESSAGES, body, SPEC) == {
        "messages": SAID[1:], "system": "Brief.", "temperature": 0, "max_tokens": 5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "body", "reason"),
    [
        (Shape.CHAT, {}, "unreadable_request"),
        (Shape.MESSAGES, {"messages": SAID}, "unreadable_request"),
        (Shape.CHAT, {"messages": SAID, "api_base": "http://evil"}, "unsupported_request"),
        (Shape.CHAT, {"messages": SAID, "mock_response": "x"}, "unsupported_request"),
        (Shape.RESPONSES, {"input": "x", "previous_response_id": "r"}, "unsupported_request"),
        (Shape.RESPONSES, {"input": "x", "background": True}, "unsupported_request"),
        (Shape.RESPONSES, {"input": "x", "tools": [{"type": "mcp"}]}, "unsupported_request"),
    ],
)
def test_what_only_production_can_answer_is_left_to_it(shape, body, reason):
    with pytest.raises(Unfit) as caught:
        arguments(shape, body, SPEC)
    assert caught.value.reason == reason


def test_a_broken_stream_ends_in_the_shape_of_its_api():
    chat = json.loads(broken(Shape.CHAT, "timeout", 2).removeprefix(b"data: "))
    assert chat["error"]["code"] == "timeout"
    name, data = broken(Shape.RESPONSES, "timeout", 2).strip().split(b"\n")
    assert name == b"event: error"
    assert json.loads(data.removeprefix(b"data: "))["sequence_number"] == 2
    name, data = broken(Shape.MESSAGES, "timeout", 2).strip().split(b"\n")
    assert name == b"event: error"
    assert json.loads(data.removeprefix(b"data: "))["error"]["type"] == "api_error"
