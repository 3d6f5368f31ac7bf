"""What clients do to a real gateway: in pieces, in pipelines, in old versions, slowly, and not to the end."""

import itertools
import threading
import time
from pathlib import Path

import pytest

from tests.gateway_counts import Counting
from tests.gateways import CHAT, Asked, Client, ask, until, when

OK = b"HTTP/1.1 200 OK\r\n"
HEAD = b"POST " + CHAT.encode() + b" HTTP/1.1\r\nhost: g\r\n"


def test_pipelined_requests_are_answered_in_order(served, upstream):
    async def handler(asked: Asked) -> None:
        body = await asked.body()
        # The first takes longest, so that order is not by chance.
        until_sent = {b"1": 0.1, b"2": 0.05}.get(body, 0)
        time.sleep(until_sent)  # noqa: ASYNC251  production has nothing else to do
        await asked.stream(body, b"!")

    upstream.handler = handler
    one = b"".join(HEAD + b"content-length: 1\r\n\r\n%d" % number for number in range(1, 6))
    with Client(served.port) as client:
        client.send(one)
        assert [client.answer()[1] for _ in range(5)] == [b"%d!" % number for number in range(1, 6)]


def test_the_client_of_pipelined_requests_may_leave(served, upstream):
    gone = threading.Event()

    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.gone()
        gone.set()

    upstream.handler = handler
    counting = Counting(served)
    with Client(served.port) as client:
        client.send((HEAD + b"content-length: 1\r\n\r\n1") * 3)
        until(lambda: served.counts()["started"] > served.counts()["answered"])
    assert gone.wait(5), "production is not told"
    assert counting.grown() == {"client_gone": 1, "dropped.client_disconnected": 1}


@pytest.mark.parametrize("kind", ["length", "chunked", "close"])
@pytest.mark.parametrize("keep", [b"", b"connection: keep-alive\r\n"])
def test_http_1_0_clients_get_no_chunks(served, upstream, kind, keep):
    async def handler(asked: Asked) -> None:
        await asked.body()
        if kind == "length":
            await asked.answer(b"onetwo")
        elif kind == "chunked":
            await asked.stream(b"one", b"two")
        else:
            await asked.send(OK + b"\r\none")
            await asked.send(b"two")
            asked.close()

    upstream.handler = handler
    with Client(served.port) as client:
        client.send(b"POST " + CHAT.encode() + b" HTTP/1.0\r\ncontent-length: 2\r\n" + keep + b"\r\n{}")
        head = client.head()
        assert head.header(b"transfer-encoding") is None
        assert client.rest() == b"onetwo"


def test_a_broken_answer_is_a_reset_for_http_1_0(served, upstream):
    """Its body ends with the connection; an ordinary end would make the part look like the whole."""
    seen = threading.Event()

    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.send(OK + b"transfer-encoding: chunked\r\n\r\n4\r\npart\r\n")
        await when(seen)
        asked.reset()

    upstream.handler = handler
    with Client(served.port) as client:
        client.send(b"POST " + CHAT.encode() + b" HTTP/1.0\r\ncontent-length: 0\r\n\r\n")
        client.head()
        assert client.exactly(4) == b"part"
        seen.set()
        with pytest.raises(ConnectionResetError):
            client.exactly(1)


