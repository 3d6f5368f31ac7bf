"""One request through a real gateway: what either side may do, what the other one sees, and what is counted."""

import itertools
import socket
import threading
import time

import pytest

from tests.gateways import CHAT, Asked, Broken, Client, ask, gateway, until, when

OK = b"HTTP/1.1 200 OK\r\n"
HEAD = b"POST " + CHAT.encode() + b" HTTP/1.1\r\nhost: g\r\n"


@pytest.fixture(scope="module")
def strict(upstream, tmp_path_factory):
    """A gateway whose limits are small enough to be met."""
    limits = {"read_timeout_s": 0.5, "client_timeout_s": 0.6, "max_request_bytes": 2_000_000, "max_connections": 6}
    mirror = {"rate": 1, "max_request_bytes": 1_000_000, "max_response_bytes": 1_000_000}
    with gateway(tmp_path_factory.mktemp("strict"), upstream.port, gateway=limits, mirror=mirror) as running:
        yield running


class Counting:
    """How much the counts grow."""

    def __init__(self, served) -> None:
        self.served = served
        self.before = served.settled()

    def grown(self) -> dict[str, int]:
        after = self.served.settled()
        ignored = ("added_us", "spooled_bytes", "started", "answered", "requests", "sampled")
        grown = {name: after[name] - self.before[name] for name in after if not name.startswith(ignored)}
        return {name: number for name, number in grown.items() if number}


# Kinds of answers


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
@pytest.mark.parametrize("extra", [b"", b"content-length: 100\r\n", b"etag: x\r\n"])
def test_answers_without_a_body_leave_the_connection_in_order(served, upstream, status, extra):
    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.send(b"HTTP/1.1 " + status + b"\r\n" + (b"" if status[:3] == b"204" else extra) + b"\r\n")

    upstream.handler = handler
    counting = Counting(served)
    with Client(served.port) as client:
        for _ in range(3):
            client.ask()
            head, _ = client.answer()
            assert head.status == int(status[:3])
            assert head.header(b"transfer-encoding") is None
    assert counting.grown() == {f"status.{status[:1].decode()}": 3, "spooled": 3}


def test_head_gets_the_headers_of_get_and_no_body(served, upstream):
    async def handler(asked: Asked) -> None:
        await asked.send(OK + b"content-length: 1234\r\ncontent-type: x/y\r\n\r\n")

    upstream.handler = handler
    with Client(served.port) as client:
        for _ in range(3):
            client.send(b"HEAD /v1/models HTTP/1.1\r\nhost: g\r\n\r\n")
            head = client.head()
            assert (head.status, head.header(b"content-length")) == (200, b"1234")


@pytest.mark.parametrize("status", [600, 999])
def test_a_status_nobody_knows_is_passed_on(served, upstream, status):
    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.answer(b"odd", status=b"%d Odd" % status)

    upstream.handler = handler
    counting = Counting(served)
    head, body = ask(served.port)
    assert (head.status, body) == (status, b"odd")
    assert counting.grown() == {"status.5": 1, "spooled": 1}


def test_interim_answers_do_not_disturb_the_final_one(served, upstream):
    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n")
        await asked.answer(b"final", b"x-final: 1")

    upstream.handler = handler
    head, body = ask(served.port)
    assert (head.status, body, head.header(b"x-final"), head.header(b"link")) == (200, b"final", b"1", None)


def test_trailers_are_dropped_and_the_body_is_whole(served, upstream):
    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.send(OK + b"transfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n")

    upstream.handler = handler
    with Client(served.port) as client:
        for _ in range(2):
            client.ask()
            head, body = client.answer()
            assert body == b"hi"
            assert head.header(b"trailer") is None


def test_headers_named_by_connection_stay_between_production_and_us(served, upstream):
    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.answer(b"hi", b"connection: x-hop", b"connection: X-Hop-2", b"x-hop: 1", b"x-hop-2: 2", b"x-end: 3")

    upstream.handler = handler
    head, _ = ask(served.port)
    assert {name for name, _ in head.headers} == {b"content-length", b"x-end"}


