"""The page of a rollout: what it says, that it is inert and bounded, and that it says "not recorded"."""

import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import pairwise
from random import Random
from types import SimpleNamespace

import pytest

from harness.domain.rollout import EventKind
from harness.domain.rollout_report import PairLink, RolloutReport, RunLink
from harness.errors import InputError
from harness.rollout.reporting import Look, report_of
from reports import load_rollout_json, render_rollout_html, render_rollout_json
from reports.glossary import anchor_of
from reports.page_rollout import MAX_EVENTS, view_of
from reports.page_rollout_parts import figure, lasted, planned, run_link
from reports.rollout_words import CHECKS, GLOSSARY, USED
from reports.views_ramp import LETTER
from tests.unit.reports.page_reader import Page
from tests.unit.rollout import histories
from tests.unit.rollout.factory import BEGIN, POLICY, event, history_up_to, started

SAMPLES = ("completed", "rolled_back", "waiting", "asked", "long", "hostile")
HOUR = timedelta(hours=1)


@cache
def sample(name: str) -> RolloutReport:
    return histories.report(getattr(histories, name)())


@cache
def rendered(name: str) -> str:
    return render_rollout_html(sample(name))


@cache
def read(name: str) -> Page:
    return Page.of(rendered(name))


def bare(events, *, at=BEGIN + 9 * HOUR, policy=POLICY, **more) -> RolloutReport:
    course = histories.Course()
    course.events = list(events)
    return report_of(replace(course.record, id="r1"), policy, course.events, at=at, **more)


def spaced(text: str) -> str:
    """With ordinary spaces."""
    return text.replace("\N{NO-BREAK SPACE}", " ")


# The document


@pytest.mark.parametrize("name", SAMPLES)
def test_every_tag_is_closed_and_every_anchor_leads_somewhere(name):
    page = read(name)
    assert page.open == []
    ids = Counter(tag.attributes["id"] for tag in page.tags if "id" in tag.attributes)
    assert [name for name, count in ids.items() if count > 1] == []
    targets = {tag.attributes["href"][1:] for tag in page.tags if tag.attributes.get("href", "").startswith("#")}
    labels = {name for tag in page.tags for name in tag.attributes.get("aria-labelledby", "").split()}
    assert targets | labels <= set(ids)
    levels = [int(tag.name[1]) for tag in page.named("h1", "h2", "h3", "h4", "h5", "h6")]
    assert (levels[0], levels.count(1)) == (1, 1)
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("name", SAMPLES)
def test_nothing_runs_and_nothing_is_loaded(name):
    page = read(name)
    assert not page.named("script", "img", "iframe", "link", "object", "embed", "base", "form", "video", "image")
    for tag in page.tags:
        assert not [key for key in tag.attributes if key.startswith("on") or key in {"src", "srcset", "style"}], tag
        href = tag.attributes.get("href", "#")
        assert href.startswith(("#", "../swap-live/report.html")), tag
    assert re.search(r"@import|url\((?!#)", page.style) is None
    patterns = {tag.attributes["fill"] for tag in page.tags if "url(" in tag.attributes.get("fill", "")}
    assert patterns <= {"url(#shade-hold)", "url(#shade-paused)"}
    [policy] = [tag.attributes["content"] for tag in page.named("meta") if "http-equiv" in tag.attributes]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")


def test_the_same_value_gives_the_same_bytes():
    again = histories.report(histories.completed())
    assert render_rollout_html(again) == rendered("completed")
    assert render_rollout_json(again) == render_rollout_json(sample("completed"))


def test_hostile_words_are_text():
    html, page = rendered("hostile"), read("hostile")
    assert "<script" not in html
    assert "\u202e" not in html
    assert "\x1b" not in html
    assert "[U+202E]gnp.exe" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "Cut for display: 2,000 of" in page.text


def test_text_that_no_file_can_hold_is_shown_as_what_it_is():
    report = bare([started(actor="Ada \ud800", reason="because \x00\ud83d", evidence={"asks": "\udfff"})])
    assert b"[U+D800]" in render_rollout_html(report).encode()
    assert render_rollout_json(report).encode()


# What it says


def test_the_first_screen_of_a_rollout_that_is_through():
    view = view_of(sample("completed"))
    assert (view.title, view.badge.word) == ("Rollout of small-model", "COMPLETED")
    assert spaced(view.sentence) == (
        "Completed on 2026-03-09 00:22 UTC, 6 d 16 h after its start. The candidate serves 95% of the conversations "
        "now, production the other 5%."
    )
    assert view.warnings == ()
    facts = {fact.label: fact for fact in view.facts}
    assert (facts["Candidate serves now"].value, facts["Spent"].value) == ("95%", "$46.55")
    assert (facts["Approved"].value, facts["Started"].note) == ("Grace Okafor", "by Ada Lindqvist")
    assert facts["Conversations drawn for the candidate"].value == "39,742"


