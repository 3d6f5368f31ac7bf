"""The official clients with capture on, against a server on loopback: same answers, and what was on the wire kept."""

import asyncio
import gzip
import json

import anthropic
import httpx
import openai
import pytest

import harness
from harness.errors import ConfigurationError
from harness.ingest.captured import exchange_of
from tests.unit.capture.provider import TEXT

ASK = [{"role": "user", "content": "hi"}]


def openai_client(provider, **options):
    return openai.OpenAI(base_url=f"{provider.base}/v1", api_key="sk-secret", **options)


def anthropic_client(provider, **options):
    return anthropic.Anthropic(base_url=provider.base, api_key="sk-secret", **options)


def chat(provider, live):
    client = harness.shadow(openai_client(provider), live)
    return client.chat.completions.create(model="m", messages=ASK).choices[0].message.content


def chat_stream(provider, live):
    client = harness.shadow(openai_client(provider), live)
    stream = client.chat.completions.create(model="m", messages=ASK, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def responses(provider, live):
    return harness.shadow(openai_client(provider), live).responses.create(model="m", input="hi").output_text


def responses_stream(provider, live):
    client = harness.shadow(openai_client(provider), live)
    stream = client.responses.create(model="m", input="hi", stream=True)
    return "".join(event.delta for event in stream if event.type == "response.output_text.delta")


def completions(provider, live):
    return harness.shadow(openai_client(provider), live).completions.create(model="m", prompt="hi").choices[0].text


def messages(provider, live):
    client = harness.shadow(anthropic_client(provider), live)
    return client.messages.create(model="m", max_tokens=9, messages=ASK).content[0].text


def messages_stream(provider, live):
    client = harness.shadow(anthropic_client(provider), live)
    with client.messages.stream(model="m", max_tokens=9, messages=ASK) as stream:
        return "".join(stream.text_stream)


def chat_httpx2(provider, live):
    import httpx2

    client = harness.shadow(openai_client(provider, http_client=httpx2.Client()), live)
    return client.chat.completions.create(model="m", messages=ASK).choices[0].message.content


def chat_async(provider, live):
    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{provider.base}/v1", api_key="sk-secret") as client:
            harness.shadow(client, live)
            return (await client.chat.completions.create(model="m", messages=ASK)).choices[0].message.content

    return asyncio.run(ask())


def chat_stream_async(provider, live):
    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{provider.base}/v1", api_key="sk-secret") as client:
            stream = await harness.shadow(client, live).chat.completions.create(model="m", messages=ASK, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    return asyncio.run(ask())


def messages_stream_async(provider, live):
    async def ask():
        async with anthropic.AsyncAnthropic(base_url=provider.base, api_key="sk-secret") as client:
            harness.shadow(client, live)
            async with client.messages.stream(model="m", max_tokens=9, messages=ASK) as stream:
                return "".join([text async for text in stream.text_stream])

    return asyncio.run(ask())


SURFACES = (
    chat, chat_stream, responses, responses_stream, completions, messages, messages_stream, chat_httpx2, chat_async,
    chat_stream_async, messages_stream_async,
)  # fmt: skip


@pytest.mark.parametrize("ask", SURFACES, ids=lambda ask: ask.__name__)
@pytest.mark.parametrize("coding", [None, "gzip"])
def test_the_caller_gets_its_answer_and_the_spool_what_was_on_the_wire(provider, experiment, ask, coding):
    provider.coding = coding

    assert ask(provider, experiment.path) == TEXT

    [captured] = experiment.records()
    [(path, _, body)] = provider.requests
    assert (captured.method, captured.path, captured.status) == ("POST", path, 200)
    assert captured.request == body
    coded = captured.response_headers.get("content-encoding")
    assert (captured.response if coded == coding else gzip.compress(captured.response, mtime=0)) == provider.sent[0]
    assert 0 < captured.ttft_ms <= captured.latency_ms
    assert captured.request_headers["x-shadow-harness-source"] == "client"
    assert captured.response_headers["x-ratelimit-remaining-tokens"] == "99"
    # The worker reads it, whole.
    exchange = exchange_of(captured, "spool")
    assert exchange.production.completion.text == TEXT
    assert exchange.metadata["source"] == "client"


def test_no_credential_and_no_cookie_reaches_the_spool(provider, experiment):
    chat(provider, experiment.path)
    messages(provider, experiment.path)

    assert len(experiment.records()) == 2
    everything = b"".join(file.read_bytes() for file in experiment.spool.rglob("*") if file.is_file())
    assert b"sk-secret" not in everything
    assert b"secret=1" not in everything


def test_conversation_user_and_metadata_come_from_headers(provider, experiment):
    experiment.write(metadata_headers=["x-team"])
    client = harness.shadow(openai_client(provider), experiment.path)
    headers = {"X-Conversation-Id": "c-7", "X-User-Id": "u-1", "X-Team": "search", "X-Other": "no"}

    client.chat.completions.create(model="m", messages=ASK, extra_headers=headers)

    [captured] = experiment.records()
    assert (captured.session, captured.user, captured.rate) == ("c-7", "u-1", 1.0)
    assert captured.request_headers["x-team"] == "search"
    assert "x-other" not in captured.request_headers


def test_copies_are_captured_and_the_client_is_the_one_it_was(provider, experiment):
    client = openai_client(provider)

    assert harness.shadow(client, experiment.path) is client
    client.with_options(timeout=5).chat.completions.create(model="m", messages=ASK)
    client.copy(api_key="other").chat.completions.create(model="m", messages=ASK)
    client.with_raw_response.chat.completions.create(model="m", messages=ASK)

    assert len(experiment.records()) == 3


def test_being_shadowed_twice_is_being_shadowed_once(provider, experiment):
    client = harness.shadow(harness.shadow(openai_client(provider), experiment.path), experiment.path)

    client.chat.completions.create(model="m", messages=ASK)

    assert len(experiment.records()) == 1


def test_requests_to_another_host_through_the_same_transport_are_not_ours(provider, experiment):
    shared = httpx.Client()
    harness.shadow(openai_client(provider, http_client=shared), experiment.path)
    other = openai.OpenAI(base_url=f"http://localhost:{provider.port}/v1", api_key="k", http_client=shared)

    other.chat.completions.create(model="m", messages=ASK)

    assert len(provider.requests) == 1
    assert experiment.records() == []


def test_calls_that_cannot_be_compared_are_counted(provider, experiment):
    harness.shadow(openai_client(provider), experiment.path).embeddings.create(model="m", input="hi")

    assert experiment.counts() == {
        "requests": 1, "started": 1, "answered": 1, "status.2": 1, "not_eligible.unsupported_surface": 1,
    }  # fmt: skip


def test_our_own_calls_are_not_mirrored(provider, experiment):
    client = harness.shadow(openai_client(provider), experiment.path)

    client.chat.completions.create(model="m", messages=ASK, extra_headers={"x-shadow-harness-internal": "1"})

    assert experiment.counts()["not_eligible.internal_request"] == 1


def test_something_that_is_no_official_client_is_refused():
    with pytest.raises(ConfigurationError, match="openai or anthropic package, not Client"):
        harness.shadow(httpx.Client())


def test_a_transport_that_has_its_answer_at_hand_is_captured_too(provider, experiment):
    body = json.dumps({"choices": []}).encode()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    client = harness.shadow(openai_client(provider, http_client=httpx.Client(transport=transport)), experiment.path)

    client.chat.completions.create(model="m", messages=ASK)

    assert [captured.response for captured in experiment.records()] == [body]


@pytest.mark.parametrize(
    ("mirror", "reason"),
    [
        ({"max_request_bytes": 10}, "request_too_large"),
        ({"max_response_bytes": 10}, "response_too_large"),
    ],
)
def test_bodies_above_the_limit_are_counted_and_not_kept(provider, experiment, mirror, reason):
    experiment.write(**mirror)

    assert chat(provider, experiment.path) == TEXT

    assert experiment.counts() == {
        "requests": 1, "started": 1, "answered": 1, "status.2": 1, "sampled": 1, f"dropped.{reason}": 1,
    }  # fmt: skip


def test_about_half_is_sampled_at_a_rate_of_a_half(provider, experiment):
    experiment.write(rate=0.5)
    client = harness.shadow(openai_client(provider), experiment.path)

    for _ in range(60):
        client.chat.completions.create(model="m", messages=ASK)

    counts = experiment.counts()
    assert counts["sampled"] + counts["sampled_out"] == counts["requests"] == 60
    assert 12 < counts["sampled"] < 48
    assert {captured.rate for captured in experiment.records()} == {0.5}