def test_huge_and_strange_headers_of_production(served, upstream):
    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.answer(b"hi", b"x-huge: " + b"v" * 300_000, b"x-raw: \xc3\xa9\xff", b"x-empty:", b"x-tab: a\tb")

    upstream.handler = handler
    head, _ = ask(served.port)
    assert head.header(b"x-huge") == b"v" * 300_000
    assert head.header(b"x-raw") == b"\xc3\xa9\xff"
    assert head.header(b"x-empty") == b""
    assert head.header(b"x-tab") == b"a\tb"


# Production that fails


@pytest.mark.parametrize(
    ("begin", "how"),
    [
        (OK + b"content-length: 100\r\n\r\npart", "close"),
        (OK + b"content-length: 100\r\n\r\npart", "reset"),
        (OK + b"transfer-encoding: chunked\r\n\r\n4\r\npart\r\n", "close"),
        (OK + b"transfer-encoding: chunked\r\n\r\n4\r\npart\r\n", "reset"),
        (OK + b"\r\npart", "reset"),
    ],
)
def test_a_broken_answer_is_broken_for_the_client_too(served, upstream, begin, how):
    seen = threading.Event()

    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.send(begin)
        await when(seen)
        getattr(asked, how)()

    upstream.handler = handler
    counting = Counting(served)
    with Client(served.port) as client:
        client.ask()
        head = client.head()
        part = client.chunk() if head.header(b"transfer-encoding") else client.exactly(4)
        assert (head.status, part) == (200, b"part")
        seen.set()
        with pytest.raises((Broken, ConnectionResetError)):
            client.chunk() if head.header(b"transfer-encoding") else client.exactly(96)
    assert counting.grown() == {"upstream_unreachable": 1, "dropped.production_cut": 1}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", b"upstream_cut"),
        (b"rubbish\r\n\r\n", b"upstream_protocol"),
        (OK + b"content-length: x\r\n\r\n", b"upstream_protocol"),
    ],
)
def test_no_answer_is_a_502_in_the_shape_clients_understand(served, upstream, answer, code):
    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.send(answer)
        asked.close()

    upstream.handler = handler
    counting = Counting(served)
    with Client(served.port) as client:
        client.ask()
        head, body = client.answer()
        assert (head.status, head.header(b"x-shadow-gateway-error")) == (502, code)
        assert body.startswith(b'{"type": "error", "error": {"message": "shadow gateway: production')
        upstream.handler = lambda asked: asked.answer(b"fine again")
        client.ask(b"")
        assert client.answer()[1] == b"fine again"
    grown = counting.grown()
    assert grown == {"upstream_unreachable": 1, "status.5": 1, "status.2": 1, "spooled": 2}
    failed, _ = served.records()[-2:]
    assert failed.status == 0
    assert failed.error is not None


