"""What a client gets through the gateway is what it gets without, to the byte."""

import asyncio
import gzip
import itertools
import json
import random
import threading
import time
import zlib

import pytest
import zstandard

from tests.gateways import CHAT, Asked, Client, ask, when

TEXT = "Grüße, 東京, 👩‍👩‍👧 and \u2028 all\n"
CHUNK = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": TEXT}}]}
EVENTS = [b"data: " + json.dumps(CHUNK, ensure_ascii=False).encode() + b"\n\n" for _ in range(3)] + [
    b"data: [DONE]\n\n"
]
ANSWER = json.dumps({"choices": [{"message": {"content": TEXT}}]}, ensure_ascii=False).encode()


def both(served, upstream, body: bytes = b"{}", *headers: bytes, **how):
    """The same request without and with the gateway."""
    direct = ask(upstream.port, body, *headers, **how)
    through = ask(served.port, body, *headers, **how)
    return direct, through


def assert_the_same(served, upstream, body: bytes = b"{}", *headers: bytes, **how):
    before = len(upstream.asked)
    (direct_head, direct), (head, found) = both(served, upstream, body, *headers, **how)
    assert head.status == direct_head.status
    assert head.end_to_end == direct_head.end_to_end
    assert found == direct
    plain, passed = upstream.asked[before:]
    assert (passed.method, passed.target) == (plain.method, plain.target)
    different = {b"host", b"content-length", b"transfer-encoding", b"connection"}
    assert [one for one in passed.headers if one[0] not in different] == [
        one for one in plain.headers if one[0] not in different
    ]
    return found


@pytest.mark.parametrize("target", [CHAT, "/v1/responses", "/v1/messages", "/v1/embeddings", "/v1/models?x=%20a&b=c+d"])
def test_answers_with_a_length(served, upstream, target):
    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.answer(
            ANSWER, b"Content-Type: application/json; charset=utf-8", b"X-Request-Id: r1", b"Set-Cookie: a=1; Path=/",
            b"Set-Cookie: b=2", b"x-ratelimit-remaining-tokens: 7", b"Server: production", b"Date: yesterday",
        )  # fmt: skip

    upstream.handler = handler
    request = json.dumps({"messages": [{"role": "user", "content": TEXT}]}, ensure_ascii=False).encode()
    found = assert_the_same(
        served, upstream, request, b"Authorization: Bearer sk-1", b"X-Custom: caf\xe9", b"Cookie: a=b", target=target
    )
    assert found == ANSWER


def test_streams(served, upstream):
    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.stream(*EVENTS)

    upstream.handler = handler
    assert assert_the_same(served, upstream, b'{"stream": true}') == b"".join(EVENTS)


def test_each_event_is_passed_on_before_the_next_one_is_made(served, upstream):
    """Production makes the next event only when the client has the one before: buffering would deadlock."""
    got = [threading.Event() for _ in EVENTS]

    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for event, reached in zip(EVENTS, got, strict=True):
            await asked.chunk(event)
            await when(reached)
        await asked.chunk(b"")

    upstream.handler = handler
    with Client(served.port, timeout_s=5) as client:
        client.ask(b'{"stream": true}')
        assert client.head().status == 200
        for event, reached in zip(EVENTS, got, strict=True):
            assert client.chunk() == event
            reached.set()
        assert client.chunk() == b""


def test_an_event_takes_no_longer_than_it_must(served, upstream):
    """Within one stream: the time between production's writing and the client's reading, median of many."""
    written: list[float] = []
    turn = threading.Semaphore(0)

    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(100):
            while not turn.acquire(blocking=False):  # noqa: ASYNC110  released by another thread
                await asyncio.sleep(0.001)
            written.append(time.perf_counter())
            await asked.chunk(EVENTS[0])
        await asked.chunk(b"")

    upstream.handler = handler
    with Client(served.port) as client:
        client.ask()
        client.head()
        read = []
        for _ in range(100):
            turn.release()
            client.chunk()
            read.append(time.perf_counter())
    delays = sorted(after - before for before, after in zip(written, read, strict=True))
    assert delays[50] < 0.02


def test_multi_byte_characters_cut_at_every_boundary(served, upstream):
    whole = "é東👩‍👧".encode()

    async def handler(asked: Asked) -> None:
        await asked.body()
        cut = int(asked.header(b"x-cut") or 0)
        await asked.stream(b"data: " + whole[:cut], whole[cut:] + b"\n\n")

    upstream.handler = handler
    served.records()
    for cut in range(1, len(whole)):
        found = assert_the_same(served, upstream, whole[:cut] + whole[cut:], b"x-cut: %d" % cut)
        assert found == b"data: " + whole + b"\n\n"
    captured = served.records()
    assert len(captured) == len(whole) - 1
    assert {record.response for record in captured} == {b"data: " + whole + b"\n\n"}
    assert {record.request for record in captured} == {whole}


