"""Every fault of a provider, over real sockets, through both API shapes, ends as the right error."""

import random

import pytest

from harness.config import Replay
from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelError, ModelSpec, Price
from harness.domain.observation import ErrorKind
from harness.models import factory
from harness.models.budget import Purse
from harness.models.retry import RetryingClient, RetryPolicy

REQUEST = ChatRequest(model="recorded", messages=({"role": "user", "content": "What is the capital of France?"},))
ROUTES = ("openai", "anthropic")
NAMES = {"openai": "openai/gpt-4o", "anthropic": "anthropic/claude-sonnet-4-5"}

EVERYWHERE = [
    ("bad_request", ErrorKind.BAD_REQUEST, 400, None),
    ("context_window", ErrorKind.CONTEXT_WINDOW, 400, None),
    ("content_filter", ErrorKind.CONTENT_FILTER, 400, None),
    ("bad_key", ErrorKind.AUTHENTICATION, 401, None),
    ("forbidden", ErrorKind.PERMISSION, 403, None),
    ("no_model", ErrorKind.NOT_FOUND, 404, None),
    ("request_timeout", ErrorKind.TIMEOUT, 408, None),
    ("unprocessable", ErrorKind.BAD_REQUEST, 422, None),
    ("rate_limit", ErrorKind.RATE_LIMIT, 429, 1.0),
    ("rate_limit_ms", ErrorKind.RATE_LIMIT, 429, 0.35),
    ("rate_limit_long", ErrorKind.RATE_LIMIT, 429, 3600.0),
    ("quota", ErrorKind.QUOTA_EXHAUSTED, 429, None),
    ("server_error", ErrorKind.SERVER_ERROR, 500, None),
    ("bad_gateway", ErrorKind.SERVER_ERROR, 502, None),
    ("unavailable", ErrorKind.SERVER_ERROR, 503, 1.0),
    ("overloaded", ErrorKind.OVERLOADED, 529, None),
    ("reset", ErrorKind.CONNECTION, None, None),
    ("filtered", ErrorKind.CONTENT_FILTER, None, None),
]
STREAMED = [
    ("cut", ErrorKind.CUT_STREAM),
    ("cut_hard", ErrorKind.CUT_STREAM),
    ("error_event", ErrorKind.CUT_STREAM),
    ("overloaded_event", ErrorKind.OVERLOADED),
    ("empty", ErrorKind.CUT_STREAM),
]
WHOLE = [
    ("empty", ErrorKind.MALFORMED_RESPONSE),
    ("malformed", ErrorKind.MALFORMED_RESPONSE),
    ("malformed_json", ErrorKind.MALFORMED_RESPONSE),
]


def spec(server, route, scenario, **fields):
    return ModelSpec(model=NAMES[route], api_base=server.base(route, scenario), **fields)


async def failure(client, model, deadline_s=10.0):
    with pytest.raises(ModelError) as caught:
        await client.complete(REQUEST, model, deadline_s=deadline_s)
    return caught.value


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("scenario", "kind", "status", "retry_after"), EVERYWHERE)
async def test_a_fault_is_classified(client, server, route, stream, scenario, kind, status, retry_after):
    error = await failure(client, spec(server, route, scenario, stream=stream))

    assert error.error.kind is kind
    assert error.error.http_status == status
    assert error.retry_after_s == retry_after
    assert len(server.hits) == 1, "the adapter asks once; asking again is the retry layer's business"
    assert error.latency_ms is not None
    assert error.latency_ms > 0


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("scenario", "kind"), STREAMED)
async def test_a_broken_stream_is_no_answer(client, server, route, scenario, kind):
    error = await failure(client, spec(server, route, scenario))

    assert error.error.kind is kind
    assert len(server.hits) == 1


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("scenario", "kind"), WHOLE)
async def test_an_unreadable_body_is_malformed(client, server, route, scenario, kind):
    assert (await failure(client, spec(server, route, scenario, stream=False))).error.kind is kind


async def test_a_page_instead_of_a_stream_is_malformed(client, server):
    error = await failure(client, spec(server, "openai", "malformed"))

    assert error.error.kind is ErrorKind.MALFORMED_RESPONSE
    assert "text/html" in error.error.message