def test_production_that_is_not_there_and_comes_back(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with gateway(tmp_path, port) as served:
        head, _ = ask(served.port)
        assert (head.status, head.header(b"x-shadow-gateway-error")) == (502, b"upstream_connect")
        with socket.create_server(("127.0.0.1", port)) as again:
            with Client(served.port) as client:
                client.ask()
                taken, _ = again.accept()
                taken.recv(10_000)
                taken.sendall(OK + b"content-length: 2\r\n\r\nhi")
                assert client.answer()[1] == b"hi"
            taken.close()


def test_silence_is_a_504_and_within_an_answer_a_break(strict, upstream):
    async def handler(asked: Asked) -> None:
        if await asked.body() == b"within":
            await asked.send(OK + b"transfer-encoding: chunked\r\n\r\n4\r\npart\r\n")
        await asked.gone()

    upstream.handler = handler
    counting = Counting(strict)
    head, _ = ask(strict.port, b"before")
    assert (head.status, head.header(b"x-shadow-gateway-error")) == (504, b"upstream_timeout")
    with Client(strict.port) as client:
        client.ask(b"within")
        client.head()
        assert client.chunk() == b"part"
        with pytest.raises(Broken):
            client.chunk()
    assert counting.grown() == {
        "upstream_timeout": 2, "status.5": 1, "spooled": 1, "dropped.production_cut": 1,
    }  # fmt: skip


# Requests that come in pieces, early answers, limits


def test_an_early_answer_reaches_a_client_that_is_still_sending(served, upstream):
    async def handler(asked: Asked) -> None:
        if asked.header(b"content-length") == b"5000000":
            await asked.answer(b"no", status=b"401 Unauthorized")
            await asked.gone()
        else:
            await asked.answer(await asked.body())

    upstream.handler = handler
    counting = Counting(served)
    with Client(served.port, timeout_s=5) as client:
        client.send(HEAD + b"content-length: 5000000\r\n\r\n" + b"x" * 100_000)
        head, body = client.answer()
        assert (head.status, body) == (401, b"no")
        client.send(b"x" * 4_900_000)
        # Nothing of that body is taken for the next request, here or at production.
        client.ask(b"mine")
        assert client.answer()[1] == b"mine"
    assert counting.grown() == {"status.4": 1, "status.2": 1, "dropped.production_failed": 1, "spooled": 1}


def test_chunked_requests_arrive_whole_and_their_trailers_are_no_headers(served, upstream):
    with Client(served.port) as client:
        for pieces in ([b"hello"], [b"he", b"llo"], [b"x" * 70_000] * 40):
            client.send(HEAD + b"transfer-encoding: chunked\r\ntrailer: x-admin\r\n\r\n")
            for piece in pieces:
                client.send(b"%x;ext=y\r\n%b\r\n" % (len(piece), piece))
            client.send(b"0\r\nX-Admin: 1\r\nauthorization: Bearer other\r\n\r\n")
            assert client.answer()[1] == b"".join(pieces)
            assert upstream.asked[-1].header(b"x-admin") is None
            assert upstream.asked[-1].header(b"authorization") is None


def test_expect_100_continue(served, upstream):
    with Client(served.port) as client:
        client.send(HEAD + b"content-length: 5\r\nexpect: 100-continue\r\n\r\n")
        assert client.head().status == 100
        client.send(b"hello")
        assert client.answer()[1] == b"hello"
    assert upstream.asked[-1].header(b"expect") is None


def test_a_refused_request_is_not_asked_for_its_body(strict, upstream):
    with Client(strict.port) as client:
        client.send(HEAD + b"content-length: 2000001\r\nexpect: 100-continue\r\n\r\n")
        head, body = client.answer()
    assert head.status == 413
    assert b"at most 2,000,000 bytes" in body


@pytest.mark.parametrize("size", [1_500_000, 2_000_000, 2_000_001, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_the_limit_of_a_request(strict, upstream, size, chunked):
    counting = Counting(strict)
    with Client(strict.port) as client:
        if chunked:
            client.send(HEAD + b"transfer-encoding: chunked\r\n\r\n")
            for begin in range(0, size, 100_000):
                piece = b"x" * min(100_000, size - begin)
                client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            client.send(b"0\r\n\r\n")
        else:
            client.ask(b"x" * size)
        head, body = client.answer()
        if size <= 2_000_000:
            assert (head.status, len(body)) == (200, size)
        else:
            assert head.status == 413
        client.ask(b"next")
        assert client.answer()[1] == b"next"
    grown = counting.grown()
    assert grown["status.4" if size > 2_000_000 else "status.2"] >= 1
    assert grown.get("dropped.request_too_large", 0) == (0 if size > 2_000_000 and not chunked else 1)


def test_large_answers_are_passed_on_and_not_mirrored(strict, upstream):
    upstream.handler = lambda asked: asked.answer(bytes(3_000_000))
    counting = Counting(strict)
    assert len(ask(strict.port, b"")[1]) == 3_000_000
    assert counting.grown() == {"status.2": 1, "dropped.response_too_large": 1}


# Clients


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


@pytest.mark.parametrize("moment", ["in the body", "before the answer", "at the first token"])
def test_a_client_that_leaves_ends_productions_work_at_once(served, upstream, moment):
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
    pages = int(open(f"/proc/{child}/statm").read().split()[1])  # noqa: PTH123, SIM115
    return pages * 4096


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
