"""What production may do on a connection, and what must never come of it for the next request."""

import asyncio
import socket
import time
from contextlib import asynccontextmanager

import pytest

from harness.config.live import GatewaySection
from harness.gateway.connection import Connection, UpstreamFailed
from harness.gateway.upstream import Upstream, passed_on
from tests.gateways import Asked

POST = {"method": "POST", "target": b"/v1/chat/completions", "headers": []}


@asynccontextmanager
async def reaching(port: int, **settings):
    found = Upstream(GatewaySection(upstream=f"http://127.0.0.1:{port}", **settings))
    try:
        yield found
    finally:
        await found.close()


async def body_of(connection: Connection) -> bytes:
    pieces = []
    while piece := await connection.chunk():
        pieces.append(piece)
    return b"".join(pieces)


async def asked(reach: Upstream, body: bytes = b"{}", method: str = "POST", **more) -> tuple[int, bytes]:
    connection = await reach.ask(method, b"/v1/chat/completions", more.pop("headers", []), body, **more)
    try:
        return connection.status, await body_of(connection)
    finally:
        reach.release(connection)


def says(*pieces: bytes, close: bool = False, reset: bool = False):
    """A handler that reads the request and answers with these bytes."""

    async def handler(asked: Asked) -> None:
        await asked.body()
        for piece in pieces:
            await asked.send(piece)
        if close:
            asked.close()
        if reset:
            await asyncio.sleep(0.05)
            asked.reset()

    return handler


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (OK + b"content-length: 2\r\n\r\nhi", 200, b"hi"),
        (OK + b"content-length: 0\r\n\r\n", 200, b""),
        (OK + b"transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 200, b"hi"),
        (OK + b"Transfer-Encoding: Chunked\r\n\r\n2;ext=1\r\nhi\r\n0\r\nx-trailer: 1\r\n\r\n", 200, b"hi"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 204 No Content\r\ncontent-type: text/plain\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\n\r\n", 304, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"content-length: 2\r\n\r\nhi", 200, b"hi"),
        (b"HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n" * 3 + OK + b"content-length: 2\r\n\r\nhi", 200, b"hi"),
        (b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 529 Overloaded\r\ncontent-length: 2\r\n\r\nno", 529, b"no"),
        (b"HTTP/1.1 429\r\ncontent-length: 2\r\n\r\nno", 429, b"no"),
    ],
)
async def test_answers_of_every_kind_and_the_connection_is_used_again(upstream, answer, status, body):
    upstream.handler = says(answer)
    before = upstream.connections
    async with reaching(upstream.port) as reach:
        for _ in range(3):
            assert await asked(reach) == (status, body)
    assert upstream.connections == before + 1


@pytest.mark.parametrize("cut", range(1, 70, 3))
async def test_an_answer_may_arrive_in_any_pieces(upstream, cut):
    whole = b"HTTP/1.1 103 Early\r\n\r\n" + OK + b"transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"

    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.send(whole[:cut])
        await asyncio.sleep(0.002)
        await asked.send(whole[cut:])

    upstream.handler = handler
    async with reaching(upstream.port) as reach:
        assert await asked(reach) == (200, b"hi")


async def test_interim_headers_are_not_taken_for_the_answers(upstream):
    upstream.handler = says(
        b"HTTP/1.1 103 Early\r\nx-early: 1\r\n\r\n" + OK + b"x-final: 1\r\ncontent-length: 0\r\n\r\n"
    )
    async with reaching(upstream.port) as reach:
        connection = await reach.ask(**POST, body=b"")
        assert [name for name, _ in connection.headers] == [b"x-final", b"content-length"]
        reach.release(connection)


async def test_a_body_that_ends_with_the_connection(upstream):
    upstream.handler = says(OK + b"\r\n", b"one", b"two", close=True)
    async with reaching(upstream.port) as reach:
        assert await asked(reach) == (200, b"onetwo")
        assert await asked(reach) == (200, b"onetwo")


async def test_the_answer_to_head_has_a_length_and_no_body(upstream):
    upstream.handler = says(OK + b"content-length: 100\r\n\r\n")
    async with reaching(upstream.port) as reach:
        connection = await reach.ask("HEAD", b"/v1/models", [], b"")
        assert await body_of(connection) == b""
        assert dict(connection.headers)[b"content-length"] == b"100"
        reach.release(connection)
        assert (await reach.ask("HEAD", b"/v1/models", [], b"")).status == 200


async def test_many_and_huge_headers(upstream):
    lines = b"".join(b"x-%d: %b\r\n" % (number, b"v" * 1_000) for number in range(300))
    upstream.handler = says(
        OK + lines + b"set-cookie: a\r\nset-cookie: b\r\nx-raw: \xff\xfe\r\ncontent-length: 0\r\n\r\n"
    )
    async with reaching(upstream.port) as reach:
        connection = await reach.ask(**POST, body=b"")
        assert len(connection.headers) == 304
        assert (b"x-raw", b"\xff\xfe") in connection.headers
        reach.release(connection)


# What must not reach the next request


@pytest.mark.parametrize(
    "stray",
    [
        b"HTTP/1.1 403 Forbidden\r\nx-stray: 1\r\ncontent-length: 5\r\n\r\nstray",
        b"HTTP/1.1 403 Forb",
        b"stray",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
@pytest.mark.parametrize("late", [False, True])
async def test_an_answer_nobody_asked_for_is_nobodys(upstream, stray, late):
    """In the same packet it would overwrite the head; later it would answer the next request."""
    first = OK + b"x-mine: 1\r\ncontent-length: 2\r\n\r\nhi"

    async def handler(asked: Asked) -> None:
        await asked.body()
        if late:
            await asked.send(first)
            await asyncio.sleep(0.02)
            await asked.send(stray)
        else:
            await asked.send(first + stray)

    upstream.handler = handler
    async with reaching(upstream.port) as reach:
        for _ in range(3):
            connection = await reach.ask(**POST, body=b"{}")
            await asyncio.sleep(0)
            assert connection.status == 200
            assert connection.headers[0] == (b"x-mine", b"1")
            assert await body_of(connection) == b"hi"
            reach.release(connection)
            await asyncio.sleep(0.05 if late else 0)


async def test_a_connection_that_owes_a_part_of_its_request_is_not_used_again(upstream):
    """Production answers early; the next request on this connection would be taken for the rest of the body."""

    async def handler(asked: Asked) -> None:
        if asked.header(b"transfer-encoding"):
            await asked.answer(b"early", status=b"401 Unauthorized")
        else:
            await asked.answer(await asked.body())

    upstream.handler = handler
    never = asyncio.Event()

    async def endless():
        yield b"first"
        await never.wait()
        yield b"more"

    async with reaching(upstream.port) as reach:
        assert await asyncio.wait_for(asked(reach, endless()), 5) == (401, b"early")
        assert await asked(reach, b"own") == (200, b"own")


async def test_production_that_closed_an_idle_connection_unnoticed_costs_no_request(upstream):
    """Its end waits to be read while the loop is busy with the next request."""

    async def handler(asked: Asked) -> None:
        await asked.answer(await asked.body())
        asked.close()

    upstream.handler = handler
    async with reaching(upstream.port) as reach:
        for _ in range(5):
            assert await asked(reach, b"x") == (200, b"x")
            time.sleep(0.05)  # noqa: ASYNC251  the loop is busy, which is the point


async def test_a_request_that_may_be_repeated_is_when_its_connection_was_stale(upstream):
    asks = []

    async def handler(asked: Asked) -> None:
        asks.append(asked.method)
        if len(asks) in {2, 5}:
            asked.reset()
        else:
            await asked.answer(b"ok")

    upstream.handler = handler
    async with reaching(upstream.port) as reach:
        assert await asked(reach, b"", "GET") == (200, b"ok")
        assert await asked(reach, b"", "GET") == (200, b"ok")
        assert asks == [b"GET"] * 3
        assert await asked(reach, b"") == (200, b"ok")
        with pytest.raises(UpstreamFailed) as caught:
            # Nobody knows whether production has begun to answer it, at a price.
            await asked(reach, b"")
        assert caught.value.kind == "cut"


@pytest.mark.parametrize("size", [262_143, 262_144, 300_000, 500_000, 1_000_000])
async def test_a_connection_whose_answer_was_whole_at_once_reads_on(upstream, size):
    """Reading is paused while a lot waits; a connection that goes back like that would never hear anything again."""

    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.answer(bytes(size))

    upstream.handler = handler
    async with reaching(upstream.port) as reach:
        for _ in range(4):
            connection = await asyncio.wait_for(reach.ask(**POST, body=b"{}"), 5)
            time.sleep(0.02)  # noqa: ASYNC251  so that all of it is there when the loop looks
            await asyncio.sleep(0)
            whole = connection.whole()
            body = whole if whole is not None else await asyncio.wait_for(body_of(connection), 5)
            assert len(body) == size
            reach.release(connection)


# Answers that break off


@pytest.mark.parametrize(
    "begin",
    [
        OK + b"content-length: 100\r\n\r\npart",
        OK + b"transfer-encoding: chunked\r\n\r\n4\r\npart\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\nff\r\npart",
    ],
)
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_an_answer_that_breaks_off_is_an_error_after_what_came(upstream, begin, how):
    upstream.handler = says(begin, **{how: True})
    async with reaching(upstream.port) as reach:
        connection = await reach.ask(**POST, body=b"{}")
        assert await connection.chunk() == b"part"
        with pytest.raises(UpstreamFailed, match="in the middle of its answer") as caught:
            await connection.chunk()
        assert caught.value.kind == "cut"
        reach.release(connection)


async def test_a_reset_is_no_end_of_a_body_without_a_length(upstream):
    upstream.handler = says(OK + b"\r\n", b"part", reset=True)
    async with reaching(upstream.port) as reach:
        connection = await reach.ask(**POST, body=b"{}")
        assert await connection.chunk() == b"part"
        with pytest.raises(UpstreamFailed):
            await connection.chunk()
        reach.release(connection)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", "cut"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "cut"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "cut"),
        (b"no HTTP at all\r\n\r\n", "protocol"),
        (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "protocol"),
        (OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nhi", "protocol"),
        (OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "protocol"),
        (OK + b"content-length: -2\r\n\r\nhi", "protocol"),
        (OK + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "protocol"),
        (OK + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n", "protocol"),
        (OK + b"transfer-encoding: chunked\r\n\r\nzz\r\nhi\r\n0\r\n\r\n", "protocol"),
    ],
)
async def test_what_is_no_answer(upstream, answer, kind):
    upstream.handler = says(answer, close=True)
    async with reaching(upstream.port) as reach:
        with pytest.raises(UpstreamFailed) as caught:
            await asked(reach)
        assert caught.value.kind == kind


# Time


async def test_silence_ends_in_a_timeout_before_and_within_an_answer(upstream):
    silent = asyncio.Event()

    async def handler(asked: Asked) -> None:
        body = await asked.body()
        if body == b"within":
            await asked.send(OK + b"transfer-encoding: chunked\r\n\r\n4\r\npart\r\n")
        await asked.gone()
        silent.set()

    upstream.handler = handler
    async with reaching(upstream.port, read_timeout_s=0.2) as reach:
        with pytest.raises(UpstreamFailed) as caught:
            await asked(reach, b"before")
        assert caught.value.kind == "timeout"
        connection = await reach.ask(**POST, body=b"within")
        assert await connection.chunk() == b"part"
        with pytest.raises(UpstreamFailed, match="silent") as caught:
            await connection.chunk()
        assert caught.value.kind == "timeout"
        reach.release(connection)


async def test_steady_drops_are_no_silence(upstream):
    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.send(OK + b"transfer-encoding: chunked\r\n\r\n")
        for _ in range(10):
            await asked.chunk(b".")
            await asyncio.sleep(0.06)
        await asked.chunk(b"")

    upstream.handler = handler
    async with reaching(upstream.port, read_timeout_s=0.3) as reach:
        assert await asked(reach) == (200, b"." * 10)


async def test_a_client_that_takes_its_time_is_not_productions_silence(upstream):
    """Reading from production is paused meanwhile, so production cannot say anything."""

    async def handler(asked: Asked) -> None:
        await asked.body()
        await asked.answer(bytes(30_000_000))

    upstream.handler = handler
    async with reaching(upstream.port, read_timeout_s=0.2) as reach:
        connection = await reach.ask(**POST, body=b"{}")
        size = len(await connection.chunk())
        await asyncio.sleep(0.8)
        while piece := await connection.chunk():
            size += len(piece)
        assert size == 30_000_000
        reach.release(connection)


async def test_a_client_that_sends_slowly_is_not_productions_silence_either(upstream):
    async def slow():
        for _ in range(4):
            await asyncio.sleep(0.15)
            yield b"x"

    async with reaching(upstream.port, read_timeout_s=0.2) as reach:
        assert await asked(reach, slow()) == (200, b"xxxx")


async def test_no_connection(upstream):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    async with reaching(port) as reach:
        with pytest.raises(UpstreamFailed, match=r"no connection to 127\.0\.0\.1") as caught:
            await asked(reach)
        assert (caught.value.kind, caught.value.unsent) == ("connect", True)


async def test_a_connection_that_takes_too_long():
    """A full queue of a listener that accepts nothing: the kernel lets further ones wait."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as sock:
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(sock.getsockname())
            waiting.append(one)
        async with reaching(sock.getsockname()[1], connect_timeout_s=0.2) as reach:
            with pytest.raises(UpstreamFailed, match=r"within 0\.2 s") as caught:
                await asked(reach)
            assert caught.value.kind == "connect"
        for one in waiting:
            one.close()


async def test_closing_ends_whoever_waits(upstream):
    arrived, loop = asyncio.Event(), asyncio.get_running_loop()

    async def handler(asked: Asked) -> None:
        loop.call_soon_threadsafe(arrived.set)
        await asked.gone()

    upstream.handler = handler
    async with reaching(upstream.port) as reach, asyncio.TaskGroup() as group:
        task = group.create_task(asked_or_error(reach))
        await asyncio.wait_for(arrived.wait(), 5)
        await reach.close()
        assert isinstance(await task, UpstreamFailed)


async def asked_or_error(reach: Upstream):
    try:
        return await asked(reach)
    except UpstreamFailed as error:
        return error


# What is sent


async def sent(
    upstream, reach: Upstream, headers, body: bytes = b"{}", method: str = "POST"
) -> list[tuple[bytes, bytes]]:
    await asked(reach, body, method, headers=headers)
    return upstream.asked[-1].headers


async def test_headers_about_the_connection_stay_on_it(upstream):
    async with reaching(upstream.port) as reach:
        found = await sent(
            upstream, reach,
            [
                (b"host", b"gateway"), (b"connection", b"keep-alive, X-One"), (b"connection", b"x-two"),
                (b"x-one", b"1"), (b"x-two", b"2"), (b"x-three", b"3"), (b"keep-alive", b"5"), (b"te", b"trailers"),
                (b"transfer-encoding", b"chunked"), (b"upgrade", b"h2c"), (b"expect", b"100-continue"),
                (b"proxy-authorization", b"secret"), (b"content-length", b"999"), (b"x-raw", b"\xff"),
            ],
        )  # fmt: skip
    assert found == [
        (b"host", b"127.0.0.1:%d" % upstream.port), (b"x-three", b"3"), (b"x-raw", b"\xff"), (b"content-length", b"2"),
    ]  # fmt: skip


def test_answers_lose_only_what_is_about_the_connection():
    headers = [
        (b"Connection", b"X-Hop, close"), (b"CONNECTION", b"X-Other"), (b"X-Hop", b"1"), (b"x-other", b"2"),
        (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b"), (b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"2"),
        (b"Trailer", b"x"), (b"Date", b"now"),
    ]  # fmt: skip
    assert passed_on(headers) == [
        (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b"), (b"Content-Length", b"2"), (b"Date", b"now"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [("GET", b"", None), ("POST", b"", b"0"), ("DELETE", b"", None), ("GET", b"x", b"1"), ("PUT", b"", b"0")],
)
async def test_lengths_are_sent_where_they_belong(upstream, method, body, length):
    async with reaching(upstream.port) as reach:
        assert dict(await sent(upstream, reach, [], body, method)).get(b"content-length") == length


async def test_the_path_of_the_address_stands_in_front(upstream):
    found = Upstream(GatewaySection(upstream=f"http://127.0.0.1:{upstream.port}/openai/"))
    await asked(found)
    assert upstream.asked[-1].target == b"/openai/v1/chat/completions"
    await found.close()


async def test_idle_connections_are_let_go(upstream, monkeypatch):
    monkeypatch.setattr("harness.gateway.upstream._IDLE_S", 0.05)
    monkeypatch.setattr("harness.gateway.upstream._SWEEP_S", 0.02)
    async with reaching(upstream.port) as reach:
        await asked(reach)
        assert len(reach._idle) == 1
        await asyncio.sleep(0.2)
        assert len(reach._idle) == 0
