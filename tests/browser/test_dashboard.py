"""The dashboard as people see it: a real server process, a real browser, a store that goes on meanwhile."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from harness.controller import people
from harness.store import Store
from tests.browser.pages import COLOURS, Noticed, contrast, luminance, watched
from tests.controlled import PHASES, SHADOW, policy
from tests.dashboards import HOSTILE, RUN, Progress, Server, live, served

pytestmark = pytest.mark.browser

TOKEN = "of-the-admin"
QUESTION = "My secret number is {n}."


@dataclass
class Shop:
    """A store with a run and a rollout, and the dashboard that shows it."""

    server: Server
    store: Store
    progress: Progress

    def url(self, address: str = "") -> str:
        return self.server.address + address.lstrip("/")

    @property
    def run(self) -> str:
        return self.url(f"run?id={RUN}")

    @property
    def rollout(self) -> str:
        return self.url("rollout?live=shop")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    yield from opened_shop(tmp_path)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One that no test changes, with a hostile pair among the newest."""
    for found in opened_shop(tmp_path_factory.mktemp("dashboard")):
        found.progress.answer(1, question=HOSTILE.replace("{", "(").replace("}", ")"), text=HOSTILE)
        found.progress.answer(30, same=0.9)
        found.progress.look()
        yield found


def opened_shop(folder: Path) -> Iterator[Shop]:
    url = f"sqlite:///{folder}/harness.db"
    with Store.open(url) as store:
        progress = Progress.begin(store, folder, spooled=True)
        progress.answer(12, same=0.8, failing=1, question=QUESTION)
        progress.look()
        people.start(store, live(folder), policy(phases=[SHADOW, *PHASES]), by="Ada", reason="half the price")
        with served(url, env={"HARNESS_ADMIN_TOKEN": TOKEN}) as server:
            yield Shop(server=server, store=store, progress=progress)


def opened(browser: Browser, address: str, width: int = 1280, **options: Any) -> tuple[Page, Noticed]:
    page, noticed = watched(browser.new_context(viewport={"width": width, "height": 800}, **options))
    page.goto(address)
    return page, noticed


def enter(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("link", name="Show the token").click()
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url(address)


def is_live(page: Page) -> None:
    expect(page.locator("#link")).to_have_attribute("data-state", "live", timeout=10_000)


def test_what_comes_into_the_store_appears_without_a_reload(browser: Browser, shop: Shop):
    page, noticed = opened(browser, shop.run)
    is_live(page)
    page.evaluate("window.mark = 1; document.querySelector('#criteria-0 details').open = true")
    page.locator("#criteria-0 summary").focus()
    lines = page.locator("#part-pairs li")
    expect(lines).to_have_count(12)

    shop.progress.answer(5)
    expect(lines).to_have_count(17, timeout=8_000)
    verdict = shop.progress.look()["small"].value
    expect(page.locator("#criteria-0")).to_contain_text("2 looks kept", timeout=8_000)
    expect(page.locator("#criteria-0 .sequence-line").first).to_be_visible()
    expect(page.locator("#said")).to_have_text(f"small: {verdict}")

    assert page.evaluate("window.mark") == 1, "the page was not loaded again"
    assert page.evaluate("document.querySelector('#criteria-0 details').open"), "what was unfolded stays unfolded"
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY", "focus stays where it was"
    assert noticed.complaints == []
    assert all(url.startswith(shop.server.address) for url in noticed.requests)


def test_a_rollout_that_is_paused_elsewhere_is_seen_to_be(browser: Browser, shop: Shop):
    page, noticed = opened(browser, shop.rollout)
    is_live(page)
    expect(page.locator("#said")).to_have_text("Rollout of small: RUNNING, shadow")
    people.pause(shop.store, "shop", by="Grace", reason="lunch")
    expect(page.get_by_role("heading", name="PAUSED")).to_be_visible(timeout=8_000)
    expect(page.locator("#part-timeline")).to_contain_text("lunch")
    expect(page.locator("#said")).to_have_text("Rollout of small: PAUSED, shadow")
    assert noticed.complaints == []


def test_verdicts_alone_are_announced_and_politely(browser: Browser, still: Shop):
    for address in (still.url(), still.run, still.rollout):
        page, _ = opened(browser, address)
        spoken = page.evaluate(
            "[...document.querySelectorAll('[aria-live], [role=status], [role=alert]')].map(n => n.id)"
        )
        assert spoken == ["said"]
        page.context.close()


def test_without_the_token_it_is_read_only(browser: Browser, still: Shop):
    for address in (still.url(), still.run, still.rollout):
        page, _ = opened(browser, address)
        assert page.locator("form, button, input").count() == 0
        assert "secret" not in page.content()
        assert "exchange-0" not in page.content()
        page.context.close()
    page, _ = opened(browser, still.url(f"pair?run={RUN}&arm=small&exchange=exchange-00001"))
    assert page.get_by_role("heading", level=1).inner_text() == "Show the token"
    page.context.close()


def test_with_the_token_pairs_are_read_and_hostile_texts_are_inert(browser: Browser, still: Shop):
    page, noticed = watched(browser.new_context(viewport={"width": 1280, "height": 800}))
    enter(page, still.run)
    assert TOKEN not in str(page.context.cookies())
    assert page.evaluate("document.cookie") == ""
    is_live(page)
    page.goto(still.url(f"pair?run={RUN}&arm=small&exchange=exchange-00012"))
    page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    assert "[U+202E]" in page.locator("main").inner_text()
    assert page.title() == "One pair · Shadow Harness"
    assert page.evaluate("[document.images.length, document.scripts.length]") == [0, 0]
    sizes = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert sizes[0] <= sizes[1]
    assert noticed.complaints == []
    page.get_by_role("link", name=RUN, exact=True).click()
    page.get_by_role("button", name="Leave").click()
    page.goto(still.run)
    assert "secret" not in page.content()
    page.context.close()


def test_a_wrong_token_is_told_and_the_page_stays_usable(browser: Browser, still: Shop):
    page, _ = opened(browser, still.url("login"))
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_text("That is not the token.")).to_be_visible()
    page.get_by_role("link", name="Back").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Experiments and rollouts"
    page.context.close()


