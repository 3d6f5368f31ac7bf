"""LiteLLM's own callback machinery in front of a provider on loopback."""

import asyncio
import time

import litellm
import orjson
import pytest

import harness
from harness.capture import capturing
from harness.capture.litellm_callback import ShadowCallback
from harness.ingest.captured import exchange_of
from tests.unit.capture.provider import TEXT
from tests.unit.capture.test_litellm_body import CHAT, details

ASK = [{"role": "user", "content": "hi"}]


@pytest.fixture
def callback(experiment, monkeypatch):
    found = ShadowCallback(str(experiment.path))
    monkeypatch.setattr(litellm, "callbacks", [found])
    for name in ("success_callback", "failure_callback", "_async_success_callback", "_async_failure_callback"):
        monkeypatch.setattr(litellm, name, [])
    return found


def asked(provider, **more):
    return {
        "model": "openai/m", "api_base": f"{provider.base}/v1", "api_key": "sk-secret", "messages": ASK,
        "temperature": 0.3, "max_retries": 0,
    } | more  # fmt: skip


def call(provider, **more):
    async def run():
        answer = await litellm.acompletion(**asked(provider, **more))
        if not more.get("stream"):
            return answer.choices[0].message.content
        return "".join([chunk.choices[0].delta.content or "" async for chunk in answer])

    return asyncio.run(and_its_logging(run()))


async def and_its_logging(calling):
    """LiteLLM calls back from a queue of its own, on the loop of the call."""
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

    try:
        return await calling
    finally:
        await asyncio.sleep(0.05)
        await GLOBAL_LOGGING_WORKER.flush()
        await asyncio.sleep(0.05)


def until(condition):
    deadline = time.monotonic() + 5
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_spooled_as_a_chat_completion(provider, experiment, callback, stream):
    assert call(provider, stream=stream, user="u-1", metadata={"session_id": "s"}) == TEXT

    [captured] = until(experiment.records)
    assert (captured.method, captured.path, captured.status) == ("POST", "/v1/chat/completions", 200)
    request = orjson.loads(captured.request)
    assert (request["model"], request["messages"], request["temperature"]) == ("m", ASK, 0.3)
    assert request.get("stream", False) is stream
    assert captured.request_headers["x-shadow-harness-source"] == "litellm"
    assert (captured.ttft_ms is not None) is stream
    assert captured.latency_ms > (captured.ttft_ms or 0)
    exchange = exchange_of(captured, "spool")
    assert exchange.production.completion.text == TEXT
    assert exchange.metadata["source"] == "litellm"
    assert b"sk-secret" not in captured.request + captured.response


def test_a_call_that_is_not_asynchronous_is_spooled_once(provider, experiment, callback):
    litellm.completion(**asked(provider))

    assert len(until(experiment.records)) == 1


def test_a_failure_is_spooled_with_its_status(provider, experiment, callback):
    provider.statuses = [400]

    with pytest.raises(litellm.BadRequestError):
        call(provider)

    [captured] = until(experiment.records)
    assert captured.status == 400
    assert "status 400" in orjson.loads(captured.response)["error"]["message"]
    assert exchange_of(captured, "spool").production.error.http_status == 400


def test_a_provider_that_does_not_answer_in_time_has_no_status(provider, experiment, callback):
    provider.delay_s = 1

    with pytest.raises(litellm.Timeout):
        call(provider, timeout=0.1)

    [captured] = until(experiment.records)
    assert (captured.status, captured.error, captured.response) == (0, "timeout: Timeout", b"")
    assert experiment.counts()["upstream_timeout"] == 1