@pytest.mark.parametrize(
    ("moment", "chunked"),
    [
        ("in the body", True),
        ("before the answer", False), ("before the answer", True),
        ("at the first token", False), ("at the first token", True),
    ],
)  # fmt: skip
def test_a_client_that_leaves_ends_productions_work_at_once(served, upstream, moment, chunked):
    seen, left = threading.Event(), []

    async def handler(asked: Asked) -> None:
        if moment != "in the body":
            await asked.body()
        if moment == "at the first token":
            await asked.send(OK + b"transfer-encoding: chunked\r\n\r\n")
            await asked.chunk(b"first")
        seen.set()
        left.append(await asked.gone())

    upstream.handler = handler
    counting = Counting(served)
    with Client(served.port) as client:
        if moment == "in the body":
            client.send(HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        elif chunked:
            client.send(HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        else:
            client.ask()
        assert seen.wait(5)
        if moment == "at the first token":
            client.head()
            assert client.chunk() == b"first"
        time.sleep(0.1)
    closed = time.monotonic()
    until(lambda: left)
    assert left[0] - closed < 0.5
    assert counting.grown() == {"client_gone": 1, "dropped.client_disconnected": 1}


def test_a_client_that_leaves_in_a_small_body_asks_production_nothing(served, upstream):
    before, counting = len(upstream.asked), Counting(served)
    with Client(served.port) as client:
        client.send(HEAD + b"content-length: 100\r\n\r\nhalf")
        until(lambda: served.counts()["started"] > served.counts()["answered"])
    assert counting.grown() == {"client_gone": 1, "dropped.client_disconnected": 1}
    assert len(upstream.asked) == before


@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_leaves_right_after_the_last_byte_is_complete(served, upstream, streamed):
    upstream.handler = lambda asked: asked.stream(b"all", b" of it") if streamed else asked.answer(b"all of it")
    counting = Counting(served)
    for _ in range(50):
        with Client(served.port) as client:
            client.ask(b"")
            assert client.answer()[1] == b"all of it"
    assert counting.grown() == {"status.2": 50, "spooled": 50}
    assert {record.response for record in served.records()[-50:]} == {b"all of it"}


def resident(served) -> int:
    """Bytes of memory of the serving process."""
    [child] = served.children
    return int(Path(f"/proc/{child}/statm").read_text().split()[1]) * 4096


def test_a_slow_client_holds_production_back_and_memory_stays_flat(served, upstream):
    sent = [0]

    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.send(OK + b"content-length: 80000000\r\n\r\n")
        for _ in range(800):
            await asked.send(b"x" * 100_000)
            sent[0] += 100_000

    upstream.handler = handler
    before = resident(served)
    with Client(served.port, receive_buffer=65_536) as client:
        client.ask()
        client.head()
        last = -1
        while last != sent[0]:
            last = sent[0]
            time.sleep(0.2)
        assert sent[0] < 40_000_000, "production is not held back"
        assert resident(served) - before < 20_000_000
        assert len(client.exactly(80_000_000)) == 80_000_000
    assert resident(served) - before < 30_000_000


def test_a_client_that_stops_reading_is_let_go(strict, upstream):
    gone = threading.Event()

    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.send(OK + b"transfer-encoding: chunked\r\n\r\n")
        try:
            while True:
                await asked.chunk(b"x" * 100_000)
        finally:
            gone.set()

    upstream.handler = handler
    counting = Counting(strict)
    with Client(strict.port, receive_buffer=4_096) as client:
        client.ask()
        client.head()
        assert gone.wait(10), "a client that reads nothing is served for ever"
    assert counting.grown() == {"client_gone": 1, "dropped.client_disconnected": 1}


def test_a_client_that_reads_slowly_but_steadily_is_not(strict, upstream):
    upstream.handler = lambda asked: asked.answer(b"x" * 8_000_000)
    with Client(strict.port, receive_buffer=65_536) as client:
        client.ask(b"")
        client.head()
        have = 0
        begin = time.monotonic()
        while time.monotonic() - begin < 2:
            have += len(client.exactly(100_000))
            time.sleep(0.05)
        assert len(client.exactly(8_000_000 - have)) + have == 8_000_000


def test_connections_beyond_the_limit_are_told_so_and_counted(strict, upstream):
    counting = Counting(strict)
    clients = []
    for _ in range(6):
        client = Client(strict.port)
        client.ask(b"in")
        assert client.answer()[1] == b"in"
        clients.append(client)
    with Client(strict.port) as one_more:
        one_more.ask()
        head, body = one_more.answer()
        assert (head.status, head.header(b"connection")) == (503, b"close")
        assert b"gateway.max_connections" in body
        assert one_more.rest() == b""
    for client in clients:
        client.ask(b"still in")
        assert client.answer()[1] == b"still in"
        client.sock.close()
    assert counting.grown() == {"status.5": 1, "status.2": 12, "spooled": 12}
    until(lambda: ask(strict.port)[0].status == 200)


UPGRADES = {
    "websocket": b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\nsec-websocket-version: 13\r\n",
    "h2c": b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQ\r\n",
}


@pytest.mark.parametrize(("kind", "body"), itertools.product(UPGRADES, [b"", b"hello"]))
def test_an_upgrade_is_declined_and_the_request_is_served(served, upstream, kind, body):
    """As HTTP says: whoever does not know the other protocol answers in this one. Java's client asks for h2c."""
    with Client(served.port) as client:
        for _ in range(2):
            client.send(HEAD + UPGRADES[kind] + b"content-length: %d\r\n\r\n" % len(body) + body)
            head, found = client.answer()
            assert (head.status, found) == (200, body)
            assert upstream.asked[-1].header(b"upgrade") is None
            if head.header(b"connection") == b"close":
                break
