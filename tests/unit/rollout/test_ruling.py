import math
from dataclasses import replace
from datetime import timedelta

import pytest

from harness.domain.decision import Outcome, Verdict
from harness.domain.estimate import Estimate
from harness.domain.health import HealthCheck, HealthState, JudgeHealth
from harness.domain.rollout import Action, RolloutStatus
from harness.domain.slices import SliceTest
from harness.rollout.evidence import Assigned, Bounds, Conversations, PairCount, Recent, RolloutEvidence, Stage, Window
from harness.rollout.protection import error_log_e
from harness.rollout.ruling import rule
from tests.unit.rollout.factory import (
    BAKED,
    BEGIN,
    NAMES,
    PHASES,
    POLICY,
    approved,
    bounds,
    decision,
    good_evidence,
    result,
    state_in,
)

HOUR = timedelta(hours=1)
SLICE = SliceTest(attribute="language", value="de", metric="win_rate", n=400, estimate=0.3, evidence=50.0, flagged=True)
BAD_JUDGE = JudgeHealth(
    judge="pairwise",
    checks=(HealthCheck(name="flips", title="Flips", state=HealthState.FAIL, sentence="It flips half the time."),),
)
QUIET = Window(candidate=Recent(requests=30, errors=0), control=Recent(requests=30), baseline_error_rate=0.01)
BURNING = replace(QUIET, candidate=Recent(requests=30, errors=15))
# The first spoils what is asked first; each has the name of the check that must decide.
SPOILT = [
    ("breaker.severe", Action.ROLL_BACK, {"severe": 1}),
    ("breaker.spend", Action.ROLL_BACK, {"spend_usd": 101.0}),
    ("breaker.errors", Action.ROLL_BACK, {"window": BURNING}),
    ("sequential.errors", Action.ROLL_BACK, {"stages": (
        Stage(phase="canary_50", share=0.5, candidate=Conversations(begun=20_000, failed=300),
              control=Conversations(begun=20_000, failed=100)),)}),
    ("sequential.error_difference", Action.ROLL_BACK, {"error_difference": bounds(0.02, 0.002)}),
    ("sequential.latency", Action.ROLL_BACK, {"latency_p95_ratio": bounds(1.6, 0.1)}),
    ("sequential.decision", Action.ROLL_BACK, {"decisions": {"canary_50": decision(Verdict.NO_GO)}}),
    ("validity.fresh", Action.HOLD, {"at": BAKED - HOUR}),
    ("validity.sample_ratio", Action.HOLD, {"assigned": (
        Assigned(name="conversations", taken=10_000, left=12_000, share=0.5),)}),
    ("validity.completeness", Action.HOLD, {"pairs": PairCount(due=10_000, complete=9_800)}),
    ("validity.judges", Action.HOLD, {"judges": (BAD_JUDGE,)}),
    ("validity.traffic", Action.HOLD, {"last_traffic": BAKED - 25 * HOUR}),
    ("minimum.evidence", Action.WAIT, {"stages": ()}),
    ("gate", Action.PAUSE, {"error_difference": None}),
    ("slices", Action.HOLD, {"flagged": (SLICE,)}),
]  # fmt: skip


def ruled(phase: str, *, state=None, now=BAKED, policy=POLICY, **changes):
    return rule(state or approved(state_in(phase)), good_evidence(phase, **changes), policy, now)


def deciding(ruling):
    return next(check for check in ruling.checks if check.speaks_for is not None)


@pytest.mark.parametrize("phase", NAMES)
def test_a_phase_with_everything_advances(phase):
    ruling = ruled(phase)
    assert (ruling.action, ruling.made_on) == (Action.ADVANCE, NAMES.index(phase) + 1)
    assert [check for check in ruling.checks if check.speaks_for is not None] == []


def test_the_order_in_which_is_asked():
    assert [check.name for check in ruled("canary_50").checks] == [
        "breaker.severe", "breaker.spend", "breaker.errors", "breaker.latency",
        "sequential.errors", "sequential.error_difference", "sequential.latency", "sequential.decision",
        "validity.fresh", "validity.sample_ratio", "validity.completeness", "validity.judges", "validity.traffic",
        "minimum.evidence", "minimum.bake",
        "gate", "slices", "approval",
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "action", "changes"), SPOILT)
def test_one_objection_decides(name, action, changes):
    ruling = ruled("canary_50", **changes)
    assert (deciding(ruling).name, ruling.action) == (name, action)
    assert deciding(ruling).sentence in ruling.reason


