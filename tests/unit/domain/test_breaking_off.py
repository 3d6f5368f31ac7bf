"""How a stream whose rest is missing ends: for the gateway, and for the client."""

import json
import sys
from typing import Any

import anthropic
import httpx
import openai
import pytest

from harness.canary.request import Shape
from harness.domain import breaking_off
from harness.domain.observation import ErrorKind
from harness.domain.unanswered import Reason


@pytest.mark.parametrize("reason", Reason)
def test_the_comment_carries_the_reason_to_the_gateway(reason):
    said = breaking_off.comment(reason)
    assert said == b": shadow-canary-failed " + reason.encode() + b"\n\n"
    assert breaking_off.reason_in(said) == reason


@pytest.mark.parametrize(
    "event",
    [b"", b": ping\n\n", b"data: : shadow-canary-failed timeout\n\n", b": shadow-canary-failed timeout\n",
     b" : shadow-canary-failed timeout\n\n"],
)  # fmt: skip
def test_no_other_event_is_taken_for_one(event):
    assert breaking_off.reason_in(event) is None


def test_every_kind_of_failed_call_is_a_reason():
    assert {kind.value for kind in ErrorKind} <= {reason.value for reason in Reason}
    assert not any(Reason(kind.value).is_not_asked for kind in ErrorKind)


def test_every_surface_has_an_ending_and_no_other():
    for shape in Shape:
        event = breaking_off.event(shape.surface, Reason.TIMEOUT, 2)
        assert event.endswith(b"\n\n")
        assert event.count(b"\n\n") == 1
        assert b"canary" not in event
    with pytest.raises(ValueError, match="embeddings"):
        breaking_off.event("embeddings", Reason.TIMEOUT, 2)


def streamed(body: bytes, url: str, library: Any = httpx) -> Any:
    """A client's transport that answers with this stream; Anthropic's client is made of another library."""

    def answer(request: Any) -> Any:
        assert request.url.path == url
        return library.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    return library.Client(transport=library.MockTransport(answer))


def test_openai_raises_for_a_broken_chat():
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
             "choices": [{"index": 0, "delta": {"content": "Par"}, "finish_reason": None}]}  # fmt: skip
    body = b"data: " + json.dumps(chunk).encode() + b"\n\n" + breaking_off.event("chat", Reason.CUT_STREAM, 1)
    http = streamed(body, "/v1/chat/completions")
    with openai.OpenAI(api_key="k", base_url="http://x/v1", http_client=http, max_retries=0) as client:
        stream = iter(client.chat.completions.create(model="m", messages=[], stream=True))
        assert next(stream).choices[0].delta.content == "Par"
        with pytest.raises(openai.APIError, match=r"the answer broke off \(cut_stream\)"):
            next(stream)


def test_openai_sees_the_error_of_a_broken_response():
    body = breaking_off.event("responses", Reason.TIMEOUT, 3)
    http = streamed(body, "/v1/responses")
    with openai.OpenAI(api_key="k", base_url="http://x/v1", http_client=http, max_retries=0) as client:
        stream = client.responses.create(model="m", input="hi", stream=True)
        try:
            [event] = list(stream)
        except openai.APIError as error:
            assert "broke off (timeout)" in str(error)  # noqa: PT017  clients have done the one and the other
        else:
            assert (event.type, event.code, event.sequence_number) == ("error", "timeout", 3)


def _library_of(sdk: Any) -> Any:
    return sys.modules[sdk.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0]]


def test_anthropic_raises_for_a_broken_message():
    body = breaking_off.event("messages", Reason.TIMEOUT, 3)
    http = streamed(body, "/v1/messages", _library_of(anthropic))
    with anthropic.Anthropic(api_key="k", base_url="http://x", http_client=http, max_retries=0) as client:
        stream = client.messages.create(model="m", messages=[], max_tokens=1, stream=True)
        with pytest.raises(anthropic.APIStatusError, match=r"broke off \(timeout\)"):
            list(stream)