def test_the_first_screen_of_one_that_was_rolled_back_says_why_and_that_production_serves_everybody():
    view = view_of(sample("rolled_back"))
    assert (view.badge.word, view.badge.tone) == ("ROLLED BACK", "bad")
    assert view.sentence.startswith(
        "Rolled back in canary_25 on 2026-03-04 03:58 UTC by the controller: 120 of 176 failed conversations are the "
        "candidate's, 88.0 are its share;"
    )
    assert view.sentence.endswith(" Production serves everybody.")
    rows = {row.name: row for row in view.phases}
    assert (rows["canary_25"].badge.word, rows["canary_25"].by.href) == ("rolled back here", "#e11")
    assert (rows["canary_5"].badge.word, rows["canary_50"].badge.word) == ("passed", "not reached")
    [decided] = [check for check in view.events[0].checks if check.decided]
    assert (decided.name, decided.badge.word) == ("sequential.errors", "roll back")
    assert view.events[0].checks_title == "18 checks, 3 objections"
    assert view.events[0].is_open
    assert not any(event.is_open for event in view.events[1:])


def test_one_that_goes_on_says_what_it_waits_for():
    course = histories.waiting()
    evidence = {"checks": [{"name": "minimum.evidence", "speaks_for": "wait",
                            "sentence": "812 of at least 5,000 conversations per arm."}]}  # fmt: skip
    plain, looked = (
        histories.report(course),
        histories.report(course, latest=Look(at=course.at + HOUR, evidence=evidence)),
    )
    assert view_of(plain).sentence == (
        "In phase canary_25, number 6 of 8, since 2026-03-04 00:34 UTC. The candidate serves 25% of the conversations "
        "now, production the other 75%."
    )
    assert spaced(view_of(plain).next) == (
        "Goes on when the gate safe is passed, after at least 5,000 conversations per arm and 12 h."
    )
    assert view_of(looked).next == (
        "Does not go on yet: 812 of at least 5,000 conversations per arm. Looked at 2026-03-04 01:34 UTC."
    )


def test_one_that_waits_for_people_names_them():
    view = view_of(sample("asked"))
    assert view.sentence.startswith("Waits since 2026-03-05 13:58 UTC for somebody to approve what follows canary_50: ")
    assert "anybody who gives a name may" in view.sentence
    assert view.sentence.endswith("The candidate serves 50% of the conversations now, production the other 50%.")
    assert view.approvals.rows[-1][-1].badge.word == "awaited"
    named = POLICY.model_copy(update={"approvals": POLICY.approvals.model_copy(update={"people": ["Grace", "Ada"]})})
    course = histories.asked()
    course.policy = named
    assert "canary_50: Grace, Ada may." in view_of(histories.report(course)).sentence


@pytest.mark.parametrize(
    ("kind", "phase", "actor", "words"),
    [
        (EventKind.STOPPED, "shadow_25", "controller", ("Stopped in shadow_25", "by the controller: because. No user")),
        (EventKind.EXPIRED, "canary_5", "controller", ("Expired in canary_5", "Production serves everybody.")),
        (EventKind.HELD, "canary_5", "controller", ("On hold in canary_5", "goes on by itself", "serves 5% of")),
        (EventKind.PAUSED, "shadow_5", "Ada", ("Paused in shadow_5 by Ada", "because.", "copies of 5%")),
        (EventKind.ROLLED_BACK, "canary_5", "Ada", ("Rolled back in canary_5", "by Ada: because.")),
    ],
)
def test_every_standing_has_its_sentence(kind, phase, actor, words):
    events = history_up_to(phase)
    events.append(event(len(events) + 1, kind, phase=phase, at=BEGIN + HOUR, actor=actor))
    sentence = view_of(bare(events)).sentence
    assert all(word in sentence for word in words), sentence


def test_what_is_not_recorded_is_said_to_be_so_and_no_number_is_made_up():
    text = Page.of(render_rollout_html(bare([*history_up_to("canary_5")]))).text
    assert "$0.00" not in text
    for words in (
        "How many conversations the candidate answered is not recorded.",
        "Spent not recorded",
        "Attempt not recorded",
        "Whether hooks, actuators or alerts were run is not recorded.",
        "no event recorded it",
        "Nobody has been asked yet.",
        "No report of a run was given, so no pair can be linked.",
        "conversations per arm not recorded",
    ):
        assert words in text, words


