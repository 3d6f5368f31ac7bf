"""Official clients against the canary's own process: every shape, and a candidate that fails."""

import json
import socket

import httpx
import pytest

from harness.domain import breaking_off
from tests.canary_process import (
    ASKED,
    BODIES,
    CHAT,
    CLAUDE_TOOL,
    FUNCTION,
    MESSAGES,
    PATHS,
    RESPONSES,
    SAYS,
    TOKEN,
    Vendor,
    canary,
)  # fmt: skip
from tests.gateways import production
from tests.integration.gateway.test_clients import STREAMS, TOOL
from tests.unit.capture.provider import message


@pytest.fixture(scope="module")
def upstream():
    with production() as found:
        yield found


@pytest.fixture(scope="module")
def chat(upstream, tmp_path_factory):
    base = f"http://127.0.0.1:{upstream.port}/v1"
    limits = {"deadline_s": 4, "max_response_bytes": 20_000}
    with canary(tmp_path_factory.mktemp("openai"), "openai/cheap", base, **limits) as running:
        yield running


@pytest.fixture(scope="module")
def claude(upstream, tmp_path_factory):
    base = f"http://127.0.0.1:{upstream.port}"
    limits = {"deadline_s": 4, "max_response_bytes": 20_000}
    with canary(tmp_path_factory.mktemp("anthropic"), "anthropic/cheap", base, **limits) as running:
        yield running


@pytest.fixture
def vendor(upstream):
    upstream.handler = Vendor()
    return upstream.handler


@pytest.fixture(params=["chat", "claude"])
def running(request, chat, claude):
    return {"chat": chat, "claude": claude}[request.param]


# What clients get


def test_chat(chat, vendor):
    with chat.openai() as client:
        answer = client.chat.completions.create(model="m", messages=ASKED)
        chunks = list(client.chat.completions.create(model="m", messages=ASKED, stream=True))
    assert answer.choices[0].message.content == "Grüße aus Paris"
    assert (answer.choices[0].finish_reason, answer.usage.total_tokens) == ("stop", 3)
    assert "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices) == "Grüße 👋"
    assert [c.finish_reason for chunk in chunks for c in chunk.choices][-1] == "stop"
    assert {body["model"] for _, _, body in vendor.asked} == {"cheap"}
    sent = str([headers for _, headers, _ in vendor.asked])
    assert "sk-own" in sent
    assert "sk-client" not in sent
    assert TOKEN not in sent


def test_chat_with_tools(chat, vendor):
    with chat.openai() as client:
        answer = client.chat.completions.create(model="m", messages=ASKED, tools=[TOOL])
        with client.chat.completions.stream(model="m", messages=ASKED, tools=[TOOL]) as stream:
            streamed = stream.get_final_completion()
    for message_ in (answer.choices[0].message, streamed.choices[0].message):
        [call] = message_.tool_calls
        assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Zürich"})
    assert all(body["tools"] == [TOOL] for _, _, body in vendor.asked)


def test_responses(chat, vendor):
    with chat.openai() as client:
        answer = client.responses.create(model="m", input="hi", store=False)
        assert (answer.output_text, answer.status) == ("Grüße aus Paris", "completed")
        events = list(client.responses.create(model="m", input="hi", store=False, stream=True))
    assert [events[0].type, events[-1].type] == ["response.created", "response.completed"]
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Grüße 👋"
    assert events[-1].response.output_text == "Grüße 👋"
    # Asked as in its evaluation, and of a candidate that speaks nothing but chat.
    assert {path for path, _, _ in vendor.asked} == {CHAT}


def test_responses_with_tools(chat, vendor):
    with chat.openai() as client:
        answer = client.responses.create(model="m", input="hi", store=False, tools=[FUNCTION])
        [call] = [item for item in answer.output if item.type == "function_call"]
        assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Zürich"})
        with client.responses.stream(model="m", input="hi", store=False, tools=[FUNCTION]) as stream:
            streamed = stream.get_final_response()
        [call] = [item for item in streamed.output if item.type == "function_call"]
        assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Zürich"})
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        said = [{"role": "user", "content": "hi"}, call.model_dump(exclude_none=True), result]
        client.responses.create(model="m", input=said, store=False)
    roles = [one["role"] for one in vendor.asked[-1][2]["messages"]]
    assert roles == ["user", "assistant", "tool"]


