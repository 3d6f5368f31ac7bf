"""One request through a real gateway: what either side may do, what the other one sees, and what is counted."""

import socket
import threading

import pytest

from tests.gateway_counts import Counting
from tests.gateways import CHAT, Asked, Broken, Client, ask, gateway, when

OK = b"HTTP/1.1 200 OK\r\n"
HEAD = b"POST " + CHAT.encode() + b" HTTP/1.1\r\nhost: g\r\n"


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
