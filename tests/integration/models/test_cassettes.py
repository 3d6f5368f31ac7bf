"""Recordings of a real model server replay without it: what we read equals what was on the wire."""

import json
from pathlib import Path

import pytest
import yaml

from harness.domain.model import ModelError
from harness.domain.observation import ErrorKind

CASSETTES = Path(__file__).parents[2] / "data" / "cassettes"
ANSWERS = ["openai_text", "openai_stream", "openai_logprobs", "openai_length", "anthropic_text", "anthropic_stream"]
FINISH = {"end_turn": "stop", "max_tokens": "length"}


@pytest.fixture
def httpx_transport(monkeypatch):
    """vcrpy hooks into httpx, not into the aiohttp transport that litellm prefers."""
    import litellm

    monkeypatch.setattr(litellm, "disable_aiohttp_transport", True)


def on_the_wire(name):
    """Text, finish reason, tokens in and tokens out, read from the recorded bytes without any of our code."""
    (interaction,) = yaml.safe_load((CASSETTES / f"{name}.yaml").read_text(encoding="utf-8"))["interactions"]
    body = interaction["response"]["body"]["string"]
    lines = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: {")]
    events = [json.loads(line) for line in lines] or [json.loads(body)]
    return _anthropic(events) if name.startswith("anthropic") else _openai(events)


def _openai(events):
    choices = [choice for event in events for choice in event["choices"]]
    parts = [choice["delta"] if "delta" in choice else choice["message"] for choice in choices]
    (usage,) = [event["usage"] for event in events if event.get("usage")]
    finish = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    text = "".join(part.get("content") or "" for part in parts)
    return text, finish[-1], usage["prompt_tokens"], usage["completion_tokens"]


def _anthropic(events):
    if len(events) == 1:
        (message,) = events
        text, stop, usage = message["content"][0]["text"], message["stop_reason"], message["usage"]
        read = usage
    else:
        text = "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")
        (last,) = [event for event in events if event["type"] == "message_delta"]
        stop, usage = last["delta"]["stop_reason"], last["usage"]
        read = events[0]["message"]["usage"]
    return text, FINISH[stop], read["input_tokens"] + read.get("cache_read_input_tokens", 0), usage["output_tokens"]


async def replayed(client, cassettes, name):
    request, model = cassettes.asked(name)
    with cassettes.recorder("none").use_cassette(str(CASSETTES / f"{name}.yaml")) as cassette:
        reply = await client.complete(request, model, deadline_s=60)
    assert cassette.all_played
    return reply


@pytest.mark.usefixtures("httpx_transport")
@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_is_read_as_it_was_sent(client, cassettes, name):
    text, finish, tokens_in, tokens_out = on_the_wire(name)
    assert text
    assert tokens_in > 0

    reply = await replayed(client, cassettes, name)

    assert reply.completion.text == text
    assert reply.completion.finish_reason == finish
    assert (reply.usage.tokens_in, reply.usage.tokens_out) == (tokens_in, tokens_out)
    assert reply.completion.model == cassettes.load()["model"]
    assert reply.completion.tool_calls == ()
    assert reply.cost_usd is None
    assert (reply.ttft_ms is not None) is cassettes.asked(name)[1].stream


@pytest.mark.usefixtures("httpx_transport")
async def test_token_probabilities_come_with_their_alternatives(client, cassettes):
    reply = await replayed(client, cassettes, "openai_logprobs")

    assert "".join(position.token for position in reply.logprobs) == reply.completion.text
    for position in reply.logprobs:
        assert len(position.top) == 3
        assert position.logprob <= 0
        assert max(position.top.values()) == pytest.approx(position.top[position.token], abs=1e-6)


@pytest.mark.usefixtures("httpx_transport")
@pytest.mark.parametrize(
    ("name", "kind", "word"),
    [
        ("openai_too_long", ErrorKind.CONTEXT_WINDOW, "exceeds the available context size"),
        ("anthropic_too_long", ErrorKind.CONTEXT_WINDOW, "exceeds the available context size"),
        ("openai_bad_request", ErrorKind.BAD_REQUEST, "unrecognized type nonsense"),
    ],
)
async def test_a_refused_request_keeps_the_servers_words(client, cassettes, name, kind, word):
    with pytest.raises(ModelError) as caught:
        await replayed(client, cassettes, name)

    assert caught.value.error.kind is kind
    assert caught.value.error.http_status == 400
    assert word in caught.value.error.message


def test_cassettes_hold_no_secret_and_no_path(cassettes):
    files = sorted(CASSETTES.glob("*.yaml"))
    assert {file.stem for file in files} == set(cassettes.load()["scenarios"])
    for file in files:
        text = file.read_text(encoding="utf-8")
        for forbidden in ("authorization", "x-api-key", "no-key-needed", "user-agent", ".gguf", "/home/", "/root/"):
            assert forbidden not in text.lower(), (file.name, forbidden)
        for interaction in yaml.safe_load(text)["interactions"]:
            assert interaction["request"]["uri"].startswith("http://127.0.0.1:")
