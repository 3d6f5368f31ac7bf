"""The dashboard over HTTP: who may read what, who may do what, and what of others is refused."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from harness.errors import InputError
from harness.store import Store
from harness.web import dashboard_app
from harness.web.admin_ports import AdminPort
from harness.web.dashboard_app import Dashboard
from harness.web.dashboard_pages import Pages
from harness.web.dashboard_reading import Reading, watched
from harness.web.guard import Access
from harness.web.sessions import Sessions
from harness.web.stream import Hub
from tests.dashboards import RUN, Progress, live

HOME = "http://127.0.0.1:9093"
TOKEN = "the-token-of-the-admin"
COOKIE = "harness_dashboard_9093"


class Desk:
    """What was done, or why it may not be."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str, str, str]] = []
        self.refuses = ""

    def change(self, live: str, what: str, by: str, reason: str) -> str:
        if self.refuses:
            raise InputError(self.refuses)
        self.done.append((live, what, by, reason))
        return f"Recorded as event 7: {what} by {by}."


def made(tmp_path: Path, desk: Desk, *, token: str | None = TOKEN, private: bool = False, limit: int = 64, lives=()):
    reading = Reading(url=f"sqlite:///{tmp_path}/harness.db", lives=lives)
    pages = Dashboard(
        reading=reading, access=Access(port=9093, reads_freely=True), sessions=Sessions(token=token),
        hub=Hub(Pages(reading)), change=desk.change, is_private=private, limit=limit,
    )  # fmt: skip
    return dashboard_app.dashboard_app(pages)


