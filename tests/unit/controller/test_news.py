"""What is told of an event says what it means for users."""

import json

import pytest

from harness.controller.news import news_of
from harness.controller.telling import text_of, title_of
from harness.domain.rollout import EventKind
from tests.unit.controller.happening import event, news, policy


@pytest.mark.parametrize(
    ("kind", "phase", "share"),
    [
        (EventKind.ADVANCED, "canary_5", 0.05),
        (EventKind.COMPLETED, "full", 0.95),
        (EventKind.HELD, "canary_25", 0.25),       # users go on being served
        (EventKind.PAUSED, "canary_25", 0.25),
        (EventKind.ROLLED_BACK, "canary_25", 0.0),
        (EventKind.EXPIRED, "canary_25", 0.0),
        (EventKind.STOPPED, "shadow_5", 0.0),
        (EventKind.ADVANCED, "shadow_100", 0.0),   # nobody sees the answers
        (EventKind.ADVANCED, "of_another_file", 0.0),
    ],
)  # fmt: skip
def test_the_share_is_what_users_are_served_after_it(kind, phase, share):
    assert news(kind, phase=phase).share == share


def test_the_document_is_json_and_holds_the_evidence():
    told = news(evidence={"checks": [{"name": "gate", "figures": {"n": 5.5}}]}).document()
    assert json.loads(json.dumps(told)) == told
    assert (told["event"], told["rollout"], told["number"]) == ("advanced", "swap-1", 7)
    assert told["evidence"]["checks"][0]["figures"] == {"n": 5.5}


@pytest.mark.parametrize("kind", EventKind)
def test_roll_backs_stops_expiries_and_pauses_are_bad_news(kind):
    bad = {EventKind.ROLLED_BACK, EventKind.STOPPED, EventKind.EXPIRED, EventKind.PAUSED}
    assert news(kind).is_bad is (kind in bad)


@pytest.mark.parametrize("kind", EventKind)
def test_every_event_has_a_title_with_its_number(kind):
    title = title_of(news(kind))
    assert title.startswith("shop rollout swap-1: ")
    assert title.endswith(" (#7)")
    assert "{" not in title


def test_a_pause_for_approval_says_so():
    assert "asks for approval" in title_of(news(EventKind.PAUSED, evidence={"asks": "approval"}))
    assert "paused in canary_5" in title_of(news(EventKind.PAUSED))


def test_a_message_says_phase_reason_and_figures_worst_first():
    checks = [
        {"name": "gate", "speaks_for": "advance", "sentence": "The gate says go.", "figures": {}},
        {"name": "breaker.errors", "speaks_for": None, "sentence": "12 of 900 failed.", "figures": {}},
    ]
    text = text_of(news(EventKind.ROLLED_BACK, reason="Errors: 31 of 40.", evidence={"checks": checks}))
    assert text.splitlines() == [
        "Errors: 31 of 40.",
        "",
        "Candidate small, phase canary_5, serves 0 of the conversations.",
        "By controller at 2026-01-02 03:04:05 UTC.",
        "",
        "- The gate says go.",
        "- 12 of 900 failed.",
    ]


def test_a_long_list_of_figures_is_cut_and_says_so():
    checks = [{"sentence": f"Check {number}."} for number in range(40)]
    lines = text_of(news(evidence={"checks": checks})).splitlines()
    assert lines[-1].startswith("- and 28 more")


@pytest.mark.parametrize("checks", [None, 3, "x", [None, 1], {}])
def test_evidence_of_another_form_is_left_out(checks):
    assert text_of(news(evidence={"checks": checks})).endswith("UTC.")


def test_a_reason_that_no_encoding_can_say_is_told_all_the_same():
    text_of(news(reason="\udc80")).encode()
    title_of(news_of(event(), live="sh\udc80p", candidate="c", phases=policy().steps)).encode()
