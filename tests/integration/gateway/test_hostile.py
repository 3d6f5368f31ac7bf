"""Clients that mean harm: they take little, smuggle nothing, and nobody else notices them."""

import gzip
import time
from collections import deque
from contextlib import suppress

import pytest

from tests.gateways import CHAT, Broken, Client, ask, gateway, until

LINE = b"POST " + CHAT.encode() + b" HTTP/1.1\r\n"
HEAD = LINE + b"host: g\r\n"


@pytest.fixture(scope="module")
def strict(upstream, tmp_path_factory):
    limits = {"client_timeout_s": 0.5, "max_connections": 50}
    with gateway(tmp_path_factory.mktemp("strict"), upstream.port, gateway=limits) as running:
        yield running


def memory(served) -> int:
    [child] = served.children
    with open(f"/proc/{child}/statm") as file:  # noqa: PTH123  the kernel's
        return int(file.read().split()[1]) * 4096


def ends_within(client: Client, seconds: float, *, trickle: bytes = b"") -> bool:
    """Whether the gateway ends a connection whose client sends a byte now and then."""
    end = time.monotonic() + seconds
    client.sock.settimeout(0.05)
    while time.monotonic() < end:
        try:
            if trickle:
                client.send(trickle)
            if client.more() == b"":
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


# Time


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"PO",
        LINE,
        HEAD + b"x-a: ",
        HEAD + b"content-length: 10\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nab",
    ],
)
def test_a_client_that_says_nothing_more_is_let_go(strict, begin):
    with Client(strict.port) as client:
        client.send(begin)
        assert ends_within(client, 5)


def test_headers_that_trickle_are_not_waited_for(strict):
    with Client(strict.port) as client:
        client.send(HEAD + b"x-slow: ")
        assert ends_within(client, 5, trickle=b"a")


def test_a_body_that_trickles_is_taken_and_holds_up_nobody(strict, upstream):
    """A slow line is no crime."""
    with Client(strict.port) as client:
        client.send(HEAD + b"content-length: 20\r\n\r\n")
        for _ in range(20):
            client.send(b"x")
            time.sleep(0.06)
            assert ask(strict.port, b"quick")[1] == b"quick"
        assert client.answer()[1] == b"x" * 20


def test_many_slow_clients_cannot_keep_others_out_for_long(strict, upstream):
    slow = [Client(strict.port) for _ in range(60)]
    for client in slow:
        client.send(b"POST")
    until(lambda: ask(strict.port)[0].status == 200, 5)
    for client in slow:
        client.sock.close()


# Size


def test_endless_headers_end_with_431_or_a_reset_and_cost_no_memory(served, upstream):
    before, asked = memory(served), len(upstream.asked)
    with Client(served.port) as client:
        client.send(HEAD)
        lines = (b"x-%d: %b\r\n" % (number, b"v" * 60_000) for number in range(1_100))
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            deque(map(client.send, lines), maxlen=0)
    assert memory(served) - before < 10_000_000
    with Client(served.port) as client:
        client.send(HEAD + b"x: " + b"v" * 66_000)
        assert client.head().status == 431
    assert len(upstream.asked) == asked


def test_as_many_headers_as_fit_are_passed_on(served, upstream):
    lines = [b"x-%d: 1" % number for number in range(4_000)]
    assert ask(served.port, b"{}", *lines)[0].status == 200
    assert sum(name.startswith(b"x-") for name, _ in upstream.asked[-1].headers) == 4_000


def test_a_bomb_is_passed_on_unopened(served, upstream):
    bomb = gzip.compress(bytes(200_000_000), 9)
    upstream.handler = lambda asked: asked.answer(bomb, b"content-encoding: gzip")
    before = memory(served)
    head, body = ask(served.port, b"", b"content-encoding: gzip")
    assert (head.header(b"content-encoding"), body) == (b"gzip", bomb)
    [record] = served.records()[-1:]
    assert record.response == bomb
    assert memory(served) - before < 20_000_000


# Content


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe\x00", b"null", b"[" * 100_000, b'{"a": NaN}', b'{"\\ud800": 1}']
)
def test_rubbish_on_a_valid_route_is_productions_to_judge(served, upstream, body):
    assert ask(served.port, body)[1] == body
    [record] = served.records()[-1:]
    assert record.request == body


