"""The short way through litellm sends the same request, reads the same answer and fails the same as the long one."""

import asyncio
import json
from dataclasses import replace

import pytest

from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelError, ModelSpec
from harness.models import direct
from harness.models.litellm_client import LitellmClient, library

MESSAGE = {"role": "assistant", "content": "Paris"}
CHOICE = {"index": 0, "message": MESSAGE, "finish_reason": "stop"}
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "prompt_tokens_details": {"cached_tokens": 3}}
WHOLE = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m-1", "choices": [CHOICE], "usage": USAGE}
CALL = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}


def answer(**message):
    return WHOLE | {"choices": [CHOICE | {"message": MESSAGE | message}]}


BODIES = {
    "plain": WHOLE,
    "null content": answer(content=None),
    "no role": WHOLE | {"choices": [CHOICE | {"message": {"content": "Paris"}}]},
    "refusal": answer(content=None, refusal="no"),
    "tool call": WHOLE | {"choices": [CHOICE | {"message": MESSAGE | {"content": None, "tool_calls": [CALL]}}]},
    "legacy call": answer(content=None, function_call={"name": "look", "arguments": "{}"}),
    "thinking": answer(content="<think>hm</think>Paris", reasoning_content="hm"),
    "two choices": WHOLE | {"choices": [CHOICE, CHOICE | {"index": 1}]},
    "cut off": WHOLE | {"choices": [CHOICE | {"finish_reason": "length"}]},
    "filtered": WHOLE | {"choices": [CHOICE | {"finish_reason": "content_filter"}]},
    "no finish": WHOLE | {"choices": [{"index": 0, "message": MESSAGE}]},
    "logprobs": WHOLE
    | {"choices": [CHOICE | {"logprobs": {"content": [{"token": "Paris", "logprob": -0.1, "top_logprobs": []}]}}]},
    "no usage": {key: value for key, value in WHOLE.items() if key != "usage"},
    "null usage": WHOLE | {"usage": None},
    "no id, unknown fields": {"choices": [CHOICE | {"extra": 1}], "more": {"a": 1}, "model": "m-1"},
    "no choices": WHOLE | {"choices": []},
    "null choices": WHOLE | {"choices": None},
    "null message": WHOLE | {"choices": [CHOICE | {"message": None}]},
    "error in the body": {"error": {"message": "overloaded", "code": 529}},
    "a list": [1],
    "text": "hello",
}
FAILURES = {
    "bad request": (400, {}, {"error": {"message": "bad", "type": "invalid_request_error", "code": "bad"}}),
    "too long": (400, {}, {"error": {"message": "too long", "code": "context_length_exceeded"}}),
    "key": (401, {}, {"error": {"message": "Incorrect API key provided"}}),
    "missing": (404, {}, {"error": {"message": "no such model"}}),
    "throttled": (429, {"retry-after": "7"}, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}),
    "broken": (500, {}, {"error": {"message": "oops"}}),
    "busy": (503, {"retry-after-ms": "1500"}, "busy"),
    "not a page": (200, {"content-type": "text/html"}, "<html>"),
    "json by another name": (200, {"content-type": "text/plain"}, WHOLE),
}
CHUNKS = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Pa"}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {"content": "ris"}, "finish_reason": "stop"}]},
    {"choices": [], "usage": USAGE},
]
REQUEST = ChatRequest(
    model="gpt-4o",
    messages=({"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Capital of France? \u00fc"}),
    tools=({"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}},),
    params={"temperature": 0.5, "max_tokens": 9, "seed": 3, "response_format": {"type": "json_object"}, "user": None},
)


class Server:
    """Answers everything with what it was told and keeps what it was sent."""

    def __init__(self):
        self.status, self.headers, self.body, self.asked = 200, {}, b"", []

    async def handle(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                self.asked.append((sorted(head.split(b"\r\n")), json.loads(await reader.readexactly(length))))
                headers = {"content-type": "application/json"} | self.headers | {"content-length": len(self.body)}
                lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                writer.write(f"HTTP/1.1 {self.status} X\r\n{lines}\r\n".encode() + self.body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@pytest.fixture
async def both():
    """A function that asks both ways and returns what came of it and what was sent."""
    served = Server()
    listener = await asyncio.start_server(served.handle, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    short, long = LitellmClient(headers={"x-shadow": "1"}), LitellmClient(headers={"x-shadow": "1"})
    handler = library().main.openai_chat_completions
    patched = handler.make_openai_chat_completion_request

    async def outcome(client, model, request):
        try:
            reply = await client.complete(request, model, deadline_s=20)
        except ModelError as error:
            # A traceback in the message holds an id drawn for the answer.
            said = replace(error.error, message=error.error.message.partition("Traceback")[0])
            return said, error.retry_after_s, error.cost_usd, error.dropped_params
        return replace(reply, latency_ms=0, ttft_ms=None, started_at=None), reply.ttft_ms is None

    async def ask(status, headers, body, *, request=REQUEST, **spec):
        served.status, served.headers = status, headers
        served.body = (
            body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
        )
        given = {"model": "openai/m-1", "stream": False} | spec
        model = ModelSpec(api_base=f"http://127.0.0.1:{port}/v1", **given)
        assert short._route(model).direct
        first = await outcome(short, model, request)
        # The second time it need not be worked out what the parameters are called.
        assert await outcome(short, model, request) == first
        long._route(model).direct = False
        del handler.make_openai_chat_completion_request
        try:
            second = await outcome(long, model, request)
        finally:
            handler.make_openai_chat_completion_request = patched
        return first, second, served.asked

    yield ask
    await short.aclose()
    await long.aclose()
    listener.close()


@pytest.mark.parametrize("name", BODIES)
async def test_every_answer_is_read_as_on_the_long_way(both, name):
    short, long, asked = await both(200, {}, BODIES[name])

    assert short == long
    assert len(asked) == 3
    assert asked[0] == asked[1] == asked[2]


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("stream", [False, True])
async def test_every_failure_says_the_same(both, name, stream):
    status, headers, body = FAILURES[name]

    short, long, asked = await both(status, headers, body, stream=stream)

    assert short == long
    assert len(asked) == 3
    assert asked[0] == asked[1] == asked[2]


@pytest.mark.parametrize("end", ["data: [DONE]\n\n", "", 'data: {"error": {"message": "gone"}}\n\n', "data: {bro\n\n"])
async def test_a_stream_is_read_as_on_the_long_way(both, end):
    lines = "".join(f"data: {json.dumps({'id': 'c', 'model': 'm-1', **chunk})}\n\n" for chunk in CHUNKS)

    short, long, asked = await both(200, {"content-type": "text/event-stream"}, lines + end, stream=True)

    assert short == long
    assert len(asked) == 3
    assert asked[0] == asked[1] == asked[2]


async def test_parameters_of_the_model_are_sent_as_on_the_long_way(both):
    params = {"extra_body": {"top_k": 4}, "extra_headers": {"x-a": "b"}, "extra_query": {"q": "1"}, "made_up": 5}

    short, long, asked = await both(200, {}, WHOLE, params=params)

    assert short == long
    assert len(asked) == 3
    assert asked[0] == asked[1] == asked[2]


@pytest.mark.parametrize(
    "messages",
    [
        ({"role": "user", "content": "And of Spain?"},),
        ({"role": "system", "content": "Be long."}, {"role": "user", "content": "Hm", "name": "Ada"}),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": "data:,"}]},),
        ({"role": "assistant", "content": None}, {"role": "user", "content": "x"}),
        ({"role": "user", "content": "x", "cache_control": {"type": "ephemeral"}},),
    ],
)
async def test_other_messages_with_the_same_parameters_are_sent_as_on_the_long_way(both, messages):
    await both(200, {}, WHOLE)

    short, long, asked = await both(200, {}, WHOLE, request=replace(REQUEST, messages=messages))

    assert short == long
    assert len(asked) == 6
    assert asked[0] != asked[3] == asked[4] == asked[5]


async def test_a_model_without_system_messages_gets_them_as_on_the_long_way(both):
    for system in ("Be brief.", "Be long."):
        messages = ({"role": "system", "content": system}, {"role": "user", "content": "Capital of France?"})
        request = ChatRequest(model="gpt-4o", messages=messages)
        short, long, asked = await both(200, {}, WHOLE, request=request, model="openai/o1-mini")
        assert short == long
        assert asked[-1] == asked[-2] == asked[-3]
        assert system in str(asked[-1])


def test_calls_of_tools_and_other_providers_take_the_long_way():
    assert direct.needs_care([{"role": "tool", "tool_call_id": "a", "content": "1"}])
    assert not direct.needs_care([{"role": "user", "content": "1"}])
    assert direct.is_direct(library(), "openai", "gpt-4o-mini")
    assert not direct.is_direct(library(), "anthropic", "claude-sonnet-4-5")
