"""Reading what went wrong, without any adapter: waits, secrets, words."""

import httpx
import pytest

from harness.domain.observation import ErrorKind
from harness.models.faults import describe, retry_after, scrub


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "12"}, 12.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:27:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers, seconds):
    assert retry_after(headers, now=1445412450.0) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abc123DEF456ghi789",
        "Authorization: Bearer abc.def-ghi123",
        'headers {"x-api-key": "0123456789abcdef"}',
        "GET https://host/v1beta/models?key=AIzaSyA-0123456789abcdef",
        "key is gsk_0123456789abcdef",
    ],
)
def test_credentials_are_taken_out_of_messages(text):
    cleaned = scrub(text)

    assert "[secret]" in cleaned
    for part in ("abc123DEF456", "abc.def-ghi123", "0123456789abcdef"):
        assert part not in cleaned


def test_our_own_keys_are_taken_out_whatever_they_look_like(monkeypatch):
    monkeypatch.setenv("SOME_VENDOR_KEY", "correct horse battery")

    assert scrub("tried correct horse battery and hunter22", ["hunter22"]) == "tried [secret] and [secret]"


def test_messages_are_cut_at_two_thousand_characters():
    assert len(scrub("x" * 5_000)) == 2_000


def status_error(status, body="{}", headers=None):
    request = httpx.Request("POST", "http://h/v1")
    response = httpx.Response(status, headers=headers, text=body, request=request)
    return httpx.HTTPStatusError("failed", request=request, response=response)


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (400, "your prompt is too long", ErrorKind.CONTEXT_WINDOW),
        (400, "API key not valid. Please pass a valid API key.", ErrorKind.AUTHENTICATION),
        (400, "Your credit balance is too low", ErrorKind.QUOTA_EXHAUSTED),
        (402, "pay first", ErrorKind.QUOTA_EXHAUSTED),
        (413, "request entity too large", ErrorKind.BAD_REQUEST),
        (429, "You exceeded your current quota", ErrorKind.QUOTA_EXHAUSTED),
        (429, "slow down", ErrorKind.RATE_LIMIT),
        (503, "The model is overloaded. Please try again later.", ErrorKind.OVERLOADED),
        (503, "unavailable", ErrorKind.SERVER_ERROR),
        (504, "gateway timeout", ErrorKind.TIMEOUT),
        (418, "teapot", ErrorKind.BAD_REQUEST),
    ],
)
def test_status_and_words_make_the_kind(status, words, kind):
    try:
        try:
            raise status_error(status, headers={"retry-after": "4"})
        except httpx.HTTPStatusError:
            raise RuntimeError('{"error": {"message": "' + words + '", "type": "t", "code": null}}')  # noqa: B904
    except RuntimeError as error:
        fault = describe(error)

    assert fault.error.kind is kind
    assert fault.error.message == words
    assert fault.error.code == "t"
    assert fault.error.http_status == status
    assert fault.retry_after_s == 4.0


@pytest.mark.parametrize(
    ("error", "started", "kind", "unsent"),
    [
        (httpx.ConnectError("refused"), False, ErrorKind.CONNECTION, True),
        (httpx.ReadError("gone"), False, ErrorKind.CONNECTION, False),
        (httpx.ReadError("gone"), True, ErrorKind.CUT_STREAM, False),
        (httpx.ReadTimeout("slow"), True, ErrorKind.TIMEOUT, False),
        (ConnectionResetError("reset"), False, ErrorKind.CONNECTION, False),
        (ValueError("no idea"), True, ErrorKind.CUT_STREAM, False),
        (ValueError("no idea"), False, ErrorKind.OTHER, False),
    ],
)
def test_without_a_status_the_exception_decides(error, started, kind, unsent):
    fault = describe(error, started=started)

    assert (fault.error.kind, fault.unsent, fault.error.http_status) == (kind, unsent, None)
    assert fault.error.message == str(error)


def test_a_loop_in_the_chain_of_causes_ends():
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first

    assert describe(first).error.kind is ErrorKind.OTHER