async def test_an_error_object_in_a_200_body_is_an_error(client, server):
    error = await failure(client, spec(server, "openai", "error_in_200", stream=False))

    assert error.error.message == "upstream is gone"


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("scenario", "phase"), [("slow", "before an answer began"), ("stall", "while the answer was")])
async def test_the_deadline_covers_the_whole_answer(client, server, route, scenario, phase):
    await client.complete(REQUEST, spec(server, route, "ok"), deadline_s=30)  # what a first call imports takes a while

    error = await failure(client, spec(server, route, scenario), deadline_s=0.6)

    assert error.error.kind is ErrorKind.TIMEOUT
    assert phase in error.error.message
    assert 590 < error.latency_ms < 5_000


async def test_nothing_listening_is_a_connection_error_that_cost_nothing(client):
    error = await failure(client, ModelSpec(model="openai/gpt-4o", api_base="http://127.0.0.1:9/v1"))

    assert error.error.kind is ErrorKind.CONNECTION
    assert error.cost_usd == 0.0


@pytest.mark.parametrize("route", ROUTES)
async def test_no_secret_reaches_an_error_message(client, server, faults, route, monkeypatch):
    monkeypatch.setenv("TEST_VENDOR_KEY", faults.SECRET)

    error = await failure(client, spec(server, route, "bad_key", api_key_env="TEST_VENDOR_KEY"))

    sent = server.headers[0]
    assert faults.SECRET in (sent.get("authorization", "") + sent.get("x-api-key", ""))
    assert faults.SECRET not in str(error)
    assert faults.SECRET[:12] not in error.error.message
    assert error.__cause__ is None
    assert error.error.message.startswith("Incorrect API key provided")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    ("route", "answered"), [("openai", "gpt-4o-2024-08-06"), ("anthropic", "claude-sonnet-4-5-20250929")]
)
async def test_a_good_answer_is_read_in_full(client, server, faults, route, answered, stream):
    reply = await client.complete(REQUEST, spec(server, route, "ok", stream=stream), deadline_s=10)

    assert reply.completion.text == faults.TEXT
    assert reply.completion.finish_reason == "stop"
    assert reply.completion.model == answered
    assert (reply.usage.tokens_in, reply.usage.tokens_out) == (11, 7)
    assert reply.usage.tokens_cached == (5 if route == "anthropic" else None)
    assert reply.usage.tokens_reasoning is None
    assert reply.cost_usd is None, "a model on loopback has no price unless it is given one"
    assert (reply.ttft_ms is not None) is stream
    assert reply.attempts == 1
    assert reply.latency_ms > 0


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_usage_is_never_invented(client, server, stream):
    model = spec(server, "openai", "no_usage", stream=stream, price=Price(input_per_mtok=1, output_per_mtok=1))

    reply = await client.complete(REQUEST, model, deadline_s=10)

    assert reply.usage.tokens_in is None
    assert reply.usage.tokens_out is None
    assert reply.cost_usd is None


@pytest.mark.parametrize("route", ROUTES)
async def test_tool_calls_are_folded_by_index(client, server, route):
    reply = await client.complete(REQUEST, spec(server, route, "tool"), deadline_s=10)

    calls = [(call.id, call.name, call.arguments) for call in reply.completion.tool_calls]
    assert calls == [("call_0", "get_weather", {"city": "Paris"}), ("call_1", "get_weather", {"city": "Rome"})]
    assert reply.completion.text is None
    assert reply.completion.finish_reason == "tool_calls"


async def test_a_refusal_is_kept_apart_from_text(client, server):
    reply = await client.complete(REQUEST, spec(server, "openai", "refusal"), deadline_s=10)

    assert reply.completion.text is None
    assert reply.completion.refusal == "I cannot help with that."


async def test_thinking_is_no_answer(client, server, faults):
    reply = await client.complete(REQUEST, spec(server, "openai", "thinking"), deadline_s=10)

    assert reply.completion.text == faults.TEXT


async def test_an_answer_of_nothing_is_an_error(client, server):
    assert (await failure(client, spec(server, "openai", "nothing"))).error.kind is ErrorKind.EMPTY_OUTPUT


async def test_recorded_settings_cannot_steer_the_client(client, server):
    hostile = ChatRequest(
        model="recorded",
        messages=REQUEST.messages,
        params={
            "temperature": 0.2,
            "api_base": "http://127.0.0.1:9/v1",
            "mock_response": "owned",
            "extra_headers": {"x": "y"},
            "store": True,
            "n": 3,
            "num_retries": 9,
        },
    )

    reply = await client.complete(hostile, spec(server, "openai", "ok"), deadline_s=10)

    assert reply.completion.text != "owned"
    body = server.hits[0][2]
    assert set(body) == {"model", "messages", "temperature", "stream", "stream_options"}
    assert reply.dropped_params == ("api_base", "extra_headers", "mock_response", "n", "num_retries", "store")
    assert "x" not in server.headers[0]


