"""From what LiteLLM tells callbacks to a request and an answer."""

import orjson
import pytest

from harness.capture.litellm_body import told

ASK = [{"role": "user", "content": "hi"}]
CHAT = {"choices": [{"message": {"content": "x"}}]}


def details(proxied=None, **payload):
    standard = {
        "status": "success", "call_type": "acompletion", "model": "openai/m", "response": CHAT, "messages": ASK,
        "model_parameters": {"temperature": 0.2, "extra_headers": {"authorization": "sk"}, "top_p": None},
        "startTime": 10.0, "completionStartTime": 10.5, "endTime": 12.0, "response_time": 0.5,
        "litellm_call_id": "c-1",
    } | payload  # fmt: skip
    found = {"standard_logging_object": standard, "litellm_call_id": "c-1", "messages": ASK}
    return found | ({"litellm_params": {"proxy_server_request": proxied}} if proxied else {})


def test_a_request_has_its_settings_and_nothing_that_holds_a_key():
    assert orjson.loads(told(details()).request()) == {"model": "openai/m", "messages": ASK, "temperature": 0.2}


def test_the_latency_of_a_stream_ends_with_its_last_token():
    found = told(details())

    assert (found.at_ns, found.latency_s, found.ttft_s) == (10_000_000_000, 2.0, 0.5)


def test_an_answer_from_the_cache_took_no_models_time():
    found = told(details(cache_hit=True))

    assert (found.latency_s, found.ttft_s) == (None, None)


def test_a_client_behind_the_proxy_is_asked_as_it_asked():
    body = {
        "model": "alias", "messages": [{"role": "user", "content": "before a guardrail"}], "max_tokens": 9,
        "metadata": {"user_api_key": "sk"}, "stream": True,
    }  # fmt: skip
    proxied = {"body": body, "headers": {"X-Conversation-Id": "c", "Authorization": "sk"}}
    found = told(details(proxied))

    assert orjson.loads(found.request()) == {"model": "openai/m", "messages": ASK, "max_tokens": 9, "stream": True}
    assert (b"X-Conversation-Id", b"c") in list(found.headers)


@pytest.mark.parametrize(
    "payload",
    [{"guardrail_information": [{"guardrail_status": "success"}]}, {"metadata": {"applied_guardrails": ["pii"]}}],
)
def test_what_a_guardrail_may_have_changed_is_not_taken_from_the_client(payload):
    proxied = {"body": {"system": "my card is 4111", "messages": []}, "headers": {}}

    assert b"4111" not in told(details(proxied, **payload)).request()


@pytest.mark.parametrize(
    ("kind", "answer", "path"),
    [
        ("acompletion", CHAT, "/v1/chat/completions"),
        ("anthropic_messages", {"content": []}, "/v1/messages"),
        ("anthropic_messages", CHAT, "/v1/chat/completions"),
        ("aresponses", {"output": []}, "/v1/responses"),
        ("atext_completion", CHAT, "/v1/completions"),
        ("aembedding", {"data": []}, "/aembedding"),
        ("", None, "/"),
    ],
)
def test_the_surface_is_the_one_the_answer_speaks(kind, answer, path):
    assert told(details(call_type=kind, response=answer)).path == path


@pytest.mark.parametrize(
    ("path", "asked", "expected"),
    [
        ("aresponses", "hi", {"input": "hi"}),
        ("atext_completion", ASK, {"prompt": "hi"}),
        ("atext_completion", ["a", "b"], {"prompt": ["a", "b"]}),
    ],
)
def test_the_prompt_stands_where_the_surface_has_it(path, asked, expected):
    kwargs = details(call_type=path, response=None, model_parameters={}) | {"messages": asked}

    assert orjson.loads(told(kwargs).request()) == {"model": "openai/m"} | expected


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        ({"error_class": "RateLimitError", "error_code": "429", "error_message": "slow"}, 429, None),
        ({"error_class": "Timeout", "error_code": "408"}, 0, "timeout: Timeout"),
        ({"error_class": "APIConnectionError", "error_code": "500"}, 0, "connect: APIConnectionError"),
        ({"error_class": "", "error_code": ""}, 0, "cut: unknown"),
    ],
)
def test_a_failure_has_the_providers_status_where_there_was_one(error, status, text):
    found = told(details(status="failure", response={}, error_information=error))

    assert (found.status, found.error) == (status, text)
    body = found.response()
    assert orjson.loads(body)["error"]["message"] == "slow" if status else body == b""


@pytest.mark.parametrize(
    ("payload", "withheld"),
    [
        ({}, False),
        ({"messages": [{"content": "redacted-by-litellm"}]}, True),
        ({"response": {"choices": [{"message": {"content": "redacted-by-litellm"}}]}}, True),
        ({"messages": [{"content": "hi", 1: 2}]}, False),
        ({"guardrail_information": [{"guardrail_status": "guardrail_intervened"}]}, True),
        ({"guardrail_information": [{"guardrail_status": "success"}]}, False),
    ],
)
def test_what_is_withheld_from_callbacks_is_seen_as_such(payload, withheld):
    assert told(details(**payload)).is_withheld is withheld


def test_half_a_character_in_a_name_is_replaced():
    found = told(details(session_id="s\ud83d", end_user="u\ud83d"))

    assert (found.session, found.user) == ("s?", "u?")


def test_without_a_payload_there_is_no_call():
    assert told({}) is None