def test_a_rollout_that_has_just_begun_has_no_picture_yet():
    view = view_of(bare([started()], at=BEGIN))
    assert view.ramps == ()
    assert "No time has passed yet." in render_rollout_html(bare([started()], at=BEGIN))


def test_warnings_are_on_the_first_screen():
    course = histories.waiting()
    course.policy = POLICY.model_copy(
        update={"rollback": POLICY.rollback.model_copy(update={"automatic": False, "alpha": 0.005})}
    )
    course.actions.append(SimpleNamespace(number=0, name="severe:pii-7", begun_at=course.at, done_at=course.at,
                                          outcome="a card number in an answer"))  # fmt: skip
    control = SimpleNamespace(held_until=None, halted_at=None, halted_reason=None)
    course.events[3] = replace(
        course.events[3],
        evidence=course.events[3].evidence | {"configuration_sha256": "0" * 64, "alpha": {"attempt_alpha": 0.5}},
    )
    view = view_of(histories.report(course, control=control))
    said = " ".join(view.warnings)
    for words in ("gateways serve it to nobody: No controller holds", "1 severe event was reported: a card number",
                  "may not roll back by itself", "another configuration", "alpha ledger changed"):  # fmt: skip
        assert words in said, words
    assert {fact.label: fact.value for fact in view.facts}["Candidate serves now"] == "nobody"


def test_a_test_asked_at_another_alpha_than_the_ledger_gives_is_found():
    course = histories.rolled_back()
    last = course.events[-1]
    tests = last.evidence["alpha"] | {"tests": {"sequential.errors": 0.5}}
    course.events[-1] = replace(last, evidence={**last.evidence, "alpha": tests})
    assert "asked at another alpha" in " ".join(view_of(histories.report(course)).warnings)
    assert "asked at another alpha" not in " ".join(view_of(sample("rolled_back")).warnings)


def test_the_alpha_ledger_adds_up_and_shows_how_far_the_evidence_went():
    table = view_of(sample("rolled_back")).alpha
    assert [row[1].text for row in table.rows] == ["0.167%", "0.167%", "0.167%", "0.5%"]
    assert table.rows[0][2].text == "e-value over 10,000 of 600 needed"
    assert table.rows[1][2].text.startswith("lower bound ")


@pytest.mark.parametrize("seed", range(40))
def test_any_history_gives_a_page(seed):
    """Whatever kinds, actors and clocks: also what a broken controller, or one of another version, would write."""
    draw = Random(seed)
    names = [phase.name for phase in POLICY.steps]
    events, at, place = [started()], BEGIN, 0
    for number in range(2, draw.randrange(3, 40)):
        kind = draw.choice([kind for kind in EventKind if kind is not EventKind.STARTED])
        place = min(place + (kind is EventKind.ADVANCED), len(names) - 1)
        at += timedelta(seconds=draw.choice([0, 1, 600, 90_000, -30]))
        evidence = draw.choice([{}, {"asks": "approval"}, {"spend_usd": draw.random()}, {"checks": [{"name": "gate"}]}])
        events.append(event(number, kind, phase=names[place], at=at, actor=draw.choice(["controller", "Ada"]),
                            evidence=evidence))  # fmt: skip
    report = bare(events, at=at + draw.choice([0, 5, 1_000]) * HOUR)
    page = Page.of(render_rollout_html(report))
    assert page.open == []
    assert f"{len(events)} event" in page.text
    assert json.loads(render_rollout_json(report))["number"] == len(events)
    assert all(before.end == after.begin <= after.end for before, after in pairwise(report.stretches))
    spent = sum(stretch.end.timestamp() - stretch.begin.timestamp() for stretch in report.stretches)
    assert spent == pytest.approx((report.at - report.started_at).total_seconds())


def test_names_of_phases_as_long_as_they_may_be_leave_room_for_the_picture():
    name = "a" + "-very-long-name-of-a-phase" * 3
    phases = [section.model_copy(update={"name": f"{index}{name}"}) for index, section in enumerate(POLICY.phases)]
    policy = POLICY.model_copy(update={"phases": phases})
    events = [started(phase=phases[0].name)]
    events += [event(n, EventKind.ADVANCED, phase=phases[n - 1].name, at=BEGIN + n * HOUR) for n in range(2, 9)]
    for ramp in view_of(bare(events, at=BEGIN + 8 * HOUR + timedelta(seconds=1), policy=policy)).ramps:
        assert ramp.right - ramp.left > 0.35 * ramp.width
        assert all(band.x + LETTER * ramp.font * len(band.label) <= ramp.width for band in ramp.bands)