async def test_what_a_provider_does_not_take_is_dropped_visibly(client, server):
    request = ChatRequest(
        model="recorded",
        messages=REQUEST.messages,
        params={"temperature": 0.2, "seed": 7, "frequency_penalty": 1, "max_tokens": 5, "top_k": 3},
    )

    reply = await client.complete(request, spec(server, "anthropic", "ok"), deadline_s=10)

    body = server.hits[0][2]
    assert reply.dropped_params == ("frequency_penalty", "seed")
    assert (body["temperature"], body["max_tokens"], body["top_k"]) == (0.2, 5, 3)


async def test_what_a_model_does_not_take_is_dropped_visibly(client, server):
    model = ModelSpec(model="openai/o3-mini", api_base=server.base("openai", "ok"))
    request = ChatRequest(model="recorded", messages=REQUEST.messages, params={"temperature": 0.2, "max_tokens": 5})

    replies = [await client.complete(request, model, deadline_s=10) for _ in range(2)]

    assert [reply.dropped_params for reply in replies] == [("temperature",), ("temperature",)]
    assert all("temperature" not in body for _, _, body in server.hits)


async def test_what_we_recorded_is_not_changed_by_asking(client, server):
    message = {"role": "user", "content": [{"type": "text", "text": "hello"}]}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    request = ChatRequest(model="recorded", messages=({"role": "system", "content": "s"}, message), tools=(tool,))
    before = repr(request)

    for route in ROUTES:
        await client.complete(request, spec(server, route, "ok", system_prompt="other"), deadline_s=10)

    assert repr(request) == before
    assert server.hits[0][2]["messages"][0] == {"role": "system", "content": "other"}


async def test_no_vendor_key_goes_to_a_base_url_of_ones_own(client, server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-must-not-leave-0123456789")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-must-not-leave-0123456789")

    for route in ROUTES:
        await client.complete(REQUEST, spec(server, route, "ok"), deadline_s=10)

    assert "must-not-leave" not in repr(server.headers)


@pytest.mark.parametrize("route", ROUTES)
async def test_no_attempt_comes_before_retry_after_allows(client, server, route):
    retrying = RetryingClient(client, RetryPolicy(max_attempts=3, base_s=0.01), rng=random.Random(1))

    reply = await retrying.complete(REQUEST, spec(server, route, "rate_limit_ms-1"), deadline_s=10)

    (first, *_), (second, *_) = server.hits
    assert second - first >= 0.35
    assert reply.attempts == 2
    assert reply.retry_ms >= 350
    assert reply.latency_ms < reply.retry_ms + 1000


async def test_a_retry_after_beyond_the_limit_ends_the_request(client, server):
    retrying = RetryingClient(client, RetryPolicy(max_attempts=3, max_retry_wait_s=60))

    error = await failure(retrying, spec(server, "openai", "rate_limit_long"))

    assert len(server.hits) == error.attempts == 1


async def test_the_whole_stack_retries_limits_and_accounts(server):
    purse = Purse("candidates", 1.0)
    stack = factory.build_client(replay=Replay(max_attempts=3, max_retry_wait_s=5), purse=purse, seed=1)
    model = spec(server, "openai", "rate_limit_ms-1", price=Price(input_per_mtok=10, output_per_mtok=20))

    try:
        reply = await stack.complete(REQUEST, model, deadline_s=10)
    finally:
        await stack.aclose()

    assert reply.attempts == 2
    assert reply.cost_usd == pytest.approx(0.00011 + 0.00014)
    assert purse.spent_usd == pytest.approx(0.00025)
    assert purse.reserved_usd == 0
    (gate,) = stack.gates.values()
    assert [change.reason for change in gate.history] == ["throttled"]


async def test_permanent_faults_are_not_asked_again(server):
    stack = factory.build_client(replay=Replay(max_attempts=4))
    try:
        for scenario in ("bad_request", "bad_key", "no_model", "quota", "context_window"):
            assert (await failure(stack, spec(server, "openai", scenario))).attempts == 1
    finally:
        await stack.aclose()
    assert max(server.counts.values()) == 1