@pytest.mark.parametrize("name", ["chat", "claude"])
def test_messages(name, request, vendor):
    running = request.getfixturevalue(name)
    with running.anthropic() as client:
        answer = client.messages.create(model="m", max_tokens=9, messages=ASKED)
        assert (answer.content[0].text, answer.stop_reason) == ("Grüße aus Paris", "end_turn")
        with client.messages.stream(model="m", max_tokens=9, messages=ASKED) as stream:
            assert "".join(stream.text_stream) == {"chat": "Grüße 👋", "claude": "Paris"}[name]
    assert "sk-client" not in str([headers for _, headers, _ in vendor.asked])
    assert {path for path, _, _ in vendor.asked} == {CHAT if name == "chat" else MESSAGES}


def test_messages_with_tools(chat, vendor):
    with chat.anthropic() as client:
        answer = client.messages.create(model="m", max_tokens=9, messages=ASKED, tools=[CLAUDE_TOOL])
        with client.messages.stream(model="m", max_tokens=9, messages=ASKED, tools=[CLAUDE_TOOL]) as stream:
            streamed = stream.get_final_message()
    for one in (answer, streamed):
        [call] = [block for block in one.content if block.type == "tool_use"]
        assert (call.name, call.input, one.stop_reason) == ("weather", {"city": "Zürich"}, "tool_use")
    assert vendor.asked[0][2]["tools"][0]["function"]["name"] == "weather"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_server_that_does_not_count_tokens_answers_every_api(chat, vendor, path, streamed):
    vendor.whole = {name: value for name, value in SAYS.items() if name != "usage"}
    vendor.events = [event for event in STREAMS[CHAT] if b"usage" not in event]
    answer = chat.post(path, BODIES[path] | {"stream": streamed})
    assert answer.status_code == 200
    assert "shadow-canary-failed" not in answer.text


def test_settings_that_the_provider_does_not_take_are_left_out_or_left_to_production(claude, vendor):
    assert claude.post(CHAT, BODIES[CHAT] | {"seed": 1, "logit_bias": {"1": 1}, "top_p": 0.5}).status_code == 200
    [(_, _, body)] = vendor.asked
    assert (body["top_p"], "seed" in body, "logit_bias" in body) == (0.5, False, False)
    answer = claude.post(CHAT, BODIES[CHAT] | {"n": 2})
    assert (answer.status_code, answer.headers["x-shadow-canary-reason"]) == (501, "unsupported_request")


# Failures


FAILURES = [("500", "server_error"), ("429", "rate_limit"), ("reset", "connection"), ("silence", "timeout"),
            ("redirect", "not_found")]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("failure", "reason"), FAILURES)
def test_a_failure_before_the_first_byte_leaves_the_request_to_production(
    running, vendor, path, streamed, failure, reason
):
    if failure.isdigit():
        vendor.status = failure.encode() + b" Sorry"
    else:
        vendor.fails = failure
    answer = running.post(path, BODIES[path] | {"stream": streamed})
    assert (answer.status_code, answer.headers["x-shadow-canary"]) == (503, "failed")
    assert answer.headers["x-shadow-canary-reason"] == reason
    assert "provider-secret" not in answer.text
    # litellm sends once more when a connection that it had kept was closed by the other side.
    assert len(vendor.asked) <= (2 if failure == "reset" else 1)


@pytest.mark.parametrize("path", PATHS)
def test_a_refused_connection_leaves_the_request_to_production(tmp_path, path):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with canary(tmp_path, "openai/cheap", f"http://127.0.0.1:{port}/v1") as running:
        answer = running.post(path, BODIES[path])
    assert (answer.status_code, answer.headers["x-shadow-canary-reason"]) == (503, "connection")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("failure", "reason"), [("cut", "cut_stream"), ("ended", "cut_stream"), ("hangs", "timeout")])