def client(app, base: str = HOME) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=base)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def browser(store: Store, tmp_path: Path, desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    Progress.begin(store, tmp_path).answer(3, question="My secret number is {n}.")
    async with client(made(tmp_path, desk)) as opened:
        yield opened


def csrf(answer: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="(\w+)"', answer.text)
    assert found, answer.text[:2_000]
    return found.group(1)


async def enter(browser: httpx.AsyncClient, next_address: str = "/", token: str = TOKEN) -> httpx.Response:
    form = {"csrf": csrf(await browser.get("/login")), "token": token, "next": next_address}
    return await browser.post("/login", data=form, headers={"origin": str(browser.base_url)})


async def test_anybody_here_may_read_numbers_and_no_text(browser):
    for address in ("/", f"/run?id={RUN}"):
        answer = await browser.get(address)
        assert answer.status_code == 200
        assert "secret" not in answer.text
        assert "Show the token" in answer.text
        assert "set-cookie" not in answer.headers
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert policy.endswith("connect-src 'self'")
        assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son\w+=", answer.text)
    assert (await browser.get(f"/pair?run={RUN}&arm=small&exchange=exchange-00000")).status_code == 303


async def test_the_token_opens_texts_and_is_in_no_cookie(browser):
    answer = await enter(browser, f"/run?id={RUN}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/run?id={RUN}")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
    assert TOKEN not in cookie
    assert "My secret number is 2." in (await browser.get(f"/run?id={RUN}")).text
    pair = await browser.get(f"/pair?run={RUN}&arm=small&exchange=exchange-00001")
    assert (pair.status_code, "My secret number is 1." in pair.text) == (200, True)
    page = await browser.get("/")
    await browser.post("/logout", data={"csrf": csrf(page)}, headers={"origin": HOME})
    assert "secret" not in (await browser.get(f"/run?id={RUN}")).text


@pytest.mark.parametrize("token", ["wrong", "", TOKEN + "x", TOKEN[:-1]])
async def test_a_wrong_token_opens_nothing(browser, token):
    answer = await enter(browser, token=token)
    assert (answer.status_code, "That is not the token." in answer.text) == (403, True)
    assert "set-cookie" not in answer.headers
    assert token == "" or token not in answer.text


async def test_guessing_has_to_wait(browser):
    for _ in range(10):
        await enter(browser, token="guess")
    answer = await enter(browser)
    assert (answer.status_code, "wait a minute" in answer.text) == (429, True)


@pytest.mark.parametrize(
    ("given", "goes_to"),
    [("//evil.example/", "/"), ("///evil.example/", "/evil.example/"), ("https://evil.example/run?id=a", "/run?id=a"),
     ("/\\evil.example", "/evil.example"),
     ("javascript:alert(1)", "/alert(1)"), ("", "/"), ("/run?id=a%0d%0ab", "/run?id=a%0d%0ab"), ("/\r\nx: y", "/")],
)  # fmt: skip
async def test_the_token_leads_to_no_other_host(browser, given, goes_to):
    assert (await enter(browser, given)).headers["location"] == goes_to


async def test_without_a_token_nobody_gets_in(store, tmp_path, desk):
    Progress.begin(store, tmp_path)
    async with client(made(tmp_path, desk, token=None)) as browser:
        page = await browser.get("/")
        assert "read only" in page.text
        assert "Show the token" not in page.text
        login = await browser.get("/login")
        assert "HARNESS_ADMIN_TOKEN" in login.text
        assert "<form" not in login.text
        for token in ("", "None"):
            answer = await browser.post("/login", data={"token": token, "csrf": "x"}, headers={"origin": HOME})
            assert answer.status_code in {403, 409}


async def test_what_the_page_can_be_reached_from_elsewhere_shows_nothing_without_the_token(store, tmp_path, desk):
    Progress.begin(store, tmp_path).answer(2)
    async with client(made(tmp_path, desk, private=True)) as browser:
        for address in ("/", f"/run?id={RUN}", "/pair?run=a"):
            answer = await browser.get(address)
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/login?next=%2F")
        assert (await browser.get("/events?of=/")).status_code == 403
        assert (await browser.post("/change", headers={"origin": HOME})).status_code == 403
        assert (await browser.get("/static/dashboard.css")).status_code == 200
        await enter(browser)
        assert (await browser.get("/")).status_code == 200


async def test_a_change_is_made_by_name_and_reason_and_said_once(browser, desk):
    await enter(browser)
    page = await browser.get("/")
    form = {"csrf": csrf(page), "subject": "shop", "do": "pause", "by": " Ada ", "reason": "look at it"}
    answer = await browser.post("/change", data=form, headers={"origin": HOME})
    assert (answer.status_code, answer.headers["location"]) == (303, "/rollout?live=shop")
    assert desk.done == [("shop", "pause", "Ada", "look at it")]
    assert "Recorded as event 7" in (await browser.get("/")).text
    assert "Recorded as event 7" not in (await browser.get("/")).text


@pytest.mark.parametrize(
    ("fields", "headers", "status"),
    [
        ({"by": ""}, {}, 400), ({"reason": "  "}, {}, 400), ({"by": "x" * 2_001}, {}, 400), ({"do": "start"}, {}, 400),
        ({"do": "__class__"}, {}, 400), ({"csrf": "wrong"}, {}, 409), ({}, {"origin": "http://evil.example"}, 403),
        ({}, {"sec-fetch-site": "cross-site"}, 403), ({}, {"host": "rebound.example"}, 403),
        ({}, {"cookie": "none=1"}, 403),
    ],
)  # fmt: skip
async def test_what_is_not_meant_changes_nothing(browser, desk, fields, headers, status):
    await enter(browser)
    page = await browser.get("/")
    form = {"csrf": csrf(page), "subject": "shop", "do": "abort", "by": "Ada", "reason": "x"} | fields
    answer = await browser.post("/change", data=form, headers={"origin": HOME} | headers)
    assert (answer.status_code, desk.done) == (status, [])


async def test_what_the_rollout_does_not_allow_is_said(browser, desk):
    desk.refuses = "the rollout is over (completed)"
    await enter(browser)
    page = await browser.get("/")
    form = {"csrf": csrf(page), "subject": "shop", "do": "resume", "by": "Ada", "reason": "x"}
    answer = await browser.post("/change", data=form, headers={"origin": HOME})
    assert answer.status_code == 409
    assert "The rollout is over (completed)." in answer.text


async def test_the_kill_switch_goes_through_an_admin_port(store, tmp_path, desk, monkeypatch):
    Progress.begin(store, tmp_path, spooled=True)
    own = watched(live(tmp_path))
    own = replace(own, gateway=AdminPort(name="gateway", host="127.0.0.1", port=1))
    switched: list[tuple[str, bool, str]] = []
    monkeypatch.setattr(AdminPort, "status", lambda self: {} if self.name == "gateway" else None)
    monkeypatch.setattr(
        AdminPort, "switch_mirror", lambda self, enabled, token: switched.append((self.name, enabled, token))
    )
    monkeypatch.setenv("HARNESS_ADMIN_TOKEN", TOKEN)
    async with client(made(tmp_path, desk, lives=[own])) as browser:
        await enter(browser)
        page = await browser.get(f"/run?id={RUN}")
        assert "Kill switch of mirroring" in page.text
        form = {"csrf": csrf(page), "subject": RUN, "do": "off"}
        assert (await browser.post("/mirror", data=form, headers={"origin": HOME})).status_code == 303
        assert switched == [("gateway", False, TOKEN)]
        assert "Mirroring stops within a second." in (await browser.get(f"/run?id={RUN}")).text
        wrong = await browser.post("/mirror", data={**form, "subject": "other"}, headers={"origin": HOME})
        assert wrong.status_code == 400
    assert len(switched) == 1


@pytest.mark.parametrize(
    ("address", "status"),
    [("/run?id=none", 404), ("/run", 404), ("/rollout?live=none", 404), ("/nothing", 404), ("/events?of=/nothing", 404),
     ("/events?of=/run?id=none", 404), ("/run?id=%00%ff%E2%80%AE", 404)],
)  # fmt: skip
async def test_what_is_not_there_is_said(browser, address, status):
    answer = await browser.get(address)
    assert answer.status_code == status
    assert "\u202e" not in answer.text


async def test_streams_are_for_our_own_pages_and_not_for_everybody_at_once(store, tmp_path, desk):
    Progress.begin(store, tmp_path)
    async with client(made(tmp_path, desk, limit=0)) as browser:
        answer = await browser.get("/events?of=/", headers={"sec-fetch-site": "cross-site"})
        assert answer.status_code == 403
        assert (await browser.get("/events?of=/")).status_code == 503


async def test_a_store_that_is_not_there_yet_is_waited_for(tmp_path, desk):
    async with client(made(tmp_path / "later", desk)) as browser:
        answer = await browser.get("/")
        assert answer.status_code == 503
        assert "does not exist" in answer.text
        assert not (tmp_path / "later").exists()
        (tmp_path / "later").mkdir()
        with Store.open(f"sqlite:///{tmp_path}/later/harness.db") as store:
            Progress.begin(store, tmp_path)
        assert (await browser.get("/")).status_code == 200


async def test_the_pages_of_all_products_wear_the_same_tokens(browser):
    from reports.html import TOKENS, static_text

    sheet = (await browser.get("/static/dashboard.css")).text
    assert sheet.startswith(static_text("reports", TOKENS))
