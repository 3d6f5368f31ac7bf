"""The label page as people use it: a real server process, a real browser, keys."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page

from harness.domain.label import HumanLabel
from harness.pipeline.labelling import Choice
from harness.store import Store
from harness.web.label_page import pair_key
from tests.browser.axe import VIEWS, findings, viewed
from tests.browser.pages import COLOURS, contrast, luminance, watched
from tests.unit.pipeline.labelled_run import CANDIDATE_MODEL, PRODUCTION_MODEL, RUN, fill, session_of

pytestmark = pytest.mark.browser

N = 30
IDS = [f"exchange-{i:02}" for i in range(N)]
KEYS = {
    "1": Choice.LEFT, "2": Choice.RIGHT, "ArrowLeft": Choice.LEFT, "ArrowRight": Choice.RIGHT, "0": Choice.TIE,
    "ArrowDown": Choice.TIE, "t": Choice.TIE, "s": Choice.SKIP,
}  # fmt: skip
HOSTILE = (
    "\u202egnp.exe \x00\x1b[31m <script>document.title='owned'</script> <img src=http://evil.example/x>" + "W" * 3000
)
LONG = "A line of a long answer.\n" * 400


@dataclass
class Server:
    """The command in a process of its own."""

    folder: Path
    processes: list["subprocess.Popen[str]"] = field(default_factory=list)
    address: str = ""

    def start(self, *options: str) -> str:
        command = [sys.executable, "-m", "harness", "label", RUN, "--no-open", "--quiet", *options]
        process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.processes.append(process)
        assert process.stdout is not None
        self.address = process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:"), process.stderr and process.stderr.read()
        return self.address

    @property
    def process(self) -> "subprocess.Popen[str]":
        return self.processes[-1]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def labels(self, labeller: str = "ann") -> dict[str, HumanLabel]:
        with Store.open(f"sqlite:///{self.folder}/runs/harness.db") as store:
            arm = session_arm(store, self.folder)
            found = store.labels(RUN, arm.name, arm.fingerprint)
        return {pair_key(item.exchange_id): item for item in found if item.labeller == labeller}


def session_arm(store: Store, folder: Path):
    from harness.pipeline.arms import arms_of

    return arms_of(session_of(store, folder).experiment)[0]


def served(folder: Path) -> Iterator[Server]:
    """A run to label; whatever was started on it is ended."""
    texts = dict.fromkeys(IDS, f"The new answer by {CANDIDATE_MODEL}.") | {IDS[0]: HOSTILE, IDS[1]: LONG}
    with Store.open(f"sqlite:///{folder}/runs/harness.db") as store:
        fill(session_of(store, folder), IDS, texts=texts)
    found = Server(folder=folder)
    yield found
    for process in found.processes:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A run of one's own; nothing is started yet."""
    yield from served(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all who come with a name of their own."""
    for found in served(tmp_path_factory.mktemp("labels")):
        found.start("--ask-name", "--size", str(N))
        yield found


def enter(page: Page, server: Server, name: str) -> None:
    page.goto(server.address)
    page.get_by_label("Your name").fill(name)
    click(page, page.get_by_role("button", name="Begin"))


def shown(page: Page) -> str:
    return page.locator("input[name=pair]").get_attribute("value") or ""


def press(page: Page, key: str) -> None:
    """Press a key and wait for the page that follows."""
    with page.expect_navigation():
        page.keyboard.press(key)


def click(page: Page, target: Locator) -> None:
    with page.expect_navigation():
        target.click()


def said(label: HumanLabel) -> Choice:
    assert label.shown_first is not None
    return Choice.of(label.label, label.shown_first)


def home(server: Server) -> str:
    return server.address.split("?")[0]


def test_twenty_labels_by_keyboard_alone_through_two_kills(browser: Browser, server: Server):
    asked: list[str] = []
    expected: dict[str, Choice] = {}
    keys = [list(KEYS)[i % len(KEYS)] for i in range(20)]
    page, noticed = watched(browser.new_context())
    page.goto(server.start("--labeller", "ann", "--size", "20"))
    for index, key in enumerate(keys):
        if index == 7:
            server.kill()
            page.goto(server.start("--labeller", "ann"))
        if index == 13:
            # Killed with a choice under way: the label is in the store or the pair is asked again, never neither.
            server.process.send_signal(signal.SIGSTOP)
            page.keyboard.press(key)
            server.kill()
            assert shown_after_restart(page, server) == asked_next(server, asked)
        asked.append(shown(page))
        expected[asked[-1]] = KEYS[key]
        press(page, key)

    assert len(set(asked)) == 20
    assert {key: said(label) for key, label in server.labels().items()} == expected
    assert page.get_by_role("heading", level=1).inner_text() == "All planned pairs are done"
    assert "harness decide EXPERIMENT.yaml" in page.locator("main").inner_text()
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(timeout=20) == 0
    assert [text for text in noticed.complaints if "ERR_" not in text] == []
    page.context.close()


def shown_after_restart(page: Page, server: Server) -> str:
    page.goto(server.start("--labeller", "ann"))
    return shown(page)


def asked_next(server: Server, asked: list[str]) -> str:
    """The first pair without a label, in the order of the plan."""
    assert set(server.labels()) == set(asked)
    with Store.open(f"sqlite:///{server.folder}/runs/harness.db") as store:
        arm = session_arm(store, server.folder)
        plan = store.label_plan(RUN, arm.name, arm.fingerprint)
    return next(key for item in plan if (key := pair_key(item.exchange_id)) not in asked)


def test_undo_goes_back_as_far_as_wanted_and_corrects(browser: Browser, shared: Server):
    page, noticed = watched(browser.new_context())
    enter(page, shared, "undo")
    pairs = []
    for key in ("1", "1", "1"):
        pairs.append(shown(page))
        press(page, key)
    press(page, "u")
    assert shown(page) == pairs[2]
    press(page, "Backspace")
    assert shown(page) == pairs[1]
    assert "You said: left is better." in page.get_by_role("status").inner_text()
    assert page.get_by_role("button", name="Left is better").get_attribute("aria-pressed") == "true"

    page.keyboard.press("n")
    page.keyboard.type("on 2nd thought, s")
    page.keyboard.press("Escape")
    press(page, "2")

    assert page.locator(".conversation-head p").inner_text() == f"Pair 4 of {N}"
    labels = shared.labels("undo")
    assert [said(labels[pair]) for pair in pairs] == [Choice.LEFT, Choice.RIGHT, Choice.LEFT]
    assert labels[pairs[1]].note == "on 2nd thought, s"
    assert len(labels) == 3
    assert noticed.complaints == []
    page.context.close()


def test_a_second_press_in_a_hurry_labels_nothing_else(browser: Browser, shared: Server):
    page, _ = watched(browser.new_context())
    enter(page, shared, "hurry")
    first = shown(page)
    with page.expect_navigation():
        page.evaluate(
            """() => { for (const key of ["1", "2", "s", "1"]) {
            document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true})); } }"""
        )
    page.wait_for_load_state()
    assert {key: said(label) for key, label in shared.labels("hurry").items()} == {first: Choice.LEFT}
    page.context.close()


def test_without_scripts_the_buttons_do_the_same(browser: Browser, server: Server):
    context = browser.new_context(java_script_enabled=False)
    page, noticed = watched(context)
    page.goto(server.start("--labeller", "ann", "--size", "3"))
    pairs = []
    for name in ("Left is better", "Tie", "Skip"):
        pairs.append(shown(page))
        page.get_by_label("Note").fill(f"because {name}")
        click(page, page.get_by_role("button", name=name))
    assert page.get_by_role("heading", level=1).inner_text() == "All planned pairs are done"
    click(page, page.get_by_role("link", name="Look at 1 skipped pair again"))
    click(page, page.get_by_role("button", name="Right is better"))

    labels = server.labels()
    assert [said(labels[pair]) for pair in pairs] == [Choice.LEFT, Choice.TIE, Choice.RIGHT]
    assert labels[pairs[0]].note == "because Left is better"
    assert noticed.complaints == []
    context.close()


def test_the_browser_may_be_killed_as_well(browser: Browser, server: Server):
    page, _ = watched(browser.new_context())
    page.goto(server.start("--labeller", "ann", "--size", "5"))
    first = shown(page)
    press(page, "1")
    second = shown(page)
    page.context.close()

    again, _ = watched(browser.new_context())
    again.goto(server.address)
    assert shown(again) == second
    assert list(server.labels()) == [first]
    again.context.close()


def test_several_people_have_sides_and_progress_of_their_own(browser: Browser, server: Server):
    address = server.start("--ask-name", "--size", "12")
    lefts = {}
    for name in ("ann", "bob"):
        page, _ = watched(browser.new_context())
        page.goto(address)
        page.get_by_label("Your name").fill(name)
        press(page, "Enter")
        assert "0 of 12 done" in page.locator(".progress").inner_text()
        lefts[name] = []
        for _ in range(6):
            lefts[name].append((shown(page), "new answer" in page.locator(".answer-left").inner_text()))
            press(page, "0")
        page.context.close()
    assert [pair for pair, _ in lefts["ann"]] == [pair for pair, _ in lefts["bob"]], "one plan for all"
    assert lefts["ann"] != lefts["bob"]


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_hostile_and_long_answers_stay_inside_their_columns(browser: Browser, shared: Server, width: int):
    page, noticed = watched(browser.new_context(viewport={"width": width, "height": 740}))
    enter(page, shared, f"reader {width}")
    for exchange_id in IDS[:2]:
        page.goto(f"{home(shared)}pair/{pair_key(exchange_id)}")
        sizes = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert sizes[0] <= sizes[1], f"{sizes[0]} wide in a window of {sizes[1]}"
        for side in (".answer-left", ".answer-right"):
            box, inside = page.locator(side).bounding_box(), page.locator(f"{side} .inside").bounding_box()
            assert inside["width"] <= box["width"] <= width
            assert inside["height"] <= 740
    assert page.title() != "owned"
    assert page.evaluate("document.images.length") == 0
    long_side = page.locator(".inside", has_text="A line of a long answer").first
    assert long_side.evaluate("node => node.scrollHeight > 2 * node.clientHeight")
    stacked = page.locator(".answer-left").bounding_box()["y"] < page.locator(".answer-right").bounding_box()["y"]
    assert stacked == (width < 800)
    assert noticed.complaints == []
    assert {url.split("/")[2] for url in noticed.requests if not url.startswith("data:")} == {
        home(shared).split("/")[2]
    }
    page.context.close()


def test_the_question_and_the_buttons_are_in_view_beside_a_long_answer(browser: Browser, shared: Server):
    page, _ = watched(browser.new_context(viewport={"width": 1280, "height": 720}))
    enter(page, shared, "viewer")
    page.goto(f"{home(shared)}pair/{pair_key(IDS[1])}")
    for locator in (page.get_by_text(f"Question {IDS[1]}?"), page.get_by_role("button", name="Tie")):
        box = locator.bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 720
    page.context.close()


def test_arrows_scroll_a_text_that_has_the_focus(browser: Browser, shared: Server):
    page, _ = watched(browser.new_context(viewport={"width": 1280, "height": 720}))
    enter(page, shared, "scroller")
    page.goto(f"{home(shared)}pair/{pair_key(IDS[1])}")
    side = page.locator(".answer .inside", has_text="A line of a long answer")
    side.click()
    page.keyboard.press("ArrowDown")
    # Not wait_for_function: what it polls with is refused by the page's policy when the first look comes too early.
    for _ in range(100):
        if page.evaluate("[...document.querySelectorAll('.answer .inside')].some(node => node.scrollTop > 0)"):
            break
        page.wait_for_timeout(50)
    else:
        pytest.fail("the arrow did not scroll the text")
    assert shared.labels("scroller") == {}
    press(page, "1")
    assert len(shared.labels("scroller")) == 1
    page.context.close()


def test_no_name_is_anywhere_in_what_the_browser_gets(browser: Browser, shared: Server):
    page, _ = watched(browser.new_context())
    enter(page, shared, "blind")
    texts = [page.content()]
    for key in "120ts":
        press(page, key)
        texts.append(page.content())
    for text in texts:
        assert [name for name in (PRODUCTION_MODEL, CANDIDATE_MODEL, "zq-candidate") if name in text] == []
        assert "The new answer by [model]." in text or "A line of" in text or "gnp.exe" in text
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(browser: Browser, shared: Server, scheme: str):
    page, _ = watched(browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 800}))
    enter(page, shared, f"eyes {scheme}")
    press(page, "1")
    page.keyboard.press("?")
    grounds = set()
    for selector in (
        "h1",
        "h2",
        "p",
        ".criteria",
        ".quiet",
        ".role",
        ".text",
        "button",
        ".button",
        "kbd",
        "summary",
        "label",
        "dd",
    ):
        pairs = {tuple(pair) for pair in page.evaluate(COLOURS, selector)}
        assert pairs, selector
        for text, ground in pairs:
            assert contrast(text, ground) >= 4.5, (selector, text, ground)
            grounds.add(luminance(ground) < 0.2) if selector == "p" else None
    assert grounds == {scheme == "dark"}
    page.context.close()


def test_assistive_technology_finds_its_way(browser: Browser, shared: Server):
    page, _ = watched(browser.new_context())
    enter(page, shared, "ear")
    press(page, "s")
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.title() == f"Pair 2 of {N} · Shadow Harness"
    for role in ("banner", "main"):
        assert page.get_by_role(role).count() == 1, role
    for name in ("Conversation", "Left", "Right"):
        assert page.get_by_role("region", name=name, exact=True).count() == 1, name
    assert [node.inner_text() for node in page.get_by_role("heading").all()] == [
        "Which answer is better?", "Conversation", "Left", "Right",
    ]  # fmt: skip
    assert page.get_by_role("progressbar").get_attribute("value") == "1"
    assert page.get_by_role("status").inner_text() == "Stored: pair 1, skipped."
    assert page.get_by_role("textbox", name="Note (optional)").count() == 1
    unnamed = "node => !node.innerText.trim() && !node.labels?.length"
    controls = "[...document.querySelectorAll('button, a, input:not([type=hidden]), textarea')]"
    assert page.evaluate(f"{controls}.filter({unnamed}).length") == 0
    page.keyboard.press("Tab")
    skip = page.locator("a.skip")
    assert skip.evaluate("node => node === document.activeElement")
    assert skip.bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    order = []
    for _ in range(9):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        order.append(
            page.evaluate("document.activeElement.innerText.replaceAll('\\n', ' ').trim() || document.activeElement.id")
        )
        assert outline == "solid", order
    assert order[-6:] == ["note", "Left is better 1", "Tie 0", "Right is better 2", "Back u", "Skip s"]
    page.context.close()


def test_without_the_token_there_is_nothing(browser: Browser, shared: Server):
    context = browser.new_context()
    page = context.new_page()
    assert page.goto(home(shared)).status == 403
    assert "Question" not in page.content()
    context.close()


@pytest.mark.parametrize("view", VIEWS)
def test_every_page_of_labelling_violates_nothing(browser: Browser, shared: Server, view: str):
    """The question for a name, and a pair with its conversation."""
    with viewed(browser, view) as (page, noticed):
        page.goto(shared.address)
        assert findings(page) == []
        enter(page, shared, f"axe {view}")
        assert shown(page)
        assert findings(page) == []
        assert noticed.complaints == []
