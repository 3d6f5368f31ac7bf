"""Whether a stream that was closed early had said all it had to say."""

import gzip
import json
import zlib

import pytest
import zstandard

from harness.capture import endings
from tests.unit.capture import provider

SSE = {"content-type": "text/event-stream; charset=utf-8"}
CHAT = provider.chat_stream()
USAGE = b'data: {"choices": [], "usage": {"total_tokens": 7}}\n\n'


@pytest.mark.parametrize("events", [CHAT, provider.message_stream(), provider.response_stream(), [*CHAT[:3], USAGE]])
def test_a_closing_event_ends_a_stream(events):
    body = b"".join(events)

    assert endings.whole(body, SSE) == body
    assert endings.whole(body + b": ping\n\n", SSE) == body + b": ping\n\n"
    assert endings.whole(body.replace(b"\n", b"\r\n"), SSE) is not None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        b"".join(CHAT[:2]),
        b"".join(CHAT[:3])[:-20],
        b"".join(provider.message_stream()[:-1]),
        b"".join(provider.response_stream())[:-40],
        b"data: 7\n\n",
        b'data: {"choices": [{"finish_reason": "stop"}, {"finish_reason": null}]}\n\n',
    ],
)
def test_a_stream_without_one_is_not_over(body):
    assert endings.whole(body, SSE) is None


@pytest.mark.parametrize(
    ("coding", "encode"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstandard.ZstdCompressor().compress)],
)
def test_a_coded_stream_may_lack_the_end_of_its_coding(coding, encode):
    body = b"".join(CHAT)
    coded = encode(body)
    missing = 0 if coding == "zstd" else 4

    assert endings.whole(coded[: len(coded) - missing], SSE | {"content-encoding": coding}) == body


@pytest.mark.parametrize("coding", ["br", "gzip", "zstd"])
def test_what_cannot_be_decoded_has_no_end_that_was_seen(coding):
    assert endings.whole(b"\x00\x01 not coded", SSE | {"content-encoding": coding}) is None


def test_an_answer_that_is_no_stream_is_over_when_it_is_whole():
    body = json.dumps(provider.chat()).encode()

    assert endings.whole(body, {"content-type": "application/json"}) == body
    assert endings.whole(body[:-1], {"content-type": "application/json"}) is None