def test_a_stream_that_breaks_off_ends_with_a_comment(running, vendor, path, failure, reason):
    vendor.fails = failure
    answer = running.post(path, BODIES[path] | {"stream": True})
    assert answer.status_code == 200
    *events, last, end = answer.text.split("\n\n")
    assert end == ""
    assert breaking_off.reason_in(last.encode() + b"\n\n") == reason
    assert events
    assert all(event.startswith(("data: {", "event: ")) for event in events)
    # Nothing that reads as a regular end.
    assert not any(word in answer.text for word in ("[DONE]", "message_stop", "response.completed"))
    assert '"finish_reason":"stop"' not in answer.text


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_that_is_too_large_is_production_s(running, vendor, path):
    vendor.whole = SAYS | message() | {"extra": "x" * 30_000}
    answer = running.post(path, BODIES[path])
    assert (answer.status_code, answer.headers["x-shadow-canary-reason"]) == (503, "answer_too_large")


@pytest.mark.parametrize("path", PATHS)
def test_a_stream_may_be_larger(running, vendor, path):
    events = STREAMS[MESSAGES if running.log.parent.name.startswith("anthropic") else CHAT]
    vendor.events = [events[0], *[b": waiting for more\n\n"] * 2_000, *events[1:]]
    answer = running.post(path, BODIES[path] | {"stream": True})
    assert answer.status_code == 200
    assert "shadow-canary-failed" not in answer.text


# What is not asked


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        (CHAT, BODIES[CHAT] | {"api_base": "http://127.0.0.1:1"}, "unsupported_request"),
        (RESPONSES, {"input": "hi"}, "stored_response"),
        (CHAT, {"messages": []}, "unreadable_request"),
        (CHAT, [], "unreadable_request"),
        (CHAT, BODIES[CHAT] | {"user": "x" * 100_000}, "request_too_large"),
        ("/v1/embeddings", {"input": "hi"}, "unsupported_surface"),
        ("/v1/threads/t/messages", BODIES[MESSAGES], "unsupported_surface"),
    ],
)
def test_what_only_production_can_answer_is_not_asked(chat, vendor, path, body, reason):
    answer = chat.post(path, body)
    assert (answer.status_code, answer.headers["x-shadow-canary"]) == (501, "not_asked")
    assert answer.headers["x-shadow-canary-reason"] == reason
    assert vendor.asked == []


@pytest.mark.parametrize("headers", [{}, {"x-shadow-canary-token": "other"}, {"authorization": TOKEN}])
def test_nobody_but_the_gateway_is_answered(chat, vendor, headers):
    answer = httpx.post(chat.base + CHAT, json=BODIES[CHAT], headers=headers)
    assert (answer.status_code, vendor.asked) == (403, [])


def test_an_image_by_address_is_the_provider_s_to_fetch(chat, vendor):
    image = {"type": "image_url", "image_url": {"url": "https://images.example/cat.png"}}
    said = [{"role": "user", "content": [{"type": "text", "text": "What?"}, image]}]
    answer = chat.post(CHAT, {"messages": said})
    assert answer.status_code == 200
    assert vendor.asked[0][2]["messages"] == said


def test_an_image_that_litellm_would_download_is_production_s(claude, upstream):
    fetched = []

    async def fetching(asked):
        fetched.append(asked.target)
        await asked.answer(b"\x89PNG", b"content-type: image/png")

    upstream.handler = fetching
    # Anthropic takes no address without TLS.
    image = {"type": "image_url", "image_url": {"url": f"http://127.0.0.1:{upstream.port}/cat.png"}}
    answer = claude.post(CHAT, {"messages": [{"role": "user", "content": [image]}]})
    assert (answer.status_code, answer.headers["x-shadow-canary-reason"]) == (501, "unsupported_request")
    assert fetched == []


@pytest.mark.models
def test_a_real_model_answers_every_api(model_server, tmp_path):
    with (
        canary(tmp_path, "openai/m", model_server.openai_base) as running, running.openai() as client,
        running.anthropic() as claude,
    ):  # fmt: skip
        whole = client.chat.completions.create(model="m", messages=ASKED, max_tokens=8, temperature=0)
        chunks = client.chat.completions.create(model="m", messages=ASKED, max_tokens=8, temperature=0, stream=True)
        assert "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
        assert whole.choices[0].message.content
        assert client.responses.create(model="m", input=ASKED, max_output_tokens=16, store=False).output_text
        assert claude.messages.create(model="m", messages=ASKED, max_tokens=8).content[0].text
