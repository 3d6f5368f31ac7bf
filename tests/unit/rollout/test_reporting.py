"""From histories to the value the report is rendered from."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from harness.domain.rollout import EventKind, RolloutStatus
from harness.domain.rollout_report import ApprovalState, PhaseOutcome
from harness.errors import InfrastructureError
from harness.rollout.history import state_of, states_of
from harness.rollout.reporting import Look, history_sha256, report_of
from tests.unit.rollout import histories
from tests.unit.rollout.factory import BEGIN, PHASES, POLICY, event, history_up_to, started

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def completed():
    return histories.report(histories.completed())


@pytest.fixture(scope="module")
def rolled_back():
    return histories.report(histories.rolled_back())


def bare(events, *, at=BEGIN + 9 * HOUR, **more):
    course = histories.Course()
    course.events = list(events)
    return report_of(replace(course.record, id="r1"), POLICY, course.events, at=at, **more)


def phase(report, name):
    return next(entry for entry in report.phases if entry.phase.name == name)


def test_states_after_each_event_are_the_states_of_what_came_before():
    events = histories.completed().events
    assert states_of(reversed(events), PHASES) == [
        state_of(events[:n], PHASES) for n in range(1, len(events) + 1)
    ]  # fmt: skip


def test_a_rollout_that_is_through(completed):
    assert (completed.status, completed.phase, completed.served_share) == (RolloutStatus.COMPLETED, "full", 0.95)
    assert {entry.outcome for entry in completed.phases} == {PhaseOutcome.PASSED}
    assert [entry.entered_by for entry in completed.phases][:2] == [1, 2]
    assert completed.phases[-1].left_by == completed.number == len(completed.entries)
    assert completed.number == completed.entries[-1].number


def test_a_phase_runs_without_its_holds_and_pauses(completed):
    canary, shadow = phase(completed, "canary_25"), phase(completed, "shadow_25")
    assert (canary.paused_s, canary.pauses, canary.held_s, canary.holds) == (9 * 3600, 1, 0, 0)
    assert canary.ran_s == 13 * 3600
    assert (canary.left_at - canary.entered_at).total_seconds() == canary.ran_s + canary.paused_s
    assert (shadow.held_s, shadow.holds) == (pytest.approx(0.7 * 3600), 1)
    assert (canary.evidence_n, shadow.evidence_n) == (5_731, 2_310)


def test_a_phase_says_by_which_sentence_it_was_passed_or_ended(completed, rolled_back):
    assert phase(completed, "shadow_100").sentence == "go: GO: all 4 criteria pass on 10,412 pairs."
    ended = phase(rolled_back, "canary_25")
    assert ended.outcome is PhaseOutcome.ENDED
    assert ended.sentence.startswith("120 of 176 failed conversations are the candidate's")
    assert phase(rolled_back, "full").outcome is PhaseOutcome.NOT_REACHED
    assert rolled_back.entries[-1].objections[0].name == "sequential.errors"
    assert rolled_back.served_share == 0


def test_shares_follow_one_another_without_a_gap(completed, rolled_back):
    for report in (completed, rolled_back):
        assert report.stretches[0].begin == report.started_at
        assert report.stretches[-1].end == report.at
        for before, after in zip(report.stretches, report.stretches[1:], strict=False):
            assert before.end == after.begin
    assert [s.served_share for s in rolled_back.stretches][-2:] == [0.25, 0.0]
    assert {s.mirror_rate for s in completed.stretches if s.served_share} == {None}


def test_approvals_know_who_was_asked_on_what_and_which_event_used_it(completed):
    first, second = completed.approvals
    assert (first.phase, first.approved_by, first.state) == ("shadow_100", "Grace Okafor", ApprovalState.USED)
    asked = completed.entries[first.asked_by - 1]
    assert (asked.kind, asked.evidence_sha256) == (EventKind.PAUSED, first.evidence_sha256)
    assert completed.entries[first.used_by - 1].phase == "canary_5"
    assert (first.approved_at - first.asked_at).total_seconds() == 2.6 * 3600
    assert second.phase == "canary_50"


def test_an_approval_nobody_answers_or_that_nobody_uses():
    course = histories.Course()
    course.start()
    for name in ("shadow_5", "shadow_25", "shadow_100"):
        course.events.append(event(len(course.events) + 1, EventKind.ADVANCED, phase=name, at=course.at))
    course.events = [replace(e, rollout_id=course.rollout_id) for e in course.events]
    course.at += 30 * HOUR
    course.rule(course.evidence())
    report = histories.report(course)
    [asked] = report.approvals
    assert (report.asks_approval, asked.state, asked.approved_by) == (True, ApprovalState.AWAITED, None)
    course.people("approve", "Grace", "fine")
    assert histories.report(course).approvals[0].state is ApprovalState.VALID
    assert histories.report(course, at=course.at + 73 * HOUR).approvals[0].state is ApprovalState.LAPSED
    course.people("abort", "Ada", "not now")
    assert histories.report(course).approvals[0].state is ApprovalState.LAPSED


def test_conversations_and_spend_are_those_recorded_last(completed, rolled_back):
    assert [item.phase for item in completed.affected] == ["canary_5", "canary_25", "canary_50", "full"]
    worst = rolled_back.affected[-1]
    assert (worst.candidate.begun, worst.candidate.failed) == (5_731, 112)
    assert worst.difference == pytest.approx(112 / 5_731 - worst.control.failed / 5_731)
    assert worst.number == rolled_back.number
    spent = {item.phase: item for item in completed.spend}
    assert spent["calibration"].phase_usd == spent["calibration"].total_usd == 2.1
    assert sum(item.phase_usd for item in completed.spend) == pytest.approx(completed.spend_usd)
    assert completed.spend_usd == completed.spend[-1].total_usd


def test_what_a_phase_cost_is_unknown_when_what_it_began_with_is():
    events = history_up_to("shadow_25")
    events.append(event(4, EventKind.HELD, phase="shadow_25", evidence={"spend_usd": 4.0}))
    [item] = bare(events).spend
    assert (item.phase, item.total_usd, item.phase_usd) == ("shadow_25", 4.0, None)


def test_the_alpha_ledger(completed, rolled_back):
    ledger = completed.alpha
    assert (ledger.attempt, ledger.attempt_alpha, ledger.configured_alpha, ledger.changes) == (1, 0.005, 0.01, 0)
    assert sum(test.alpha for test in ledger.tests) == pytest.approx(0.005)
    errors = rolled_back.alpha.tests[0]
    assert errors.name == "sequential.errors"
    assert errors.check.figures["log_e"] >= errors.check.figures["threshold"]
    assert errors.number == rolled_back.number


def test_an_alpha_ledger_that_changes_on_the_way_is_counted():
    events = [
        started(evidence={"alpha": {"attempt": 1, "attempt_alpha": 0.01}}),
        event(
            2, EventKind.HELD, phase="calibration", evidence={"alpha": {"attempt_alpha": 0.02, "tests": {"a": 0.02}}}
        ),
        event(3, EventKind.RESUMED, phase="calibration", evidence={"alpha": {"tests": {"a": 0.03}}}),
    ]
    report = bare(events)
    assert report.alpha.changes == 2
    assert [test.name for test in report.alpha.tests][-1] == "a"


def test_the_least_history_invents_nothing():
    report = bare([started()])
    assert (report.status, report.spend_usd, report.affected, report.approvals, report.spend) == (
        RolloutStatus.RUNNING, None, (), (), ()
    )  # fmt: skip
    assert (report.alpha.attempt, report.alpha.attempt_alpha) == (None, None)
    assert {test.alpha for test in report.alpha.tests} == {None}
    assert report.configuration_matches == 0
    assert phase(report, "calibration").ran_s == 9 * 3600


@pytest.mark.parametrize(
    "evidence",
    [
        {"checks": "none", "alpha": [1], "spend_usd": "much", "served": 3, "decision": []},
        {"checks": [None, {"name": ""}, {"name": 3}, 4], "served": {"canary_5": {"candidate": {"begun": -1}}}},
        {"checks": [{"name": "gate", "figures": {"n": "x", "m": True, "p": float("nan")}}], "spend_usd": float("inf")},
        {"spend_usd": 10**400, "checks": [{"name": "gate", "figures": {"n": 10**400}}]},
        {"evidence_sha256": 5, "configuration_sha256": "", "asks": {}, "alpha": {"tests": {"a": None}}},
    ],
)
def test_evidence_of_another_kind_is_not_known_and_no_error(evidence):
    report = bare([started(), event(2, EventKind.HELD, phase="calibration", evidence=evidence)])
    assert report.spend_usd is None
    assert {test.alpha for test in report.alpha.tests} == {None}
    assert all(check.figures == {} and check.speaks_for is None for check in report.entries[1].checks)
    assert [item.candidate for item in report.affected] in ([], [None])


def test_a_history_with_a_hole_is_refused():
    with pytest.raises(InfrastructureError, match="event 2 is missing"):
        bare([started(), event(3, EventKind.HELD, phase="calibration")])


def test_what_changes_nothing_is_marked():
    events = [
        *history_up_to("canary_5"),
        event(6, EventKind.ROLLED_BACK, phase="canary_5", actor="Ada"),
        event(7, EventKind.RESUMED, phase="canary_5", actor="Ada"),
    ]
    assert [entry.changed for entry in bare(events).entries][-2:] == [True, False]


def test_the_latest_evidence_counts_where_no_event_came_of_it():
    latest = {
        "spend_usd": 77.0,
        "served": {"canary_5": {"candidate": {"begun": 40, "failed": 1}, "control": {"begun": 41, "failed": 0}}},
        "checks": [
            {"name": "minimum.evidence", "speaks_for": "wait", "sentence": "40 of 1,000.", "figures": {"n": 40}}
        ],
    }
    report = bare(history_up_to("canary_5"), latest=Look(at=BEGIN + HOUR, evidence=latest))
    assert (report.spend_usd, report.affected[0].candidate.begun, report.affected[0].number) == (77.0, 40, None)
    assert phase(report, "canary_5").evidence_n == 40
    assert report.latest[0].sentence == "40 of 1,000."


@pytest.mark.parametrize(
    ("control", "share", "why"),
    [
        (None, 0.05, None),
        (SimpleNamespace(held_until=BEGIN + 10 * HOUR, halted_at=None, halted_reason=None), 0.05, None),
        (SimpleNamespace(held_until=BEGIN + 8 * HOUR, halted_at=None, halted_reason=None), 0.0, "No controller"),
        (SimpleNamespace(held_until=None, halted_at=None, halted_reason=None), 0.0, "No controller"),
        (SimpleNamespace(held_until=BEGIN + 10 * HOUR, halted_at=BEGIN, halted_reason="errors"), 0.0, "errors"),
    ],
)
def test_users_see_what_gateways_do_and_not_what_the_history_would_like(control, share, why):
    report = bare(history_up_to("canary_5"), control=control)
    assert report.served_share == share
    assert (report.why_not_served or "").startswith(why or "")
    assert (report.why_not_served is None) == (why is None)


def test_another_configuration_than_the_rollout_was_started_with_is_found():
    course = histories.Course()
    course.events = [started()]
    sha = course.record.configuration_sha256
    events = [
        started(evidence={"configuration_sha256": sha}),
        event(2, EventKind.HELD, phase="calibration", evidence={"configuration_sha256": "0" * 64}),
    ]
    report = bare(events)
    assert (report.configuration_matches, report.configuration_differs) == (1, (2,))


def test_the_hash_of_a_history_depends_on_everything_in_it():
    events = histories.rolled_back().events
    assert history_sha256(events) == history_sha256(histories.rolled_back().events)
    changed = [*events[:-1], replace(events[-1], reason=events[-1].reason + ".")]
    assert history_sha256(changed) != history_sha256(events)
    less = [*events[:-1], replace(events[-1], evidence={**events[-1].evidence, "spend_usd": 0})]
    assert history_sha256(less) != history_sha256(events)
