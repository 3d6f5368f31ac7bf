"""What axe-core says about the dashboard's pages, in every width and scheme."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from harness.controller import people
from harness.store import Store
from tests.browser import axe
from tests.controlled import PHASES, SHADOW, policy
from tests.dashboards import RUN, Progress, Server, live, served

pytestmark = pytest.mark.browser

TOKEN = "of-the-admin"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("dashboard")
    url = f"sqlite:///{folder}/harness.db"
    with Store.open(url) as store:
        progress = Progress.begin(store, folder, spooled=True)
        for _ in range(3):
            progress.answer(12, same=0.8, failing=1)
            progress.look()
        people.start(store, live(folder), policy(phases=[SHADOW, *PHASES]), by="Ada", reason="half the price")
        with served(url, env={"HARNESS_ADMIN_TOKEN": TOKEN}) as found:
            yield found


@pytest.mark.parametrize("view", axe.VIEWS)
def test_the_dashboard_is_accessible(browser: Browser, server: Server, view: str):
    pages = ("", "login", f"run?id={RUN}", "rollout?live=shop", "nothing")
    with axe.viewed(browser, view) as (page, noticed):
        for address in pages:
            page.goto(server.address + address)
            assert axe.findings(page) == [], address
        page.goto(f"{server.address}login?next=/rollout?live=shop")
        page.get_by_label("Token").fill(TOKEN)
        with page.expect_navigation(url="**/rollout?live=shop"):
            page.keyboard.press("Enter")
        for address in ("rollout?live=shop", f"run?id={RUN}", f"pair?run={RUN}&arm=small&exchange=exchange-00001"):
            page.goto(server.address + address)
            assert axe.findings(page) == [], address
        assert [text for text in noticed.complaints if "404" not in text] == []