@pytest.mark.parametrize("first", range(len(SPOILT) - 1))
def test_of_several_objections_the_earliest_decides(first):
    """Whatever is wrong further down as well; an earlier entry takes the place of a later one on the same evidence."""
    changes = {}
    for _, _, change in reversed(SPOILT[first:]):
        changes |= change
    ruling = ruled("canary_50", **changes)
    assert (deciding(ruling).name, ruling.action) == SPOILT[first][:2]


def test_the_breaker_on_latency_counts_slow_requests():
    def window(slow, n=200):
        arms = {"candidate": Recent(requests=n, p95_ms=2e3), "control": Recent(requests=n, p95_ms=9e2)}
        return Window(**arms, baseline_error_rate=0.01, slow=slow)

    assert ruled("canary_5", window=window(40)).action is Action.ROLL_BACK
    assert deciding(ruled("canary_5", window=window(40))).name == "breaker.latency"
    # 11 of 200 put P95 beyond the multiple, which chance does often enough.
    assert ruled("canary_5", window=window(11)).action is Action.ADVANCE
    assert ruled("canary_5", window=window(50, n=99)).action is Action.ADVANCE
    assert ruled("canary_5", window=window(None)).action is Action.ADVANCE


@pytest.mark.parametrize(
    ("candidate", "control", "baseline", "breaks"),
    [
        ((19, 19), (30, 0), 0.01, False),  # too few requests
        ((20, 10), (30, 0), 0.01, True),
        ((200, 9), (200, 2), 0.01, False),  # 4.5 times the usual
        ((200, 16), (200, 2), 0.01, True),  # 8 times
        ((20, 2), (30, 0), 0.01, False),  # 10 times, and chance
        ((200, 60), (200, 50), 0.01, False),  # an outage of both
        ((200, 60), (0, 0), None, False),  # nothing to compare with
        ((200, 60), (200, 0), None, True),
        ((20, 1), (30, 0), 0.0, False),  # one error where none was usual
    ],
)
def test_the_breaker_on_errors(candidate, control, baseline, breaks):
    window = Window(
        candidate=Recent(requests=candidate[0], errors=candidate[1]),
        control=Recent(requests=control[0], errors=control[1]),
        baseline_error_rate=baseline,
    )
    ruling = ruled("canary_5", window=window)
    assert ruling.action is (Action.ROLL_BACK if breaks else Action.ADVANCE)


def test_what_users_do_not_see_does_not_break_on_errors():
    ruling = ruled("shadow_100", window=BURNING)
    assert ruling.action is Action.ADVANCE
    assert "breaker.errors" not in {check.name for check in ruling.checks}


def test_spending_ends_a_shadow_too():
    assert ruled("shadow_5", spend_usd=100.01).action is Action.ROLL_BACK
    assert ruled("shadow_5", spend_usd=100.0).action is Action.ADVANCE
    unlimited = POLICY.model_copy(update={"budget_usd": None})
    assert ruled("shadow_5", spend_usd=1e6, policy=unlimited).action is Action.ADVANCE


# What is not known


NOTHING = RolloutEvidence(at=BAKED)


@pytest.mark.parametrize("phase", NAMES)
def test_nothing_known_neither_rolls_back_nor_passes(phase):
    state = approved(state_in(phase))
    ruling = rule(state, replace(NOTHING, last_traffic=BAKED), POLICY, BAKED)
    assert ruling.action is Action.WAIT
    gate = next(check for check in ruling.checks if check.name == "gate")
    assert gate.speaks_for is not None