# Bounds


def test_a_long_history_gives_a_bounded_page_and_the_json_has_all_of_it():
    report, html = sample("long"), rendered("long")
    view = view_of(report)
    assert len(report.entries) > 4_000
    assert len(view.events) == MAX_EVENTS
    assert view.events[0].number == str(report.number)
    assert f"the {report.number - MAX_EVENTS:,} before them are counted here" in view.events_note
    assert len(html.encode()) < 1_700_000
    assert len(view.actions.rows) <= 200
    assert len(view.ramp_table.rows) <= 200
    assert len(json.loads(render_rollout_json(report))["entries"]) == report.number
    assert all(len(ramp.shades) < ramp.width for ramp in view.ramps)
    # The event that a phase ended with may be no longer on the page; then it is not linked.
    assert next(row for row in view.phases if row.name == "canary_5").by is None


# The picture


@pytest.mark.parametrize("name", SAMPLES)
def test_the_picture_stays_inside_its_frame(name):
    for ramp in view_of(sample(name)).ramps:
        for band in ramp.bands:
            assert ramp.left <= band.x <= band.x + band.width <= ramp.right + 0.2
            assert 8 <= band.label_y < ramp.top
            assert band.x + LETTER * ramp.font * len(band.label) <= ramp.width
        for mark in ramp.marks:
            assert ramp.left - 8 <= mark.x <= ramp.right - 6
            assert ramp.bottom < mark.y < ramp.lane_bottom
        numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*", ramp.served + ramp.mirrored)]
        assert min(numbers) >= 0
        assert max(numbers) <= ramp.width


def test_names_of_short_phases_do_not_touch():
    for ramp in view_of(sample("completed")).ramps:
        rows: dict[float, list] = {}
        for band in ramp.bands:
            rows.setdefault(band.label_y, []).append(band)
        for bands in rows.values():
            for left, right in pairwise(bands):
                assert left.x + LETTER * ramp.font * len(left.label) < right.x


def test_no_line_that_leads_down_crosses_a_name():
    for name in SAMPLES:
        for ramp in view_of(sample(name)).ramps:
            for band in ramp.bands:
                for other in ramp.bands:
                    inside = other.x < band.x < other.x + LETTER * ramp.font * len(other.label)
                    assert not (inside and band.label_y < other.label_y), (name, ramp.id, band.label, other.label)


def test_shares_are_steps_at_their_heights():
    ramp = view_of(sample("rolled_back")).ramps[0]
    heights = [float(point.split(",")[1]) for point in ramp.served[1:].split("L")]
    share = [round((ramp.bottom - y) / (ramp.bottom - ramp.top), 2) for y in heights]
    assert list(dict.fromkeys(share)) == [0, 0.05, 0.25]
    assert share[-1] == 0
    assert ramp.mirrored.count("M") == 1
    assert [key.word for key in ramp.keys][:4] == [
        "conversations served by the candidate", "requests mirrored to it", "on hold", "paused",
    ]  # fmt: skip


# Links


@pytest.mark.parametrize(
    ("href", "anchor", "leads"),
    [
        ("../swap-live/report.html", "c1-worst-1", "../swap-live/report.html#c1-worst-1"),
        ("https://reports.example.org/x.html", "", "https://reports.example.org/x.html"),
        ("javascript:alert(1)", "", None),
        ("JavaScript:alert(1)", "", None),
        (" javascript:alert(1)", "", None),
        ("data:text/html,x", "", None),
        ("//elsewhere.example", "", None),
        ("\\\\host\\share", "", None),
        ("", "", None),
        ("report.html", "x onclick", None),
        ("report.html?x", "c1", "report.html?x#c1"),
    ],
)
def test_links_lead_to_pages_and_to_nothing_else(href, anchor, leads):
    found = run_link(RunLink(run_id="r", href=href), "text", anchor)
    assert (found.href if found else None) == leads


def test_pairs_are_linked_by_the_anchors_of_the_run_report():
    page = read("completed")
    hrefs = [tag.attributes["href"] for tag in page.named("a")]
    assert "../swap-live/report.html#c1-worst-0a1b2c3d4e" in hrefs
    many = (replace(histories.RUNS[0], pairs=tuple(PairLink(anchor=f"c1-{n}", title="x") for n in range(500))),)
    view = view_of(histories.report(histories.completed(), runs=many))
    assert len(view.runs[0].pairs) == 40


# JSON


