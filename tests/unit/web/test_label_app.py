import re

import httpx
import pytest

from harness.domain.judgment import Label
from harness.pipeline.label_plan import Wish, prepare_plan
from harness.pipeline.labelling import Labelling
from harness.web.guard import Access
from harness.web.label_app import LabelPages, label_app
from harness.web.label_page import pair_key
from tests.unit.pipeline.labelled_run import CANDIDATE_MODEL, PRODUCTION_MODEL, RUN, fill, session_of

ACCESS = Access(port=8321)
IDS = [f"exchange-{i:02}" for i in range(12)]


@pytest.fixture
def labelling(store, tmp_path):
    session = session_of(store, tmp_path)
    texts = {item: f"New answer to {item}, by {CANDIDATE_MODEL}." for item in IDS}
    arm = fill(session, IDS, texts=texts)
    return Labelling.of(session, arm, prepare_plan(session, arm, Wish(size=4)))


def browser_of(labelling, *, labeller="ann"):
    pages = LabelPages(
        labelling=labelling,
        access=ACCESS,
        labeller=labeller,
        next_command="harness decide e.yaml",
        status_command="harness labels status r1",
    )
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=label_app(pages)),
        base_url="http://127.0.0.1:8321",
        cookies={ACCESS.cookie: ACCESS.token},
        follow_redirects=True,
    )


@pytest.fixture
async def browser(labelling):
    async with browser_of(labelling) as client:
        yield client


def fields(html):
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', html))


async def choose(browser, choice, **changes):
    page = await browser.get("/")
    return await browser.post("/label", data=fields(page.text) | {"choice": choice, "note": ""} | changes)


def stored(labelling):
    return labelling.store.labels(RUN, labelling.arm.name, labelling.arm.fingerprint)


async def test_a_choice_is_in_the_store_before_the_next_pair_is_shown(browser, labelling):
    first = labelling.standing("ann").next

    after = await choose(browser, "left", note="shorter")

    [label] = stored(labelling)
    assert label.exchange_id == first.exchange_id
    assert label.label is (Label.WIN if labelling.left(first.exchange_id, "ann") == "candidate" else Label.LOSS)
    assert label.note == "shorter"
    assert 0 <= label.seconds < 60
    assert "Pair 2 of 4" in after.text
    assert "Stored: pair 1, left is better." in after.text


async def test_four_choices_lead_to_the_page_that_says_what_comes_next(browser, labelling):
    for choice in ("left", "tie", "skip", "right"):
        page = await choose(browser, choice)

    assert "You labelled 3 pairs and skipped 1." in page.text
    assert "<code>harness decide e.yaml</code>" in page.text
    assert "Look at 1 skipped pair again" in page.text
    assert len(stored(labelling)) == 4


async def test_the_pair_before_can_be_corrected(browser, labelling):
    await choose(browser, "left")
    page = await choose(browser, "right")
    first, second = labelling.standing("ann").planned[:2]
    [back] = re.findall(r'id="back" href="([^"]+)"', page.text)
    assert back == f"/pair/{pair_key(second.exchange_id)}"

    page = await browser.get(back)
    assert "You said: right is better." in page.text
    assert re.search(r'value="right"[^>]*aria-pressed="true"', page.text)
    assert f"/pair/{pair_key(first.exchange_id)}" in page.text
    page = await browser.post("/label", data=fields(page.text) | {"choice": "tie", "note": ""})

    assert "Pair 3 of 4" in page.text
    assert [item.label for item in stored(labelling) if item.exchange_id == second.exchange_id] == [Label.TIE]
    assert len(stored(labelling)) == 2


async def test_nothing_on_the_pages_says_whose_answer_is_whose(browser, labelling):
    pages = [await browser.get("/"), *[await choose(browser, choice) for choice in ("left", "right", "tie")]]

    secret = [PRODUCTION_MODEL, CANDIDATE_MODEL, "gpt-4o", "zq-candidate", *IDS]
    for page in pages:
        words = re.sub(r"(New answer to|Question) exchange-\d\d", "", page.text)
        assert [word for word in [*secret, "production", "candidate", RUN] if word in words] == []
        assert "[model]" in page.text