@pytest.mark.parametrize(
    ("phase", "changes"),
    [
        ("calibration", {"decisions": {}}),
        ("calibration", {"decisions": {"calibration": decision(Verdict.GO, results=())}}),
        ("calibration", {"pairs": None}),
        ("shadow_5", {"decisions": {}}),
        ("shadow_5", {"decisions": {"shadow_5": decision(Verdict.INCONCLUSIVE, Outcome.NO_DATA)}}),
        ("shadow_5", {"decisions": {"shadow_5": decision(Verdict.INCONCLUSIVE, results=())}}),
        ("shadow_5", {"pairs": PairCount(due=0, complete=0)}),
        ("shadow_5", {"decisions": {"shadow_25": decision(Verdict.GO)}}),
        ("shadow_25", {"decisions": {"shadow_25": decision(Verdict.INCONCLUSIVE)}}),
        ("shadow_100", {"decisions": {"shadow_100": decision(Verdict.INCONCLUSIVE)}}),
        ("canary_5", {"error_difference": None}),
        ("canary_5", {"latency_p95_ratio": None}),
        ("canary_5", {"assigned": ()}),
        ("canary_50", {"assigned": ()}),
        ("full", {"latency_p95_ratio": None}),
    ],
)
def test_a_gate_that_was_not_measured_does_not_pass(phase, changes):
    assert ruled(phase, **changes).action in {Action.WAIT, Action.HOLD, Action.PAUSE}


@pytest.mark.parametrize("looks", ["one", "planned"])
def test_bounds_that_do_not_hold_at_every_look_decide_nothing(looks):
    def wrong(b: Bounds) -> Bounds:
        return Bounds(gate=replace(b.gate, looks=looks), strict=replace(b.strict, looks=looks))

    assert ruled("canary_50", latency_p95_ratio=wrong(bounds(1.0, 0.1))).action is Action.PAUSE
    assert ruled("canary_50", latency_p95_ratio=wrong(bounds(2.0, 0.1))).action is Action.PAUSE


def test_bounds_of_too_little_confidence_condemn_nobody():
    lax = bounds(2.0, 0.1)
    ruling = ruled("canary_5", latency_p95_ratio=Bounds(gate=lax.gate, strict=replace(lax.strict, level=0.9)))
    assert ruling.action is not Action.ROLL_BACK


def test_an_estimate_without_a_value_is_not_measured():
    nothing = Estimate(metric="m", value=None, level=0.999, looks="any")
    ruling = ruled("canary_5", error_difference=Bounds(gate=nothing, strict=nothing))
    assert (deciding(ruling).name, ruling.action) == ("gate", Action.HOLD)


# Gates


@pytest.mark.parametrize(
    ("n_needed", "action"),
    [(14_000, Action.ADVANCE), (14_001, Action.WAIT), (3_000, Action.ADVANCE), (None, Action.WAIT)],
)
def test_reachable_is_what_is_missing_within_the_largest_shadow_phase(n_needed, action):
    open_yet = decision(Verdict.INCONCLUSIVE, Outcome.INCONCLUSIVE, n_needed=n_needed)
    pairs = PairCount(due=4_000, complete=4_000)
    assert ruled("shadow_25", decisions={"shadow_25": open_yet}, pairs=pairs).action is action


@pytest.mark.parametrize("phase", ["shadow_25", "shadow_100"])
def test_a_slice_that_keeps_the_decision_open_holds_the_rollout_and_names_itself(phase):
    open_yet = decision(Verdict.INCONCLUSIVE, Outcome.INCONCLUSIVE, n_needed=10_000_000)
    assert ruled(phase, decisions={phase: open_yet}).action is Action.WAIT
    ruling = ruled(phase, decisions={phase: open_yet}, flagged=(SLICE,))
    assert ruling.action is Action.HOLD
    assert SLICE.value in ruling.reason


@pytest.mark.parametrize(("hours", "action"), [(71, Action.HOLD), (72, Action.PAUSE)])
@pytest.mark.parametrize("verdict", [Verdict.INCONCLUSIVE, Verdict.GO])
def test_a_slice_that_keeps_objecting_is_put_before_people(hours, action, verdict):
    held = replace(state_in("shadow_25"), status=RolloutStatus.HOLD, since=BAKED - hours * HOUR)
    open_yet = decision(verdict, Outcome.INCONCLUSIVE, n_needed=10_000_000)
    ruling = ruled("shadow_25", state=held, decisions={"shadow_25": open_yet}, flagged=(SLICE,))
    assert ruling.action is action
    assert SLICE.value in ruling.reason