def test_credentials_and_queries_never_reach_the_spool(served, upstream):
    secrets = [b"sk-secret-1", b"sk-secret-2", b"sk-secret-3", b"sk-secret-4", b"sk-secret-5"]
    ask(
        served.port, b"{}", b"authorization: Bearer " + secrets[0], b"x-api-key: " + secrets[1],
        b"cookie: " + secrets[2], b"proxy-authorization: " + secrets[3],
        target=CHAT + "?api-key=" + secrets[4].decode(),
    )  # fmt: skip
    served.settled()
    spooled = b"".join(path.read_bytes() for path in served.spool.glob("*.spool"))
    assert b"chat/completions" in spooled
    assert [secret for secret in secrets if secret in spooled] == []
    assert [secret for secret in secrets if secret in served.log.read_bytes()] == []


# Smuggling


INNER = b"GET /smuggled HTTP/1.1\r\nhost: g\r\n\r\n"
SMUGGLING = {
    "length and chunked": HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + INNER,
    "chunked and length": HEAD + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n" + INNER,
    "two lengths": HEAD + b"content-length: 0\r\ncontent-length: %d\r\n\r\n" % len(INNER) + INNER,
    "a list of lengths": HEAD + b"content-length: 0, %d\r\n\r\n" % len(INNER) + INNER,
    "a signed length": HEAD + b"content-length: +0\r\n\r\n" + INNER,
    "a negative length": HEAD + b"content-length: -1\r\n\r\n" + INNER,
    "a hexadecimal length": HEAD + b"content-length: 0x0\r\n\r\n" + INNER,
    "a length beyond numbers": HEAD + b"content-length: 99999999999999999999\r\n\r\n" + INNER,
    "an unknown coding": HEAD + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + INNER,
    "chunked not last": HEAD + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + INNER,
    "two codings": HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n" + INNER,
    "chunked twice": HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + INNER,
    "a space before the colon": HEAD + b"transfer-encoding : chunked\r\ncontent-length: 0\r\n\r\n" + INNER,
    "a folded header": HEAD + b"x: a\r\n transfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n" + INNER,
    "a bare line feed": HEAD + b"x: a\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n" + INNER,
    "a bare carriage return": HEAD + b"x: a\rtransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n" + INNER,
    "a zero byte": HEAD + b"x: a\x00b\r\ncontent-length: 0\r\n\r\n" + INNER,
    "a name with a space": HEAD + b"x y: a\r\ncontent-length: 0\r\n\r\n" + INNER,
    "no name": HEAD + b": a\r\ncontent-length: 0\r\n\r\n" + INNER,
    "a chunk longer than it says": HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n" + INNER,
    "a chunk of another base": HEAD + b"transfer-encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n" + INNER,
    "a chunk beyond numbers": HEAD + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\na\r\n0\r\n\r\n" + INNER,
    "a line feed in a chunk's extension": HEAD + b"transfer-encoding: chunked\r\n\r\n0;a\nb\r\n\r\n" + INNER,
    "a bare line feed after a chunk": HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n" + INNER,
}  # fmt: skip


@pytest.mark.parametrize("kind", SMUGGLING)
def test_what_two_parsers_could_read_differently_is_refused(served, upstream, kind):
    with Client(served.port) as client:
        client.send(SMUGGLING[kind])
        status = client.head().status
        client.rest()
    assert status == 400 or kind in {"chunked twice"}
    assert not any(b"smuggled" in asked.target for asked in upstream.asked)
    assert ask(served.port, b"own")[1] == b"own"