def test_a_rollout_is_paused_by_keyboard_alone(browser: Browser, shop: Shop):
    page, noticed = watched(browser.new_context(viewport={"width": 1280, "height": 800}))
    page.goto(shop.rollout)

    def tab_to(name: str) -> None:
        for _ in range(80):
            page.keyboard.press("Tab")
            seen = page.evaluate(
                "(n => (n.labels && n.labels[0] ? n.labels[0].innerText : n.innerText || '').trim())"
                "(document.activeElement)"
            )
            if seen == name:
                return
        raise AssertionError(f"no {name} on the way")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    tab_to("Show the token")
    page.keyboard.press("Enter")
    page.wait_for_url("**/login*")
    tab_to("Token")
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")
    page.wait_for_url(shop.rollout)
    tab_to("Your name")
    page.keyboard.type("Grace")
    page.keyboard.press("Tab")
    page.keyboard.type("by keyboard")
    tab_to("Pause")
    page.keyboard.press("Enter")
    expect(page.locator("#done")).to_contain_text("Recorded as event 2: paused by Grace.")
    event = people.standing(shop.store, "shop").events[-1]
    assert (event.kind.value, event.actor, event.reason) == ("paused", "Grace", "by keyboard")
    assert noticed.complaints == []


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("name", ["home", "run", "rollout", "login"])
def test_it_opens_quietly_and_fits_the_window(browser: Browser, still: Shop, name: str, width: int):
    address = {"home": still.url(), "run": still.run, "rollout": still.rollout, "login": still.url("login")}[name]
    page, noticed = opened(browser, address, width)
    page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    page.wait_for_timeout(100)
    sizes = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert sizes[0] <= sizes[1], f"{name} is {sizes[0]} wide in a window of {sizes[1]}"
    assert noticed.complaints == []
    assert all(url.startswith(still.server.address) for url in noticed.requests)
    page.context.close()


def test_it_says_the_same_without_scripts(browser: Browser, still: Shop):
    page, _ = opened(browser, still.run, java_script_enabled=False)
    assert page.get_by_role("heading", level=1).inner_text() == "shop"
    for name in ("Criteria of small", "Coverage", "Spend", "Processes, breakers, alerts", "Pairs as they arrive"):
        assert page.get_by_role("heading", name=name, level=2).is_visible(), name
    assert page.locator("#link-text").inner_text() == "Reload the page for newer figures."
    assert page.locator("#problem").is_hidden()
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["home", "run", "rollout"])
def test_text_has_enough_contrast(browser: Browser, still: Shop, name: str, scheme: str):
    address = {"home": still.url(), "run": still.run, "rollout": still.rollout}[name]
    page, _ = opened(browser, address, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    grounds = set()
    for selector in ("p", "span", ".sub", ".badge", "a", "h1", "h2"):
        for text, ground in {tuple(pair) for pair in page.evaluate(COLOURS, selector)}:
            assert contrast(text, ground) >= 4.5, (selector, text, ground)
            grounds.add(luminance(ground) < 0.2)
    # Or the dark colours were not looked at.
    assert any(grounds) or scheme == "light"
    page.context.close()


def test_what_is_drawn_differs_without_colour(browser: Browser, still: Shop):
    """Line, bounds and threshold are told apart by width and dashes; the sides by words."""
    page, _ = opened(browser, still.run)
    styles = page.evaluate(
        "['line', 'bounds', 'threshold'].map(name => { const s = getComputedStyle(document.querySelector("
        "'figure .sequence-' + name)); return [s.strokeWidth, s.strokeDasharray]; })"
    )
    assert len({tuple(style) for style in styles}) == 3
    assert "passes" in page.locator("figure .sequence-label").first.text_content()
    page.context.close()


def test_nothing_moves_for_those_who_want_it_still(browser: Browser, shop: Shop):
    page, _ = opened(browser, shop.run, reduced_motion="reduce")
    is_live(page)
    shop.progress.answer(1)
    new = page.locator("#part-pairs li.new")
    expect(new).to_have_count(1, timeout=8_000)
    assert new.evaluate("n => getComputedStyle(n).animationName") == "none"
    page.context.close()


def test_a_dashboard_that_ends_is_noticed(browser: Browser, shop: Shop):
    page, _ = opened(browser, shop.run)
    is_live(page)
    shop.server.process.terminate()
    shop.server.process.wait(10)
    expect(page.locator("#link")).to_have_attribute("data-state", "away", timeout=8_000)
    expect(page.locator("#link-text")).to_have_text("Not connected, trying again.")
    page.context.close()