def test_what_else_holds_it_is_not_the_slices_doing():
    held = replace(state_in("shadow_25"), status=RolloutStatus.HOLD, since=BAKED - 80 * HOUR)
    assert ruled("shadow_25", state=held).action is Action.ADVANCE
    assert ruled("shadow_25", state=held, judges=(BAD_JUDGE,)).action is Action.HOLD


def test_safe_needs_no_go_but_no_objection():
    assert ruled("shadow_5", decisions={"shadow_5": decision(Verdict.INCONCLUSIVE)}).action is Action.ADVANCE
    assert ruled("shadow_5", decisions={"shadow_5": decision(Verdict.NO_GO)}).action is Action.ROLL_BACK


@pytest.mark.parametrize(
    ("phase", "errors", "action"),
    [
        ("canary_5", bounds(0.0, 0.05), Action.ADVANCE),  # wide, and nothing speaks against it
        ("canary_50", bounds(0.0, 0.05), Action.PAUSE),  # not shown to be as good
        ("canary_50", bounds(0.0, 0.0049), Action.ADVANCE),
        ("canary_50", bounds(0.0, 0.005), Action.PAUSE),  # at the margin is not within
        ("canary_5", bounds(0.0145, 0.008), Action.HOLD),  # the gate's lower bound is beyond, the strict one not
    ],
)
def test_served_conversations_are_held_against_the_margins(phase, errors, action):
    assert ruled(phase, error_difference=errors).action is action


def test_a_harness_that_tells_production_from_itself_needs_people():
    differs = decision(Verdict.INCONCLUSIVE, results=(result("latency_p95_ratio", Outcome.PASS, low=1.05, high=1.1),))
    ruling = ruled("calibration", decisions={"calibration": differs})
    assert ruling.action is Action.PAUSE
    assert "has to be mended" in ruling.reason
    against = decision(Verdict.NO_GO, results=differs.results)
    assert ruled("calibration", decisions={"calibration": against}).action is Action.PAUSE


def test_a_harness_without_bounds_is_not_calibrated():
    open_ended = result("latency_p95_ratio", Outcome.INCONCLUSIVE, low=0.9, high=1.1)
    open_ended = replace(open_ended, estimate=replace(open_ended.estimate, low=None, high=None))
    nothing = decision(Verdict.INCONCLUSIVE, results=(open_ended,))
    assert ruled("calibration", decisions={"calibration": nothing}).action is Action.WAIT


def test_the_noise_floor_is_not_measured_from_itself():
    ratio = result("latency_p95_ratio", Outcome.PASS, low=0.9, high=1.1)
    floor = result("similarity_from_floor", Outcome.NO_DATA, low=0.0, high=0.0)
    floor = replace(floor, estimate=Estimate(metric="similarity_from_floor", value=None))
    both, alone = (decision(Verdict.INCONCLUSIVE, results=results) for results in ((ratio, floor), (floor,)))
    assert ruled("calibration", decisions={"calibration": both}).action is Action.ADVANCE
    assert ruled("calibration", decisions={"calibration": alone}).action is Action.WAIT


def test_a_rule_not_even_production_meets_needs_people():
    wrong = decision(Verdict.INCONCLUSIVE, Outcome.UNATTAINABLE)
    assert ruled("calibration", decisions={"calibration": wrong}).action is Action.PAUSE


# Time


def test_nobody_is_asked_before_the_time():
    state = state_in("canary_50")
    changes = {"error_difference": bounds(0.0, 0.05)}
    assert ruled("canary_50", state=state, now=BEGIN + 71 * HOUR, at=BEGIN + 71 * HOUR, **changes).action is Action.WAIT
    assert (
        ruled("canary_50", state=state, now=BEGIN + 72 * HOUR, at=BEGIN + 72 * HOUR, **changes).action is Action.PAUSE
    )
    resumed = replace(state, asked_since=BEGIN + 40 * HOUR)
    assert ruled("canary_50", state=resumed, **changes).action is Action.WAIT


def test_a_phase_bakes():
    now = BEGIN + 3.9 * HOUR
    ruling = ruled("canary_5", now=now, at=now)
    assert (ruling.action, deciding(ruling).name) == (Action.WAIT, "minimum.bake")


