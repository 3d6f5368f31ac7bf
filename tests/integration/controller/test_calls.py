"""One call ends in time whatever the other side does, and no error tells whom it went to."""

import time

import pytest

from harness.controller.calls import CallError, call
from tests.integration.controller import loopback
from tests.integration.controller.loopback import answering, serving

SECRET = "T0KEN-in-the-path"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def ask(address: str, **more):
    options = {"headers": {}, "timeout_s": 0.6, "max_bytes": 1_000} | more
    return call("POST", address, body=b"{}", **options)


def test_what_comes_back_comes_back():
    with serving(answering(201, b"hello")) as server:
        reply = ask(f"{server.url}/a?b=c", headers={"X-Key": "v"})
    assert (reply.status, reply.body, reply.ok, reply.cut) == (201, b"hello", True, False)
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.headers["x-key"], asked.body) == ("POST", "/a?b=c", "v", b"{}")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(status):
    with serving(answering(200)) as other, serving(answering(status, location=f"{other.url}/elsewhere")) as server:
        reply = ask(server.url)
    assert (reply.status, reply.ok) == (status, False)
    assert other.asked == []


@pytest.mark.parametrize(
    ("respond", "said"),
    [
        (loopback.silent, "no answer within 0.6 s"),
        (loopback.dripping, "no answer within 0.6 s"),
        (loopback.dripping_body, "no answer within 0.6 s"),
        (loopback.closing, "the connection broke off"),
        (loopback.garbage, "no HTTP answer"),
    ],
)
def test_a_bad_answer_is_an_error_in_time(respond, said):
    with serving(respond) as server:
        begun = time.monotonic()
        with pytest.raises(CallError) as failed:
            ask(f"{server.url}/{SECRET}")
        assert time.monotonic() - begun < 1.5
    assert str(failed.value) == said


def test_no_more_is_read_than_was_asked_for():
    with serving(loopback.endless) as server:
        reply = ask(server.url, timeout_s=5, max_bytes=100_000)
    assert (len(reply.body), reply.cut) == (100_000, True)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (f"http://127.0.0.1:1/{SECRET}", "connection refused"),
        (f"ftp://127.0.0.1/{SECRET}", "no http or https address"),
        (f"file:///etc/{SECRET}", "no http or https address"),
        (f"http://{SECRET}:x@127.0.0.1/", "no http or https address without credentials"),
        (f"http:///{SECRET}", "no http or https address"),
        (f"http://127.0.0.1:1/{SECRET} with spaces", "it cannot be sent|no HTTP answer"),
        (f"http://127.0.0.1:x/{SECRET}", "it cannot be sent|no HTTP answer"),
        (f"http://[{SECRET}/", "it cannot be sent"),
        (SECRET, "no http or https address"),
    ],
)
def test_no_error_tells_the_address(address, said, caplog):
    with pytest.raises(CallError, match=said) as failed:
        ask(address)
    assert SECRET not in str(failed.value) + repr(failed.value.__context__) + caplog.text


def test_no_error_tells_a_header():
    with pytest.raises(CallError, match="malformed") as failed:
        ask("http://127.0.0.1:1/", headers={"Authorization": f"Bearer {SECRET}\nx"})
    assert SECRET not in str(failed.value)


def test_a_server_without_tls_is_said_to_be_one():
    with serving(answering(200)) as server, pytest.raises(CallError, match=r"TLS|broke off"):
        ask(server.url.replace("http:", "https:"))
