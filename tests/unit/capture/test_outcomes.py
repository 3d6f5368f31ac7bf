"""Errors, retries and callers that leave: the caller sees what it would have seen, the spool one outcome per call."""

import asyncio
import gc
import time
from email.utils import formatdate

import anthropic
import openai
import pytest

import harness
from harness.capture import attempt
from harness.spool import control
from tests.unit.capture.provider import TEXT
from tests.unit.capture.test_clients import ASK, anthropic_client, openai_client

ONE = {"requests": 1, "started": 1, "answered": 1}


def ask(client, **more):
    return client.chat.completions.create(model="m", messages=ASK, **more)


def test_a_call_that_was_tried_again_is_one_record_with_its_last_outcome(provider, experiment):
    provider.statuses = [500, 429]
    client = harness.shadow(openai_client(provider), experiment.path)

    assert ask(client).choices[0].message.content == TEXT

    assert len(provider.requests) == 3
    [captured] = experiment.records()
    assert captured.status == 200
    assert captured.request_headers["x-stainless-retry-count"] == "2"
    assert experiment.counts() == ONE | {
        "status.2": 1, "sampled": 1, "spooled": 1, "spooled_bytes": experiment.counts()["spooled_bytes"],
    }  # fmt: skip


def test_a_retry_that_takes_longer_than_the_wait_for_it_is_the_last_outcome(provider, experiment, monkeypatch):
    monkeypatch.setattr(attempt.Attempt, "hold_s", 1.0)
    provider.statuses = [429]
    client = harness.shadow(openai_client(provider), experiment.path)
    provider.delay_s = 1.8

    assert ask(client).choices[0].message.content == TEXT

    [captured] = experiment.records()
    assert captured.status == 200
    assert experiment.counts()["spooled"] == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 10), ({"retry-after": "7"}, 17), ({"retry-after": "1.5"}, 11.5), ({"retry-after-ms": "500"}, 10.5),
        ({"retry-after": "600"}, 130), ({"retry-after": "nonsense"}, 10), ({"retry-after": "nan"}, 10),
        ({"retry-after": "-3"}, 10),
    ],
)  # fmt: skip
def test_a_failure_waits_for_as_long_as_a_client_may(headers, seconds):
    assert held(headers) == pytest.approx(seconds)


def test_a_date_to_try_again_at_is_understood():
    assert held({"retry-after": formatdate(time.time() + 60, usegmt=True)}) == pytest.approx(70, abs=2)


def held(headers):
    waiting = attempt.Attempt(
        id_="1", method="POST", path="/v1/messages", headers={}, request=b"", retries=0, mirror=None, salt_id="",
        decided=None,
    )  # fmt: skip
    waiting.response_headers = headers
    return waiting.hold_s


def test_a_failure_that_waits_when_the_switch_is_thrown_is_not_written(provider, experiment):
    provider.statuses = [500]
    client = harness.shadow(openai_client(provider, max_retries=0), experiment.path)
    with pytest.raises(openai.InternalServerError):
        ask(client)
    control.switch(experiment.spool, mirror=False)
    time.sleep(1.0)

    assert experiment.records() == []
    assert experiment.counts()["dropped.switched_off"] == 1


def test_a_call_that_failed_to_the_end_is_one_record_of_the_failure(provider, experiment):
    provider.statuses = [500, 500, 503]
    client = harness.shadow(openai_client(provider), experiment.path)

    with pytest.raises(openai.InternalServerError) as raised:
        ask(client)

    assert raised.value.status_code == 503
    [captured] = experiment.records()
    assert captured.status == 503
    assert b"status 503" in captured.response
    assert experiment.counts()["status.5"] == 1


def test_calls_that_ask_the_same_at_once_and_fail_at_once_are_still_one_record_each(provider, experiment):
    provider.statuses = [500] * 8
    provider.delay_s = 0.05

    async def all_at_once():
        async with openai.AsyncOpenAI(base_url=f"{provider.base}/v1", api_key="k") as client, asyncio.TaskGroup() as g:
            harness.shadow(client, experiment.path)
            for _ in range(8):
                g.create_task(client.chat.completions.create(model="m", messages=ASK))

    asyncio.run(all_at_once())

    records = experiment.records()
    assert [captured.status for captured in records] == [200] * 8
    assert len({captured.id for captured in records}) == 8
    assert experiment.counts()["requests"] == experiment.counts()["sampled"] == 8


def test_what_is_sampled_is_decided_once_per_call(provider, experiment):
    """Else calls that are tried again would come into the sample more often."""
    experiment.write(rate=0)
    provider.statuses = [500, 500]

    ask(harness.shadow(openai_client(provider), experiment.path))

    assert experiment.counts() == ONE | {"status.2": 1, "sampled_out": 1}


def test_a_refusal_is_recorded_at_once(provider, experiment):
    provider.statuses = [400]

    with pytest.raises(openai.BadRequestError):
        ask(harness.shadow(openai_client(provider), experiment.path))

    assert [captured.status for captured in experiment.records()] == [400]