def test_the_json_has_the_numbers_of_the_page():
    saved = json.loads(render_rollout_json(sample("rolled_back")))
    assert saved["schema"] == 1
    assert saved["status"] == "rolled_back"
    assert (saved["served_share"], saved["mirror_rate"], saved["spend_usd"]) == (0, None, 33.85)
    assert saved["affected"][-1]["candidate"] == {"begun": 5731, "failed": 112, "failed_share": 112 / 5731}
    assert [test["alpha"] for test in saved["alpha"]["tests"]] == [0.005 / 3] * 3
    canary = next(item for item in saved["phases"] if item["phase"]["name"] == "canary_25")
    assert (canary["ran_s"], canary["evidence_n"], canary["outcome"]) == (3.4 * 3600, 5731, "ended")
    assert len(saved["entries"]) == saved["number"]
    assert saved["entries"][-1]["checks"][4]["name"] == "sequential.errors"
    assert saved["configuration"]["rollback"]["alpha"] == 0.01
    assert (saved["candidate_total"]["begun"], saved["control_total"]["failed"]) == (6935, 56)
    assert (saved["spend_share"], saved["alpha"]["tests_alpha"]) == (pytest.approx(0.3385), pytest.approx(0.005))


def test_whoever_has_the_json_can_check_the_hash_of_the_history():
    for name in ("rolled_back", "completed"):
        report = sample(name)
        saved = json.loads(render_rollout_json(report))
        events = [
            {key: entry[key] for key in ("number", "kind", "phase", "at", "actor", "reason")}
            | {"rollout_id": saved["rollout_id"], "evidence": entry["evidence"] | ({"checks": entry["checks"]}
               if entry["checks"] else {})}
            for entry in saved["entries"]
        ]  # fmt: skip
        text = json.dumps(events, sort_keys=True, separators=(",", ":"))
        assert hashlib.sha256(text.encode()).hexdigest() == saved["history_sha256"] == report.history_sha256


@pytest.mark.parametrize("name", SAMPLES)
def test_a_saved_report_renders_again_without_the_store(name):
    saved = render_rollout_json(sample(name))
    again = load_rollout_json(saved)
    assert render_rollout_html(again) == rendered(name)
    assert render_rollout_json(again) == saved


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a saved report of a rollout"),
        ("[]", "no schema number"),
        ('{"schema": 2}', "no rollout"),
        ('{"schema": 99, "rollout_id": "r"}', "upgrade"),
        ('{"schema": 1, "rollout_id": "r"}', "Field required"),
    ],
)
def test_what_is_no_report_of_a_rollout_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        load_rollout_json(text)


def test_what_was_given_up_and_another_artefact_are_said_first():
    course = histories.waiting()
    course.actions[1].outcome = "given up: hook change-calendar: no answer within 30 s"
    course.events[4] = replace(course.events[4], evidence={**course.events[4].evidence, "fingerprint": "f" * 64})
    view = view_of(histories.report(course))
    said = " ".join(view.warnings)
    assert "1 hook, actuator or alert was given up: hook:" in said
    assert "Another artefact of the candidate is recorded from event 5 on." in said
    assert "given up" in {row[-1].badge.word for row in view.actions.rows if row[-1].badge}


def test_checks_that_could_not_be_read_are_kept_as_they_were():
    odd = {"checks": [{"name": "gate", "speaks_for": None, "sentence": "x", "figures": {"n": "many"}}, 7]}
    report = bare([started(), event(2, EventKind.HELD, phase="calibration", evidence=odd)])
    assert json.loads(render_rollout_json(report))["entries"][1]["evidence"] == odd


# Words


def test_every_word_that_a_section_uses_has_a_meaning():
    assert {word for used in USED.values() for word in used} <= set(GLOSSARY)
    anchors = [anchor_of(word) for word in GLOSSARY]
    assert len(set(anchors)) == len(anchors)


def test_every_check_of_a_ruling_has_a_name_in_words():
    seen = {check.name for name in SAMPLES[:5] for entry in sample(name).entries for check in entry.checks}
    assert len(seen) >= 15
    assert seen <= set(CHECKS)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3_599, "59 min"), (3_600, "1 h"), (12_240, "3 h 24 min"),
     (86_400, "1 d"), (187_200, "2 d 4 h"), (-5, "0 s")],
)  # fmt: skip
def test_a_length_of_time_in_words(seconds, words):
    assert spaced(lasted(seconds)) == words


def test_planned_lengths_and_figures():
    assert [spaced(planned(s)) for s in (30, 5_400, 259_200, 604_800)] == ["30 s", "1.5 h", "3 d", "7 d"]
    assert [figure(v) for v in (12_240.0, 0.001667, 1e20, -2.5)] == ["12,240", "0.001667", "1e+20", "-2.5"]