async def test_a_side_means_the_same_wherever_it_stands(browser, labelling):
    """What the page shows left is what a label of the left side is about."""
    for _ in range(4):
        item = labelling.standing("ann").next
        page = await browser.get("/")
        left = page.text.index('id="left-title"')
        right = page.text.index('id="right-title"')
        new_is_left = left < page.text.index("New answer to") < right
        await choose(browser, "left")
        [label] = [label for label in stored(labelling) if label.exchange_id == item.exchange_id]
        assert label.label is (Label.WIN if new_is_left else Label.LOSS)
        assert label.shown_first == ("candidate" if new_is_left else "production")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"csrf": "x"}, 409),
        ({"csrf": "\u00e9"}, 409),
        ({"choice": "both"}, 400),
        ({"pair": "0" * 16}, 404),
        ({"pair": ""}, 404),
        ({f"f{i}": "x" for i in range(30)}, 400),
    ],
)
async def test_a_form_that_is_not_ours_stores_nothing(browser, labelling, changes, status):
    answer = await choose(browser, **({"choice": "left"} | changes))

    assert answer.status_code == status
    assert stored(labelling) == []


async def test_a_pair_outside_the_plan_cannot_be_labelled(browser, labelling):
    planned = {item.exchange_id for item in labelling.standing("ann").planned}
    other = next(item for item in IDS if item not in planned)

    assert (await browser.get(f"/pair/{pair_key(other)}")).status_code == 404
    assert (await choose(browser, "left", pair=pair_key(other))).status_code == 404
    assert stored(labelling) == []


@pytest.mark.parametrize("path", ["/static/", "/static/../label_app.py", "/static/label.txt", "/nothing", "/name"])
async def test_there_is_nothing_else_to_see(browser, path):
    answer = await browser.get(path)

    assert answer.status_code == 404
    assert "harness/" not in answer.text


async def test_several_people_are_asked_for_their_names_and_keep_apart(labelling):
    async with browser_of(labelling, labeller=None) as ann, browser_of(labelling, labeller=None) as bob:
        asked = await ann.get("/")
        assert "Who is labelling?" in asked.text
        page = await ann.post("/name", data=fields(asked.text) | {"name": " J\u00fcrgen  M. "})
        assert "Pair 1 of 4" in page.text
        assert "J\u00fcrgen M." in page.text
        await choose(ann, "left")
        asked = await bob.get("/")
        page = await bob.post("/name", data=fields(asked.text) | {"name": "bob"})
        assert "0 of 4 done" in page.text
        await choose(bob, "tie")
    assert sorted(item.labeller for item in stored(labelling)) == ["J\u00fcrgen M.", "bob"]


async def test_a_name_that_cannot_be_read_is_asked_for_again(labelling):
    async with browser_of(labelling, labeller=None) as browser:
        asked = await browser.get("/name")
        answer = await browser.post("/name", data=fields(asked.text) | {"name": "<b>\u202e"})
        assert answer.status_code == 400
        assert "&lt;b&gt;[U+202E]" in answer.text
        assert (await browser.post("/name", data={"name": "eve", "csrf": "x"})).status_code == 409
        assert "Who is labelling?" in (await browser.get("/")).text


async def test_a_form_shown_to_one_name_is_not_counted_under_another(labelling):
    async with browser_of(labelling, labeller=None) as browser:
        asked = await browser.get("/name")
        shown = await browser.post("/name", data=fields(asked.text) | {"name": "ann"})
        await browser.post("/name", data=fields(asked.text) | {"name": "bob"})

        answer = await browser.post("/label", data=fields(shown.text) | {"choice": "left", "note": ""})

    assert answer.status_code == 409
    assert stored(labelling) == []


async def test_a_store_that_is_gone_is_said_and_nothing_is_lost_silently(browser, labelling):
    page = await browser.get("/")
    with labelling.store._database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE labels")

    answer = await browser.post("/label", data=fields(page.text) | {"choice": "left", "note": ""})

    assert answer.status_code == 503
    assert "not stored" in answer.text


async def test_a_pair_that_left_the_store_is_said_to_be_gone(browser, labelling):
    labelling.store.remove_exchanges(RUN, [labelling.standing("ann").next.exchange_id])

    assert (await browser.get("/")).status_code == 410


async def test_a_plan_that_another_process_extends_goes_on_at_once(browser, labelling, store, tmp_path):
    for choice in ("left", "tie", "skip", "right"):
        await choose(browser, choice)
    session = session_of(store, tmp_path)
    prepare_plan(session, labelling.arm, Wish(size=6))

    assert "Pair 5 of 6" in (await browser.get("/")).text