def test_a_call_that_a_router_tried_again_is_one_record(provider, experiment, callback):
    provider.statuses = [500]
    parameters = {name: value for name, value in asked(provider).items() if name not in {"messages", "temperature"}}
    router = litellm.Router([{"model_name": "gpt", "litellm_params": parameters}], num_retries=2, retry_after=0)

    answer = asyncio.run(and_its_logging(router.acompletion(model="gpt", messages=ASK, litellm_call_id="call-1")))

    assert answer.choices[0].message.content == TEXT
    [captured] = until(experiment.records)
    assert (captured.id, captured.status) == ("litellm-call-1", 200)
    assert experiment.counts()["requests"] == experiment.counts()["sampled"] == 1


def test_what_the_proxy_withholds_from_callbacks_is_not_taken(provider, experiment, callback, monkeypatch):
    monkeypatch.setattr(litellm, "turn_off_message_logging", True)

    call(provider)

    assert until(lambda: experiment.counts().get("not_eligible.denied")) == 1
    assert experiment.records() == []


def test_an_experiment_that_cannot_be_read_changes_nothing(provider, experiment, callback, caplog):
    experiment.path.unlink()

    assert call(provider) == TEXT
    assert until(lambda: "no such file" in caplog.text)
    harness.shadow.close()


HALF = [{"role": "user", "content": "\ud83d"}]
UNWRITABLE = {
    "half a character in the request": details(messages=HALF) | {"messages": HALF},
    "an integer above 64 bits in the request": details({"body": {"seed": 1 << 70}, "headers": {}}),
    "half a character in the answer": details(response=CHAT | {"id": "\ud83d"}),
}


@pytest.mark.parametrize("told", UNWRITABLE.values(), ids=UNWRITABLE.keys())
def test_what_cannot_be_written_is_counted_and_ended(experiment, callback, caplog, told):
    callback.log_success_event(told, None, None, None)

    assert experiment.records() == []
    counts = experiment.counts()
    assert counts["requests"] == counts["sampled"] == counts["answered"] == counts["dropped.capture_failed"] == 1
    assert "a request could not be captured" in caplog.text


def test_what_cannot_be_written_and_is_sampled_by_a_field_is_counted(experiment, callback):
    experiment.write(rules=[{"fields": {"seed": "1"}, "rate": 0}])
    callback.log_success_event(UNWRITABLE["an integer above 64 bits in the request"], None, None, None)

    assert experiment.counts()["dropped.capture_failed"] == 1


def test_a_call_named_with_half_a_character_is_spooled(experiment, callback):
    callback.log_success_event(details() | {"litellm_call_id": "c\ud83d"}, None, None, None)
    asyncio.run(callback.async_post_call_failure_hook({"litellm_call_id": "c\ud83d"}, Exception(), None))

    assert [captured.id for captured in experiment.records()] == ["litellm-c?"]


def test_an_answer_that_cannot_be_written_after_all_is_counted_and_ended(experiment, callback, monkeypatch):
    def fails(_):
        raise ValueError("of a model_dump")

    monkeypatch.setattr("harness.capture.litellm_body.Told.response", fails)
    callback.log_success_event(details(), None, None, None)

    counts = experiment.counts()
    assert counts["started"] == counts["answered"] == counts["dropped.capture_failed"] == 1


def test_a_capture_that_cannot_begin_is_logged_once(callback, monkeypatch, caplog):
    def fails(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(capturing, "of", fails)
    for _ in range(3):
        callback.log_success_event(details(), None, None, None)

    assert caplog.text.count("it could not begin") == 1
    assert "can't start new thread" in caplog.text


def test_a_call_that_the_proxy_gave_up_is_not_waited_for(provider, experiment, callback):
    provider.statuses = [500]
    with pytest.raises(litellm.InternalServerError):
        call(provider, litellm_call_id="call-9")
    time.sleep(0.1)
    assert list(experiment.spool.glob("*.spool")) == []

    asyncio.run(callback.async_post_call_failure_hook({"litellm_call_id": "call-9"}, Exception(), None))

    assert until(lambda: list(experiment.spool.glob("*.spool")))
    assert [captured.status for captured in experiment.records()] == [500]
