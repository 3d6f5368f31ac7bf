"""What a worker's state becomes on the admin port and among the alerts."""

from datetime import UTC, datetime

import pytest

from harness.domain.decision import Verdict
from harness.models.breaker import BreakerState
from harness.ops import metrics
from harness.ops.alerts import AlertKind
from harness.pipeline.live.operations import not_ready, readings, standing, status
from harness.pipeline.live.purses import Limit
from harness.pipeline.live.state import ArmState, WorkerState
from tests.unit.decision.test_criteria import estimate

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)


def state(*arms: ArmState, **more: object) -> WorkerState:
    return WorkerState(run_id="exp", at=NOW, started_at=NOW, arms=arms, **more)


def arm(**more: object) -> ArmState:
    return ArmState(arm="cheap", role="candidate", model="openai/cheap", **more)


def test_a_worker_at_work_needs_nobody_and_is_ready():
    assert standing(state(arm())) == []
    assert not_ready(state(arm())) == []


@pytest.mark.parametrize(
    ("found", "kind", "subject", "words"),
    [
        (state(store_down_since=NOW), AlertKind.STORE, "", "not reachable since 12:30:00 UTC"),
        (state(arm(stopped="authentication: bad key")), AlertKind.AUTHENTICATION, "cheap", "authentication: bad key"),
        (state(arm(breaker=BreakerState.OPEN)), AlertKind.BREAKER_OPEN, "cheap", "openai/cheap is down"),
        (state(arm(breaker=BreakerState.HALF_OPEN)), AlertKind.BREAKER_OPEN, "cheap", "openai/cheap is down"),
        (
            state(arm(budget_exhausted=Limit.DAY, spent_today_usd=9.5)),
            AlertKind.BUDGET,
            "cheap",
            "$9.50 were spent today; requests are skipped until midnight UTC",
        ),
        (state(arm(budget_exhausted=Limit.RUN)), AlertKind.BUDGET, "cheap", "until the run's budget is raised"),
        (state(arm(quota_remaining_s=3.0)), AlertKind.QUOTA, "cheap", "production was told to slow down"),
        (state(arm(error_spike="cheap: 40% failed")), AlertKind.ERROR_SPIKE, "cheap", "40% failed"),
        (state(arm(slow="cheap: 3 times")), AlertKind.LATENCY, "cheap", "3 times"),
        (state(arm(diverging="cheap: 0.20")), AlertKind.DIVERGENCE, "cheap", "0.20"),
        (
            state(judging_failing_since=NOW, judging_failure="set OPENAI_API_KEY"),
            AlertKind.JUDGING,
            "",
            "since 12:30:00 UTC: set OPENAI_API_KEY",
        ),
        (
            # The next call does not fit although some cents are left.
            state(judges_daily_usd=2.0, judges_spent_today_usd=1.97, judges_exhausted=Limit.DAY),
            AlertKind.BUDGET,
            "judges",
            "$1.97 were spent on judges today; pairs are not judged until midnight UTC",
        ),
    ],
)
def test_what_needs_a_person(found, kind, subject, words):
    (alert,) = standing(found)
    assert (alert.kind, alert.subject) == (kind, subject)
    assert words in alert.text


def test_a_stopped_candidate_and_a_lost_store_are_not_ready():
    reasons = not_ready(state(arm(stopped="authentication: bad key"), store_down_since=NOW, stopping=True))
    assert reasons == ["the store cannot be reached", "it is stopping", "cheap: authentication: bad key"]


def test_the_metrics_say_how_requests_ended_and_what_is_estimated():
    found = state(
        arm(
            outcomes={"completed": {"": 90}, "failed": {"timeout": 3}, "dropped": {"breaker_open": 7}},
            verdict=Verdict.NO_GO,
            spent_today_usd=1.5,
            daily_usd=10.0,
            estimates={"win_rate": estimate(0.4, 0.3, 0.5, n=90)},
        ),
        records=100,
        endings={"exchange": 100},
        lag_bytes=12,
    )
    lines = metrics.render(readings(found)).decode().splitlines()
    for line in (
        'shadow_candidate_outcomes_total{arm="cheap",reason="timeout",status="failed"} 3.0',
        'shadow_candidate_outcomes_total{arm="cheap",reason="breaker_open",status="dropped"} 7.0',
        'shadow_candidate_breaker_open{arm="cheap"} 0.0',
        'shadow_candidate_spent_today_usd{arm="cheap"} 1.5',
        'shadow_decision_verdict{arm="cheap"} -1.0',
        'shadow_estimate_value{arm="cheap",metric="win_rate"} 0.4',
        'shadow_estimate_low{arm="cheap",metric="win_rate"} 0.3',
        'shadow_worker_record_endings_total{ending="exchange"} 100.0',
        "shadow_worker_spool_lag_bytes 12.0",
    ):
        assert line in lines
    assert status(found)["arms"][0]["outcomes"]["failed"] == {"timeout": 3}