def test_a_phase_without_an_answer_expires_and_one_with_an_answer_does_not():
    late = BEGIN + timedelta(days=7)
    assert ruled("canary_5", now=late, at=late).action is Action.ADVANCE
    ruling = ruled("canary_5", now=late, at=late, error_difference=None)
    assert (ruling.action, ruling.checks[-1].name) == (Action.EXPIRE, "time")
    assert ruled("canary_5", now=late, at=late, severe=1).action is Action.ROLL_BACK


def test_a_hold_as_long_as_a_phase_expires():
    held = state_in("canary_5", status=RolloutStatus.HOLD)
    changes = {"judges": (BAD_JUDGE,)}
    early, late = BEGIN + timedelta(days=6), BEGIN + timedelta(days=7)
    assert ruled("canary_5", state=held, now=early, at=early, **changes).action is Action.HOLD
    assert ruled("canary_5", state=held, now=late, at=late, **changes).action is Action.EXPIRE


def test_no_traffic_at_all_counts_from_the_beginning_of_the_phase():
    assert ruled("canary_5", last_traffic=None).action is Action.HOLD
    now = BEGIN + 23 * HOUR
    assert ruled("canary_5", now=now, at=now, last_traffic=None).action is Action.ADVANCE


def test_few_incomplete_pairs_are_waited_for():
    assert deciding(ruled("shadow_5", pairs=PairCount(due=50, complete=49))).speaks_for is Action.WAIT
    assert ruled("canary_5", pairs=None).action is Action.ADVANCE


# People


def test_a_person_has_to_agree_and_recently():
    state = state_in("shadow_100")
    assert ruled("shadow_100", state=state).action is Action.ASK_APPROVAL
    assert ruled("shadow_100", state=approved(state, BAKED - 72 * HOUR)).action is Action.ADVANCE
    ruling = ruled("shadow_100", state=approved(state, BAKED - 73 * HOUR))
    assert ruling.action is Action.ASK_APPROVAL
    assert "Grace agreed more than 72 hours ago" in ruling.reason


@pytest.mark.parametrize("asks", [True, False])
def test_a_pause_lets_only_a_roll_back_through(asks):
    state = state_in("canary_50", status=RolloutStatus.PAUSED, asks_approval=asks)
    expected = Action.ASK_APPROVAL if asks else Action.PAUSE
    for name, action, changes in SPOILT:
        found = ruled("canary_50", state=state, **changes).action
        assert found is (Action.ROLL_BACK if action is Action.ROLL_BACK else expected), name
    assert ruled("canary_50", state=state).action is expected
    late = BEGIN + timedelta(days=99)
    assert ruled("canary_50", state=state, now=late, at=late).action is expected


@pytest.mark.parametrize("status", [status for status in RolloutStatus if status.is_over])
def test_an_end_is_not_ruled_on(status):
    ruling = ruled("canary_5", state=state_in("canary_5", status=status), severe=1)
    assert (ruling.action, ruling.checks) == (Action.WAIT, ())


# The error test


def stage(share, own, other):
    return Stage(
        phase="canary_5",
        share=share,
        candidate=Conversations(begun=9, failed=own),
        control=Conversations(begun=9, failed=other),
    )


def test_evidence_of_stages_adds_up_and_stages_without_errors_add_nothing():
    first, second = stage(0.05, 4, 20), stage(0.25, 9, 18)
    whole = error_log_e((first, second, stage(0.5, 0, 0)), concentration=10)
    assert whole == pytest.approx(error_log_e((first,), concentration=10) + error_log_e((second,), concentration=10))
    assert error_log_e((), concentration=10) == 0


def test_the_error_test_is_the_mixture_of_the_reference():
    """All of n failures the candidate's at half the traffic: the mean of (2p)^n under Beta(5, 5) above one half."""
    from scipy.integrate import quad
    from scipy.stats import beta

    prior = beta(5, 5)
    for n in (1, 5, 20):
        value, _ = quad(lambda p, n=n: (2 * p) ** n * prior.pdf(p), 0.5, 1)
        assert error_log_e((stage(0.5, n, 0),), concentration=10) == pytest.approx(math.log(value / prior.sf(0.5)))


def test_the_threshold_is_alpha_shared_by_the_tests():
    assert math.exp(-POLICY.error_threshold) == pytest.approx(0.01 / 3)
    assert POLICY.steps == PHASES