def test_single_byte_chunks(served, upstream):
    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.stream(*(bytes([byte]) for byte in EVENTS[0]))

    upstream.handler = handler
    assert assert_the_same(served, upstream) == EVENTS[0]


def _zstd(data: bytes) -> bytes:
    return zstandard.compress(data)


@pytest.mark.parametrize(
    ("coding", "compress"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", _zstd), ("br", lambda data: b"\x0b\x02\x80" + data)],
)
@pytest.mark.parametrize("status", [b"200 OK", b"429 Too Many Requests"])
@pytest.mark.parametrize("streamed", [False, True])
def test_compressed_answers_and_requests_stay_compressed(served, upstream, coding, compress, status, streamed):
    """Brotli's bytes are not checked by anybody on the way, which is the point."""
    packed = compress(ANSWER)
    request = compress(b'{"messages": []}')
    seen = []

    async def handler(asked: Asked) -> None:
        seen.append((await asked.body(), asked.header(b"content-encoding"), asked.header(b"accept-encoding")))
        if streamed:
            await asked.send(b"HTTP/1.1 " + status + b"\r\ntransfer-encoding: chunked\r\ncontent-encoding: ")
            await asked.send(coding.encode() + b"\r\n\r\n")
            await asked.chunk(packed[:5], packed[5:], b"")
        else:
            await asked.answer(packed, b"content-encoding: " + coding.encode(), status=status)

    upstream.handler = handler
    headers = (b"content-encoding: " + coding.encode(), b"accept-encoding: gzip, br, zstd")
    assert assert_the_same(served, upstream, request, *headers) == packed
    assert seen[1] == (request, coding.encode(), b"gzip, br, zstd")
    [record] = served.records()[-1:]
    assert record.response == packed
    assert record.request == request
    assert record.response_headers["content-encoding"] == coding


@pytest.mark.parametrize("megabytes", [1.1, 3, 10, 64])
@pytest.mark.parametrize("chunked", [False, True])
def test_large_bodies_both_ways(served, upstream, megabytes, chunked):
    body = random.Random(1).randbytes(int(megabytes * 1e6))
    before = served.settled()

    async def handler(asked: Asked) -> None:
        found = await asked.body()
        if chunked:
            await asked.stream(*(found[at : at + 300_000] for at in range(0, len(found), 300_000)))
        else:
            await asked.answer(found)

    upstream.handler = handler
    with Client(served.port) as client:
        if chunked:
            client.send(b"POST " + CHAT.encode() + b" HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\n")
            for at in range(0, len(body), 300_000):
                piece = body[at : at + 300_000]
                client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            client.send(b"0\r\n\r\n")
        else:
            client.ask(body)
        head, found = client.answer()
    assert head.status == 200
    assert found == body
    counts = served.settled()
    if megabytes < 4:
        [record] = served.records()[-1:]
        assert record.request == record.response == body
    else:
        large = [f"dropped.{kind}_too_large" for kind in ("request", "response")]
        assert sum(counts[name] - before[name] for name in large) == 1


def test_answers_in_every_size_around_the_buffers(served, upstream):
    """On one connection to production: whatever is left paused or half read after one answer spoils the next."""

    async def handler(asked: Asked) -> None:
        await asked.answer(bytes(int(await asked.body())))

    upstream.handler = handler
    sizes = [0, 1, 65_535, 65_536, 262_143, 262_144, 262_145, 300_000, 400_000, 524_288, 524_289, 600_000]
    with Client(served.port, timeout_s=10) as client:
        for size in itertools.chain(sizes * 3):
            client.ask(b"%d" % size)
            head, found = client.answer()
            assert head.status == 200
            assert len(found) == size


@pytest.mark.parametrize("status", [b"529 Overloaded", b"418 Teapot", b"599 Odd", b"301 Moved", b"206 Partial"])
def test_any_status_is_passed_on(served, upstream, status):
    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.answer(b"{}", b"location: /elsewhere", status=status)

    upstream.handler = handler
    assert_the_same(served, upstream)


def test_nothing_is_answered_twice_or_mixed_up_under_load(served, upstream):
    """Many clients at once on shared connections: each gets its own bytes."""
    wrong: list[str] = []

    def work(number: int) -> None:
        with Client(served.port) as client:
            for turn in range(50):
                body = f"{number}.{turn}.".encode() * (1 + (number * turn) % 700)
                client.ask(body)
                head, found = client.answer()
                if head.status != 200 or found != body:
                    wrong.append(f"{number}.{turn}: {head.status}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    served.settled()
