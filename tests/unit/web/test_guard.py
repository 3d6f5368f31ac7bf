from dataclasses import replace

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from harness.web.guard import BODY_LIMIT, HEADERS, LIVE_HEADERS, LOOPBACK, Access, Guard

ACCESS = Access(port=8321)
HOME = "http://127.0.0.1:8321"


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.method} {request.url.query} {len(await request.body())}")


def client(access: Access = ACCESS, *, token: bool = True, base: str = HOME) -> httpx.AsyncClient:
    app = Guard(Starlette(routes=[Route("/", echo, methods=["GET", "POST"])]), access)
    cookies = {access.cookie: access.token} if token else {}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=base, cookies=cookies)


async def test_the_address_with_the_token_sets_a_cookie_and_leaves_the_token_behind():
    async with client(token=False) as browser:
        first = await browser.get(f"/?a=1&token={ACCESS.token}&b=%26")

        assert (first.status_code, first.headers["location"]) == (303, "/?a=1&b=%26")
        assert {"HttpOnly", "Path=/", "SameSite=lax"} <= set(first.headers["set-cookie"].split("; "))
        second = await browser.get(first.headers["location"])
        assert (second.status_code, second.text) == (200, "GET a=1&b=%26 0")


async def test_the_token_leads_to_no_other_host():
    async with client(token=False) as browser:
        answer = await browser.get(f"{HOME}//evil.example/a?token={ACCESS.token}")

    assert answer.headers["location"] == "/evil.example/a"


@pytest.mark.parametrize(
    "query",
    ["", "?token=", "?token=wrong", f"?token={ACCESS.token}x", "?token=%ff%00"],
    ids=["none", "empty", "wrong", "longer", "no text"],
)
async def test_whoever_has_no_token_is_refused(query):
    async with client(token=False) as browser:
        answer = await browser.get(f"/{query}")

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert ACCESS.token not in answer.text


@pytest.mark.parametrize(
    "cookies", [{ACCESS.cookie: "wrong"}, {"harness_token_1": ACCESS.token}, {ACCESS.cookie: ""}, {}]
)
async def test_a_wrong_cookie_or_that_of_another_port_is_refused(cookies):
    async with client(token=False) as browser:
        browser.cookies.update(cookies)
        assert (await browser.get("/")).status_code == 403


async def test_a_token_in_the_address_is_no_licence_to_change_anything():
    async with client(token=False) as browser:
        assert (await browser.post(f"/?token={ACCESS.token}")).status_code == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8321", 200),
        ("localhost:8321", 200),
        ("LOCALHOST", 200),
        ("127.7.0.9:8321", 200),
        ("[::1]:8321", 200),
        ("evil.example:8321", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:8321", 403),
        ("192.168.1.5:8321", 403),
        ("", 403),
        ("[::1", 403),
    ],
)
async def test_only_names_of_this_machine_are_answered(host, status):
    """A name of somebody else's that points to 127.0.0.1 comes with the browser's cookies for that name alone."""
    async with client() as browser:
        cookie = f"{ACCESS.cookie}={ACCESS.token}"
        assert (await browser.get("/", headers={"host": host, "cookie": cookie})).status_code == status


async def test_a_page_for_the_network_answers_to_its_name_and_to_addresses():
    open_access = Access(port=1, hosts=LOOPBACK | {"desk.local"}, any_address=True)
    async with client(open_access) as browser:
        cookie = f"{open_access.cookie}={open_access.token}"
        for host, status in (("desk.local:1", 200), ("192.168.1.5:1", 200), ("evil.example:1", 403)):
            answer = await browser.get("/", headers={"host": host, "cookie": cookie})
            assert answer.status_code == status, host


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": HOME}, 200),
        ({"origin": HOME, "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "https://127.0.0.1:8321"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://[::1"}, 403),
        ({"origin": ""}, 403),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
async def test_a_form_on_another_page_cannot_post(headers, status):
    async with client() as browser:
        assert (await browser.post("/", headers=headers, content=b"x")).status_code == status


async def test_a_request_has_a_size():
    async with client() as browser:
        assert (await browser.post("/", content=b"x" * BODY_LIMIT)).text == f"POST  {BODY_LIMIT}"
        assert (await browser.post("/", content=b"x" * (BODY_LIMIT + 1))).status_code == 413

        async def endless():
            while True:
                yield b"x" * 1000

        assert (await browser.post("/", content=endless())).status_code == 413


@pytest.mark.parametrize("token", [True, False])
async def test_every_answer_carries_the_policy(token):
    async with client(token=token) as browser:
        answer = await browser.get("/")

    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]


def test_the_token_is_long_differs_every_time_and_is_not_printed():
    one, other = Access(port=1), Access(port=1)

    assert len(one.token) >= 32
    assert one.token != other.token
    assert one.token not in repr(one)


async def test_a_page_that_reads_freely_asks_for_the_token_itself_and_is_guarded_otherwise():
    free = replace(ACCESS, reads_freely=True)
    async with client(free, token=False) as browser:
        assert (await browser.get("/")).status_code == 200
        assert (await browser.get(f"/?token={ACCESS.token}")).status_code == 200, "no token in addresses"
        assert (await browser.post("/", headers={"origin": HOME})).status_code == 200
        assert (await browser.post("/", headers={"origin": "http://evil.example"})).status_code == 403
        assert (await browser.post("/", headers={"sec-fetch-site": "same-site"})).status_code == 403
        assert (await browser.get("/", headers={"host": "evil.example"})).status_code == 403
        assert (await browser.post("/", content=b"x" * (BODY_LIMIT + 1), headers={"origin": HOME})).status_code == 413


async def test_only_a_page_that_is_told_what_is_new_may_connect():
    assert "connect-src" not in HEADERS["content-security-policy"]
    app = Guard(Starlette(routes=[Route("/", echo)]), replace(ACCESS, reads_freely=True), headers=LIVE_HEADERS)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=HOME) as browser:
        answer = await browser.get("/")
    assert answer.headers["content-security-policy"] == HEADERS["content-security-policy"] + "; connect-src 'self'"