def test_failures_can_be_left_out(provider, experiment):
    experiment.write(production_failures=False)
    provider.statuses = [400]

    with pytest.raises(openai.BadRequestError):
        ask(harness.shadow(openai_client(provider), experiment.path))

    assert experiment.counts() == ONE | {"status.4": 1, "sampled": 1, "dropped.production_failed": 1}


def test_a_provider_that_is_not_there_is_a_failure_of_production(provider, experiment):
    client = openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="sk-secret", max_retries=1)

    with pytest.raises(openai.APIConnectionError) as raised:
        ask(harness.shadow(client, experiment.path))

    assert type(raised.value.__cause__).__name__ == "ConnectError"
    [captured] = experiment.records()
    assert (captured.status, captured.error) == (0, "connect: ConnectError")
    assert experiment.counts()["upstream_unreachable"] == 1


def test_a_timeout_is_a_failure_of_production(provider, experiment):
    provider.delay_s = 0.5
    client = openai_client(provider, timeout=0.1, max_retries=0)

    with pytest.raises(openai.APITimeoutError):
        ask(harness.shadow(client, experiment.path))

    [captured] = experiment.records()
    assert (captured.status, captured.error) == (0, "timeout: ReadTimeout")
    assert experiment.counts()["upstream_timeout"] == 1


@pytest.mark.parametrize("surface", ["chat", "messages"])
def test_an_answer_that_broke_off_is_dropped_and_raises_as_before(provider, experiment, surface):
    provider.cut_after = 1

    if surface == "chat":
        stream = ask(harness.shadow(openai_client(provider), experiment.path), stream=True)
        with pytest.raises(Exception, match="incomplete chunked read"):
            list(stream)
    else:
        client = harness.shadow(anthropic_client(provider), experiment.path)
        with (
            pytest.raises((anthropic.APIConnectionError, Exception), match=r"incomplete chunked read|Connection error"),
            client.messages.stream(model="m", max_tokens=9, messages=ASK) as stream,
        ):
            list(stream)

    assert experiment.counts()["dropped.production_cut"] == 1


def test_a_caller_that_leaves_in_the_middle_is_no_evidence(provider, experiment):
    provider.gap_s = 0.05

    with ask(harness.shadow(openai_client(provider), experiment.path), stream=True) as stream:
        next(stream)

    assert experiment.counts() == ONE | {
        "status.2": 1, "sampled": 1, "client_gone": 1, "dropped.client_disconnected": 1,
    }  # fmt: skip


def test_an_answer_that_was_thrown_away_unread_is_no_evidence(provider, experiment):
    stream = ask(harness.shadow(openai_client(provider), experiment.path), stream=True)
    del stream
    gc.collect()

    assert experiment.counts()["dropped.client_disconnected"] == 1


def test_stopping_at_the_finish_reason_is_waiting_for_the_end(provider, experiment):
    for chunk in ask(harness.shadow(openai_client(provider), experiment.path), stream=True):
        if chunk.choices[0].finish_reason:
            break
    del chunk
    gc.collect()

    assert experiment.counts()["spooled"] == 1


def test_a_task_that_is_cancelled_is_a_caller_that_leaves(provider, experiment):
    provider.delay_s = 5

    async def give_up():
        async with openai.AsyncOpenAI(base_url=f"{provider.base}/v1", api_key="k", max_retries=0) as client:
            harness.shadow(client, experiment.path)
            async with asyncio.timeout(0.2):
                await client.chat.completions.create(model="m", messages=ASK)

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())

    assert experiment.counts() == ONE | {"sampled": 1, "client_gone": 1, "dropped.client_disconnected": 1}


def test_a_stream_is_passed_on_as_it_comes(provider, experiment):
    provider.gap_s = 0.15
    stream = ask(harness.shadow(openai_client(provider), experiment.path), stream=True)

    arrived = [time.perf_counter() for _ in stream]

    [captured] = experiment.records()
    assert arrived[2] - arrived[0] > 0.25
    assert captured.ttft_ms < 150
    assert captured.latency_ms > 300


class Broken:
    """Anything of ours, broken."""

    def __getattr__(self, name):
        raise RuntimeError("broken")


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_of_ours_can_raise_into_the_caller(provider, experiment, stream, caplog):
    from harness.capture import capturing

    client = harness.shadow(openai_client(provider), experiment.path)
    capture = capturing.of(experiment.path)
    healthy, capture.rules = capture.rules, Broken()
    answer = ask(client, stream=stream)
    assert len(list(answer)) > 1
    capture.rules = healthy

    assert "the caller is not affected" in caplog.text


def test_a_held_failure_is_settled_when_nothing_followed(provider, experiment, monkeypatch):
    monkeypatch.setattr(attempt, "_LONGEST_HOLD_S", 0.1)
    provider.statuses = [500]
    with pytest.raises(openai.InternalServerError):
        ask(harness.shadow(openai_client(provider, max_retries=0), experiment.path))

    deadline = time.monotonic() + 5
    while not (found := list(experiment.spool.glob("*.spool"))) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found
