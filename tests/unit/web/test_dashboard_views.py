"""The dashboard's pages as values and as parts: what is shown of a run, and that nothing hostile comes through."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

import harness.web
from harness.store import Store
from harness.web.admin_ports import AdminPort
from harness.web.dashboard_live import coverage_of, process_of, worker_state
from harness.web.dashboard_pages import Pages, canonical
from harness.web.dashboard_reading import Reading, watched
from harness.web.dashboard_run import criteria_of, head_of, pairs_of, spend_of
from harness.web.stream import NoSuchPageError
from tests.dashboards import HOSTILE, RUN, Progress, live


def view_classes() -> list[tuple[str, ast.ClassDef]]:
    return [
        (f"{path.name}:{node.name}", node)
        for path in sorted(Path(harness.web.__file__).parent.glob("*_views.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    ]


@pytest.mark.parametrize(("name", "node"), view_classes())
def test_every_field_of_a_view_says_what_it_means(name, node):
    fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
    assert fields, name
    for item in fields:
        after = node.body[node.body.index(item) + 1]
        assert isinstance(after, ast.Expr), f"{name}.{ast.unparse(item.target)}"
        assert isinstance(after.value, ast.Constant), f"{name}.{ast.unparse(item.target)}"


@pytest.fixture
def reading(store: Store, tmp_path: Path):
    found = Reading(url=f"sqlite:///{tmp_path}/harness.db")
    yield found
    found.close()


def test_an_offline_run_says_its_decision_its_way_and_its_money(store, reading, tmp_path):
    progress = Progress.begin(store, tmp_path)
    progress.answer(20, same=0.5, failing=2)
    progress.look()
    progress.answer(60, same=0.5)
    verdicts = progress.look()
    found = reading.run(RUN, may_read=False)

    head = head_of(found)
    assert [(one.arm, one.badge.word) for one in head.candidates] == [("small", verdicts["small"].value)]
    criteria = criteria_of(found, "small", 0)
    assert [view.title for view in criteria.criteria] == ["Exact match", "Error rate, difference"]
    assert [view.title.split(",")[0] for view in criteria.sequences] == ["Exact match", "Error rate"]
    assert "every look at once" in criteria.sequences_note
    coverage = coverage_of(found)
    assert coverage.shared is None
    [way] = coverage.arms
    assert all(step.adds_up for step in way.funnel)
    assert [step.count for step in way.funnel] == ["80", "80", "80", "78", "78", "78"]
    spend = spend_of(found)
    assert [[cell.text for cell in row] for row in spend.table.rows] == [
        ["Candidates, in all", "$0.80", "$20.00", "4.0%"], ["Judges, in all", "$0.00", "none", "\N{EN DASH}"],
    ]  # fmt: skip


def test_a_run_of_which_nothing_is_known_yet_says_so(store, reading, tmp_path):
    Progress.begin(store, tmp_path)
    found = reading.run(RUN, may_read=False)
    assert "Nothing is decided yet" in head_of(found).undecided
    assert "has not been read" in coverage_of(found).note
    assert pairs_of(found).note == "No pair has come in yet."
    assert Pages(reading).build((f"/run?id={RUN}", False)).said == ""


def test_a_live_run_without_its_file_says_what_is_not_known(store, reading, tmp_path):
    Progress.begin(store, tmp_path, spooled=True).answer(3)
    found = reading.run(RUN, may_read=False)
    process = process_of(found)
    assert {fact.label: fact.value for fact in process.facts} == {
        "Gateway": "not known", "Worker": "not known", "Mirroring": "not known",
    }  # fmt: skip
    assert (process.breakers, process.alerts) == (None, ())
    assert "name the live file" in process.alerts_note
    assert "not known here" in coverage_of(found).note
    assert [row[2].text for row in spend_of(found).table.rows] == ["$20.00", "none", "not known", "not known"]


TOLD = {
    "run_id": RUN, "at": "2026-05-04T08:00:00+00:00", "started_at": "2026-05-04T07:00:00+00:00", "lag_bytes": 1_234,
    "arms": [
        {"arm": "small", "role": "candidate", "model": "openai/small", "breaker": "open", "in_flight": 3,
         "spent_today_usd": 0.5},
    ],
}  # fmt: skip


def test_a_live_run_shows_what_its_processes_say(store, tmp_path, monkeypatch):
    Progress.begin(store, tmp_path, spooled=True).answer(3)
    own = watched(live(tmp_path))
    own = replace(own, worker=AdminPort(name="worker", host="127.0.0.1", port=1))
    monkeypatch.setattr(AdminPort, "status", lambda self: TOLD if self.name == "worker" else None)
    reading = Reading(url=f"sqlite:///{tmp_path}/harness.db", lives=[own])
    found = reading.run(RUN, may_read=False)
    process = process_of(found)
    assert {fact.label: fact.value for fact in process.facts}["Worker"] == "running"
    assert process.breakers is not None
    [row] = process.breakers.rows
    assert (row[0].text, row[1].badge.word, row[2].badge.word, row[3].text) == ("small", "open", "waits", "3")
    assert [(alert.kind, alert.subject) for alert in process.alerts] == [("breaker open", "small")]
    coverage = coverage_of(found)
    assert coverage.shared is not None
    assert [step.label for step in coverage.shared.funnel][:2] == ["Requests at the gateway", "Eligible"]
    assert [row[2].text for row in spend_of(found).table.rows] == ["$20.00", "none", "$5.00", "none"]
    reading.close()


def test_what_another_version_says_is_not_known():
    assert worker_state(TOLD) is not None
    assert worker_state({**TOLD, "arms": [{"arm": 1}]}) is None
    assert worker_state(None) is None


def test_texts_are_for_those_who_have_the_token(store, reading, tmp_path):
    Progress.begin(store, tmp_path).answer(4, question="My secret number is {n}.")
    anybody = pairs_of(reading.run(RUN, may_read=False))
    assert {line.href for line in anybody.lines} == {""}
    for key in ((f"/run?id={RUN}", False), ("/", False), ("/", True)):
        html = "".join(part.html for part in Pages(reading).build(key).parts)
        assert "secret" not in html
        assert "exchange-0" not in html
    mine = pairs_of(reading.run(RUN, may_read=True))
    assert mine.lines[0].title == "My secret number is 3."
    assert mine.lines[0].href == f"/pair?run={RUN}&arm=small&exchange=exchange-00003"


def test_an_experiment_that_shows_no_text_shows_none_to_anybody(store, reading, tmp_path):
    Progress.begin(store, tmp_path, report={"show_text": False}).answer(2, question="My secret number is {n}.")
    lines = pairs_of(reading.run(RUN, may_read=True))
    assert "report.show_text" in lines.note
    assert {line.href for line in lines.lines} == {""}
    with pytest.raises(NoSuchPageError, match="not to be shown"):
        reading.pair(RUN, "small", "exchange-00000")


def test_hostile_texts_stay_text(store, reading, tmp_path):
    Progress.begin(store, tmp_path).answer(2, question=HOSTILE.replace("{", "(") + "{n}", text=HOSTILE)
    html = "".join(part.html for part in Pages(reading).build((f"/run?id={RUN}", True)).parts)
    assert "<script" not in html
    assert "<img" not in html
    assert "\u202e" not in html
    assert "[U+202E]" in html


def test_an_experiment_of_another_version_is_still_a_page(store, reading, tmp_path):
    progress = Progress.begin(store, tmp_path)
    progress.answer(2)
    progress.look()
    run = progress.session.run
    store.save_run(replace(run, experiment={"no": "experiment"}))
    built = Pages(reading).build((f"/run?id={RUN}", True))
    html = "".join(part.html for part in built.parts)
    assert "stored by another version" in html
    assert "Exact match" in html, "the decision is there all the same"


def test_a_page_has_one_address():
    assert canonical("/run?id=a%2Fb&x=1#y") == canonical("/run?x=2&id=a%2Fb") == "/run?id=a%2Fb"
    assert canonical("/?x=1") == "/"
    assert canonical("/rollout?live=shop&live=other") == "/rollout?live=shop"
    for address in ("/other", "//evil.example/run?id=a", "", "http://[", "/run?" + "a=1&" * 100):
        with pytest.raises(NoSuchPageError):
            canonical(address)
