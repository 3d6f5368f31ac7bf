"""Official clients, with nothing changed but the base URL: the same results and errors as without the gateway."""

import asyncio
import json
from collections.abc import Callable

import anthropic
import httpx
import openai
import pytest

from tests.gateways import Asked, gateway

QUESTION = [{"role": "user", "content": "Name the capital of France."}]
KEY = {"api_key": "sk-none", "max_retries": 0}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather", "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}  # fmt: skip


# A loopback server that answers as the vendors do

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Zürich"}'}}
CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def sse(*events: object, names: bool = False) -> list[bytes]:
    prefix = [f"event: {event['type']}\n" if names else "" for event in events]
    return [f"{name}data: {json.dumps(event)}\n\n".encode() for name, event in zip(prefix, events, strict=True)]


STREAMS = {
    "/v1/chat/completions": [
        *sse(
            CHUNK | {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Grüße"}}]},
            CHUNK | {"choices": [{"index": 0, "delta": {"content": " 👋"}, "finish_reason": "stop"}]},
            CHUNK | {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}},
        ),
        b"data: [DONE]\n\n",
    ],
    "/v1/messages": sse(
        {"type": "message_start", "message": {"id": "m1", "type": "message", "role": "assistant", "model": "m",
         "content": [], "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 0}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Paris"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
         "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
        names=True,
    ),
}  # fmt: skip
ANSWERS: dict[tuple[str, str], object] = {
    ("POST", "/v1/chat/completions"): {
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": [CALL]},
                     "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    },
    ("POST", "/v1/embeddings"): {
        "object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    },
    ("GET", "/v1/models"): {"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "us"}]},
    ("GET", "/v1/files/f1/content"): "raw bytes \x00 of a file",
    ("DELETE", "/v1/files/f1"): {"id": "f1", "object": "file", "deleted": True},
    ("POST", "/v1/messages/count_tokens"): {"input_tokens": 7},
}  # fmt: skip
ERRORS = {
    "400": (b"400 Bad Request", {"error": {"message": "no", "type": "invalid_request_error", "code": "bad"}}),
    "401": (b"401 Unauthorized", {"error": {"message": "who?", "type": "authentication_error"}}),
    "404": (b"404 Not Found", {"error": {"message": "no such model", "type": "not_found_error"}}),
    "429": (b"429 Too Many Requests", {"error": {"message": "slow down", "type": "rate_limit_error"}}),
    "500": (b"500 Internal Server Error", {"error": {"message": "oops", "type": "api_error"}}),
    "529": (b"529 Overloaded", {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}),
}


async def vendor(asked: Asked) -> None:
    body = await asked.body()
    path = asked.target.decode().partition("?")[0]
    if asked.method == b"POST" and path == "/v1/files":
        # What arrived, as the file's name: multipart bodies have to come through as they were.
        name = f"{len(body)}-{body.count(b'binary')}"
        answer: object = {"id": "f1", "object": "file", "bytes": len(body), "created_at": 1, "filename": name,
                          "purpose": "batch", "status": "processed"}  # fmt: skip
        await asked.answer(json.dumps(answer).encode(), b"content-type: application/json")
        return
    if (model := json.loads(body).get("model") if body else None) in ERRORS:
        status, error = ERRORS[model]
        await asked.answer(
            json.dumps(error).encode(), b"content-type: application/json", b"x-request-id: r1", b"retry-after: 7",
            status=status,
        )  # fmt: skip
    elif body and json.loads(body).get("stream"):
        await asked.stream(*STREAMS[path])
    else:
        await asked.answer(
            json.dumps(ANSWERS[asked.method.decode(), path]).encode(), b"content-type: application/json",
            b"x-request-id: r1", b"x-ratelimit-remaining-requests: 9",
        )  # fmt: skip


@pytest.fixture(autouse=True)
def _answers(request):
    if "upstream" in request.fixturenames:
        request.getfixturevalue("upstream").handler = vendor


def told(error: openai.APIStatusError | anthropic.APIStatusError) -> tuple:
    kept = {name: error.response.headers.get(name) for name in ("x-request-id", "retry-after", "content-type")}
    return type(error), error.status_code, error.body, kept


OPENAI: dict[str, Callable[[openai.OpenAI], object]] = {
    "chat with tools": lambda client: client.chat.completions.create(model="m", messages=QUESTION, tools=[TOOL]),
    "chat stream": lambda client: list(
        client.chat.completions.create(
            model="m", messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
    ),
    "embeddings": lambda client: client.embeddings.create(model="m", input="hello", encoding_format="float"),
    "models": lambda client: list(client.models.list()),
    "file upload": lambda client: client.files.create(file=("a.bin", b"binary" * 500_000), purpose="batch"),
    "file content": lambda client: client.files.content("f1").read(),
    "file delete": lambda client: client.files.delete("f1"),
    "headers": lambda client: client.embeddings.with_raw_response.create(model="m", input="x").headers[
        "x-ratelimit-remaining-requests"
    ],
}
ANTHROPIC: dict[str, Callable[[anthropic.Anthropic], object]] = {
    "message stream": lambda client: list(
        client.messages.create(model="m", max_tokens=9, messages=QUESTION, stream=True)
    ),
    "count": lambda client: client.messages.count_tokens(model="m", messages=QUESTION),
}


@pytest.mark.parametrize("what", OPENAI)
def test_openai_is_as_without_the_gateway(served, upstream, what):
    results = []
    for port in (upstream.port, served.port):
        with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", **KEY) as client:
            results.append([OPENAI[what](client) for _ in range(2)])
    assert results[0] == results[1]


@pytest.mark.parametrize("what", ANTHROPIC)
def test_anthropic_is_as_without_the_gateway(served, upstream, what):
    results = []
    for port in (upstream.port, served.port):
        with anthropic.Anthropic(base_url=f"http://127.0.0.1:{port}", **KEY) as client:
            results.append([ANTHROPIC[what](client) for _ in range(2)])
    assert results[0] == results[1]


@pytest.mark.parametrize("status", ERRORS)
def test_errors_are_the_same_exceptions(served, upstream, status):
    found = []
    for port in (upstream.port, served.port):
        with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", **KEY) as client:
            with pytest.raises(openai.APIStatusError) as caught:
                client.chat.completions.create(model=status, messages=QUESTION)
            found.append(told(caught.value))
        with anthropic.Anthropic(base_url=f"http://127.0.0.1:{port}", **KEY) as client:
            with pytest.raises(anthropic.APIStatusError) as other:
                client.messages.create(model=status, max_tokens=9, messages=QUESTION)
            found.append(told(other.value))
    assert found[:2] == found[2:]
    assert found[0][1] == int(status)


async def test_many_asynchronous_clients_at_once(served, upstream):
    """Streams and whole answers, of both vendors, side by side on one gateway."""

    async def one(client: openai.AsyncOpenAI, other: anthropic.AsyncAnthropic, turn: int) -> str:
        if turn % 3 == 0:
            stream = await client.chat.completions.create(model="m", messages=QUESTION, stream=True)
            return "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices])
        if turn % 3 == 1:
            async with other.messages.stream(model="m", max_tokens=9, messages=QUESTION) as events:
                return "".join([text async for text in events.text_stream])
        answer = await client.chat.completions.create(model="m", messages=QUESTION, tools=[TOOL])
        return answer.choices[0].message.tool_calls[0].function.arguments

    async with (
        openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{served.port}/v1", **KEY) as client,
        anthropic.AsyncAnthropic(base_url=f"http://127.0.0.1:{served.port}", **KEY) as other,
        asyncio.TaskGroup() as group,
    ):
        tasks = [group.create_task(one(client, other, turn)) for turn in range(60)]
    assert [task.result() for task in tasks] == ["Grüße 👋", "Paris", '{"city": "Zürich"}'] * 20


def test_a_client_that_retries_meets_the_gateways_own_errors_as_any_other(tmp_path):
    with gateway(tmp_path, 9) as served:
        address = f"http://127.0.0.1:{served.port}"
        with (
            openai.OpenAI(base_url=address + "/v1", **KEY) as client,
            pytest.raises(openai.InternalServerError, match="shadow gateway: no connection") as caught,
        ):
            client.chat.completions.create(model="m", messages=QUESTION)
        assert caught.value.code == "upstream_connect"
        with (
            anthropic.Anthropic(base_url=address, **KEY) as other,
            pytest.raises(anthropic.InternalServerError, match="shadow gateway: no connection"),
        ):
            other.messages.create(model="m", max_tokens=9, messages=QUESTION)


def test_a_stream_that_production_breaks_off_is_an_error_at_the_client(served, upstream):
    async def cut(asked: Asked) -> None:
        await asked.body()
        await asked.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        await asked.chunk(STREAMS["/v1/chat/completions"][0])
        asked.reset()

    upstream.handler = cut
    with openai.OpenAI(base_url=f"http://127.0.0.1:{served.port}/v1", **KEY) as client:
        stream = client.chat.completions.create(model="m", messages=QUESTION, stream=True)
        with pytest.raises(httpx.RemoteProtocolError):
            list(stream)


# A real model


@pytest.fixture(scope="module")
def before_model(model_server, tmp_path_factory):
    port = int(model_server.base_url.rsplit(":", 1)[1])
    with gateway(tmp_path_factory.mktemp("model"), port) as running:
        yield running


def plain(result: object) -> object:
    """Without what differs from call to call: ids, times and timings."""
    if isinstance(result, list):
        return [plain(one) for one in result]
    if hasattr(result, "model_dump"):
        return plain(result.model_dump())
    if isinstance(result, dict):
        changing = {"id", "created", "created_at", "completed_at", "timings", "item_id", "system_fingerprint", "usage"}
        return {name: plain(value) for name, value in result.items() if name not in changing}
    return result


GREEDY = {"temperature": 0, "seed": 1}
MODEL_OPENAI: dict[str, Callable[[openai.OpenAI], object]] = {
    "chat": lambda client: client.chat.completions.create(model="m", messages=QUESTION, max_tokens=8, **GREEDY),
    "completions": lambda client: client.completions.create(model="m", prompt="Paris is", max_tokens=8, **GREEDY),
    "responses": lambda client: (
        client.responses.create(model="m", input=QUESTION[0]["content"], max_output_tokens=8, temperature=0).output_text
    ),
    "responses stream": lambda client: [
        event.type
        for event in client.responses.create(
            model="m", input=QUESTION[0]["content"], max_output_tokens=8, temperature=0, stream=True
        )
    ],
    "chat stream": lambda client: "".join(
        choice.delta.content or ""
        for chunk in client.chat.completions.create(model="m", messages=QUESTION, max_tokens=8, stream=True, **GREEDY)
        for choice in chunk.choices
    ),
    "models": lambda client: [model.id for model in client.models.list()],
}


@pytest.mark.models
@pytest.mark.parametrize("what", MODEL_OPENAI)
def test_a_real_model_answers_openai_as_without_the_gateway(before_model, model_server, what):
    results = []
    for base in (model_server.openai_base, f"http://127.0.0.1:{before_model.port}/v1"):
        with openai.OpenAI(base_url=base, **KEY) as client:
            results.append(plain(MODEL_OPENAI[what](client)))
    assert results[0]
    assert results[0] == results[1]


@pytest.mark.models
@pytest.mark.parametrize("streamed", [False, True])
def test_a_real_model_answers_anthropic_as_without_the_gateway(before_model, model_server, streamed):
    results = []
    for base in (model_server.base_url, f"http://127.0.0.1:{before_model.port}"):
        with anthropic.Anthropic(base_url=base, **KEY) as client:
            how = {"model": "m", "max_tokens": 8, "messages": QUESTION, "extra_body": {"temperature": 0}}
            if streamed:
                with client.messages.stream(**how) as stream:
                    results.append("".join(stream.text_stream))
            else:
                results.append(client.messages.create(**how).content[0].text)
    assert results[0]
    assert results[0] == results[1]
    assert before_model.settled()["status.2"] > 0