def test_chunked_from_an_old_client_is_understood_or_refused(served, upstream):
    with Client(served.port) as client:
        client.send(LINE.replace(b"1.1", b"1.0") + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n" + INNER)
        client.head()
        client.rest()
    assert not any(b"smuggled" in asked.target for asked in upstream.asked)


@pytest.mark.parametrize("cut", range(1, len(HEAD) + 40, 7))
def test_production_sees_one_framing_however_a_request_is_cut(served, upstream, cut):
    whole = HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    with Client(served.port) as client:
        client.send(whole[:cut])
        time.sleep(0.002)
        client.send(whole[cut:])
        assert client.answer()[1] == b"abc"
    framing = [name for name, _ in upstream.asked[-1].headers if name in {b"content-length", b"transfer-encoding"}]
    assert len(framing) == 1


@pytest.mark.parametrize("name", [b"content-length", b"host", b"transfer-encoding", b"authorization"])
def test_a_header_named_by_connection_cannot_take_the_framing_away(served, upstream, name):
    head, body = ask(served.port, b"hello", b"connection: " + name)
    assert (head.status, body) == (200, b"hello")
    assert upstream.asked[-1].header(b"host") == b"127.0.0.1:%d" % upstream.port


# Targets


@pytest.fixture(scope="module")
def prefixed(upstream, tmp_path_factory):
    address = {"upstream": f"http://127.0.0.1:{upstream.port}/tenant/a"}
    with gateway(tmp_path_factory.mktemp("prefixed"), upstream.port, gateway=address) as running:
        yield running


@pytest.mark.parametrize(
    "path",
    ["/../b", "/x/../../b", "/%2e%2e/b", "/.%2E/b", "/%2e./b", "/..%2fb", "/x%2f..%2f..%2fb", "/..\\b", "/..%5cb",
     "/..",     "/x/..", "/..;/b", "*", "/..;a=b/c", "/%2e%2e%3b/b"],
)  # fmt: skip
def test_a_path_cannot_leave_the_address_of_production(prefixed, upstream, path):
    before = len(upstream.asked)
    head, _ = ask(prefixed.port, target=path)
    assert (head.status, head.header(b"x-shadow-gateway-error")) == (400, b"gateway_refused")
    assert len(upstream.asked) == before


@pytest.mark.parametrize("path", ["/v1/..hidden/x", "/v1/a..b", "/v1/...", "/v1/x?next=../y", "/v1/%20"])
def test_paths_that_stay_are_passed_on_as_they_are(prefixed, upstream, path):
    assert ask(prefixed.port, target=path)[0].status == 200
    assert upstream.asked[-1].target == b"/tenant/a" + path.encode()


@pytest.mark.parametrize(
    "target", [f"http://evil.example{CHAT}", f"http://user:pass@evil.example:9{CHAT}", f"HTTP://EVIL{CHAT}"]
)
def test_an_absolute_target_goes_to_production_all_the_same(served, upstream, target):
    assert ask(served.port, b"hello", target=target)[1] == b"hello"
    assert upstream.asked[-1].target == CHAT.encode()
    assert upstream.asked[-1].header(b"host") == b"127.0.0.1:%d" % upstream.port


def test_two_slashes_name_no_host(served, upstream):
    head, _ = ask(served.port, target="//evil.example/v1/chat/completions")
    assert head.status in {200, 400}
    assert upstream.asked[-1].header(b"host") == b"127.0.0.1:%d" % upstream.port
    assert not upstream.asked[-1].target.startswith(b"http")


@pytest.mark.parametrize(
    "line",
    [b"CONNECT evil.example:443 HTTP/1.1", b"GET * HTTP/1.1", b"FROB / HTTP/1.1", b"GET", b"GET / HTTP/9.9",
     b"PRI * HTTP/2.0", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET /\xff HTTP/1.1",
     b"GET / x HTTP/1.1", b"get / HTTP/1.1"],
)  # fmt: skip
def test_what_is_no_request_is_refused_and_others_are_served(served, upstream, line):
    before = len(upstream.asked)
    with Client(served.port, timeout_s=5) as client:
        client.send(line + b"\r\nhost: g\r\n\r\n")
        with suppress(Broken, ConnectionResetError):
            assert client.head().status == 400
    assert len(upstream.asked) == before
    assert ask(served.port, b"own")[1] == b"own"


def test_other_methods_are_passed_on(served, upstream):
    for method in (b"OPTIONS", b"PATCH", b"DELETE", b"TRACE", b"PURGE"):
        assert ask(served.port, b"x", method=method, target="/v1/files/1")[1] == b"x"
        assert upstream.asked[-1].method == method
