"""Everything the decision layer can say about a candidate, as parts of a CandidateReport."""

from dataclasses import replace
from datetime import UTC, datetime
from math import pi
from typing import Any

from harness.decision import policy, slices
from harness.domain.attempt import Attempt
from harness.domain.decision import Bound, Criterion, Decision, Objection, Terms
from harness.domain.estimate import Estimate
from harness.domain.health import FlipBand, HealthCheck, HealthState, JudgeHealth
from harness.domain.metrics import METRICS
from harness.domain.report import JudgeOnLabels, NoiseFloor, PeopleReport, StoppingReport
from harness.domain.slices import SlicePlan, SliceTest
from tests.unit.reports.measures import estimate

ALPHA = 0.05
SPENT = ALPHA * 6 / (pi**2 * 4)
"""What the second attempt of a family may spend."""

NON_INFERIORITY = (
    Criterion(metric="latency_p95_ratio", bound=Bound.BELOW, threshold=1.2),
    Criterion(metric="error_rate_difference", bound=Bound.BELOW, threshold=0.005),
    Criterion(metric="win_rate", bound=Bound.ABOVE, threshold=0.48),
    Criterion(metric="similarity_from_floor", bound=Bound.ABOVE, threshold=-0.01),
    Criterion(metric="similarity", bound=Bound.ABOVE, threshold=0.97, required=False),
)


def terms(**more: Any) -> Terms:
    """The second attempt of its family, watched at any look."""
    defaults: dict[str, Any] = {
        "profile": "non_inferiority", "looks": "any", "alpha": ALPHA, "attempt": 2, "attempt_alpha": SPENT,
        "horizon": 10_000,
    }  # fmt: skip
    return Terms(**(defaults | more))


def at_any_look(metric: str, value: float, low: float | None, high: float | None, **more: Any) -> Estimate:
    """An Estimate with the bounds that decide."""
    defaults: dict[str, Any] = {
        "level": 1 - 2 * SPENT, "looks": "any", "method": "asymptotic-cs", "n_effective": 903.4,
    }  # fmt: skip
    return estimate(metric, value, low, high, **(defaults | more))


def stricter(item: Estimate, low: float, high: float) -> Estimate:
    """The same with the bounds that one of four criteria needs to fail."""
    return replace(item, low=low, high=high, level=1 - 2 * SPENT / 4)


def corrected() -> Estimate:
    """The win rate that people's labels decide on."""
    return at_any_look(
        "win_rate", 0.548, 0.489, 0.607, method="ppi", n=1168, n_missing=14, n_effective=610.0,
        notes=("people score -3.10 points beside judge pairwise (-5.80 points to -0.40 points): its own rate is void, "
               "and this one is corrected by labels",),
        extra={"n_labels": 240.0, "lambda": 0.71, "effective_labels": 492.0},
    )  # fmt: skip


def decisive() -> dict[str, Estimate]:
    """What the criteria rest on: everything passes that is required."""
    return {
        "coverage": estimate("coverage", 1182.0, method="count"),
        "latency_p95_ratio": at_any_look(
            "latency_p95_ratio", 0.83, 0.74, 0.93, production=2140.0, candidate=1776.0, method="order-statistics-mover"
        ),
        "error_rate_difference": at_any_look(
            "error_rate_difference", -0.001, -0.0064, 0.0043, production=0.016, candidate=0.015, method="betting-cs"
        ),
        "win_rate": corrected(),
        "similarity_from_floor": at_any_look(
            "similarity_from_floor", 0.004, -0.006, 0.014, production=0.947, candidate=0.951,
            method="clustered-mean-t two-phase", extra={"n_part": 120.0, "slope": 0.4},
        ),
        "similarity": at_any_look("similarity", 0.951, 0.943, 0.959),
    }  # fmt: skip


def decision(arm: str) -> Decision:
    """All required criteria pass and a slice speaks against it; the advisory rule cannot be met by anybody."""
    return policy.decide(
        arm,
        decisive(),
        NON_INFERIORITY,
        floor={"similarity": at_any_look("similarity", 0.947, 0.938, 0.956, n=120)},
        objections=slices.objections(slice_tests(), METRICS),
        terms=terms(),
    )


def failed_decision(arm: str) -> Decision:
    """One criterion fails on its stricter bounds, one is open, and the judge behind a third is not believed."""
    found = decisive() | {
        "coverage": estimate("coverage", 1425.0, method="count"),
        "error_rate_difference": at_any_look(
            "error_rate_difference", 0.031, 0.019, 0.043, production=0.016, candidate=0.047, method="betting-cs", n=1495
        ),
        "latency_p95_ratio": at_any_look(
            "latency_p95_ratio", 1.24, 1.08, 1.41, production=2140.0, candidate=2654.0, n=1495
        ),
        "win_rate": at_any_look("win_rate", 0.561, 0.517, 0.605, n=1480, n_missing=15),
    }
    return policy.decide(
        arm,
        found,
        NON_INFERIORITY,
        strict={
            "error_rate_difference": stricter(found["error_rate_difference"], 0.017, 0.045),
            "latency_p95_ratio": stricter(found["latency_p95_ratio"], 1.05, 1.45),
            "win_rate": stricter(found["win_rate"], 0.508, 0.614),
            "similarity": stricter(found["similarity"], 0.941, 0.961),
        },
        objections=(
            Objection(
                kind="judge",
                sentence="judge pairwise failed a check of its health: It prefers the answer shown first in 71.20% of "
                "its verdicts.",
                remedy="Ask for token probabilities (`mode: soft`), or take a stronger model.",
                metric="win_rate",
            ),
        ),
        terms=terms(),
    )


def estimates() -> tuple[Estimate, ...]:
    """What is described beside, with intervals for one look."""
    return (
        estimate("latency_p50_ratio", 0.81, 0.79, 0.84, production=820.0, candidate=664.0),
        estimate("latency_p95_ratio", 0.83, 0.78, 0.88, production=2140.0, candidate=1776.0),
        estimate("latency_p50_ratio_from_floor", 0.88, 0.83, 0.93, n=118, extra={}),
        estimate("latency_p95_ratio_from_floor", 0.91, 0.79, 1.05, n=118, extra={}),
        estimate("error_rate_difference", -0.001, -0.005, 0.003, production=0.016, candidate=0.015),
        estimate("win_rate", 0.571, 0.545, 0.597, n=1168, n_missing=14, method="clustered-mean-t with failures"),
        estimate("win_rate_given_answer", 0.576, 0.550, 0.602, n=1168, method="clustered-mean-t"),
        estimate(
            "win_rate_length_controlled", 0.553, 0.521, 0.585, n=1168, method="length-controlled",
            extra={"n_longer": 702.0, "win_longer": 0.418, "n_shorter": 431.0, "win_shorter": 0.267,
                   "length_coefficient": 0.42, "length_coefficient_low": 0.11, "length_coefficient_high": 0.73},
        ),
        estimate("win_rate_corrected", 0.548, 0.511, 0.585, n=1168, method="ppi", extra={"n_labels": 240.0}),
        estimate("win_rate_from_floor", 0.072, 0.028, 0.116, n=1168, production=0.499, candidate=0.571,
                 method="clustered-mean-t two-phase", extra={"n_part": 120.0}),
        estimate("similarity", 0.951, 0.946, 0.956),
        estimate("similarity_from_floor", 0.004, -0.002, 0.010, production=0.947, candidate=0.951,
                 extra={"n_part": 120.0}),
        estimate("dissimilar_rate_from_floor", -0.004, -0.017, 0.009, production=0.031, candidate=0.027,
                 extra={"n_part": 120.0}),
        estimate("exact_match", 0.113, 0.095, 0.131),
        estimate("exact_match_from_floor", -0.097, -0.151, -0.043, production=0.21, candidate=0.113,
                 extra={"n_part": 120.0}),
        estimate("structure_valid", 0.983, 0.958, 0.993, n=240, n_missing=942),
        estimate("cost_per_1k", 0.61, 0.58, 0.64, production=4.12, candidate=0.61),
        estimate("tokens_out_ratio", 1.08, 1.05, 1.12, production=171.0, candidate=185.0),
    )  # fmt: skip


def noise_floor() -> NoiseFloor:
    """Production asked again on a tenth of the requests."""
    return NoiseFloor(
        n=120,
        share=0.1,
        estimates=(
            estimate("similarity", 0.947, 0.940, 0.954, n=120),
            estimate("exact_match", 0.21, 0.14, 0.29, n=120),
            estimate("win_rate", 0.499, 0.464, 0.534, n=120),
            estimate("latency_p50_ratio", 0.92, 0.87, 0.97, n=120),
            estimate("latency_p95_ratio", 0.91, 0.76, 1.09, n=120),
            estimate("error_rate_difference", 0.0, -0.031, 0.031, n=120, production=0.016, candidate=0.016),
            estimate("win_rate_from_floor", None, notes=("production was not asked again",)),
        ),
    )


def check(name: str, title: str, state: HealthState, sentence: str, remedy: str = "") -> HealthCheck:
    """One check of a judge."""
    return HealthCheck(name=name, title=title, state=state, sentence=sentence, remedy=remedy)


def health(*, usable: bool = True) -> tuple[JudgeHealth, ...]:
    """A judge that asks a model: in order, or one that reads places."""
    position = check(
        "position", "Preference for the answer shown first", HealthState.PASS,
        "It prefers the answer shown first in 53.60% (95% interval 51.20% to 56.00%) of its verdicts on 1,168 pairs "
        "read in both orders; being shown first is worth +3.10 points.",
    )  # fmt: skip
    if not usable:
        position = check(
            "position", "Preference for the answer shown first", HealthState.FAIL,
            "It prefers the answer shown first in 71.20% of its verdicts.",
            "Ask for token probabilities (`mode: soft`), or take a stronger model.",
        )  # fmt: skip
    return (
        JudgeHealth(
            judge="pairwise",
            checks=(
                check("canaries", "Known answers", HealthState.PASS, "It found 15 of 16 known answers."),
                check("injection", "Instructions in answers", HealthState.PASS, "None of 6 answers that tell it what "
                      "to say won."),
                position,
                check("flips", "Contradictions when the order is swapped", HealthState.PASS,
                      "Its two orders name opposite winners on 97 of 1,168 pairs, 8.30% (95% interval 6.80% to "
                      "10.10%)."),
                check("unscored", "Pairs without a verdict", HealthState.PASS,
                      "It gave no verdict on 14 of 1,182 pairs, 1.18%: parse_failed 9, timeout 5."),
                check("people", "Agreement with people", HealthState.PASS,
                      "It says the same as people on 71.20% of 240 pairs."),
                check("self_agreement", "Production against itself", HealthState.UNKNOWN,
                      "It has not compared production with itself.", "Add a `replica:` to the experiment."),
                check("length", "Preference for longer answers", HealthState.WARN,
                      "It prefers the longer answer in 63.10% (95% interval 59.70% to 66.40%) of the 777 pairs it "
                      "decided.", "Look at the win rate at equal length; say in `criteria` that length is no merit."),
                check("family", "Kinship with a side", HealthState.PASS, "It is of another family than either side."),
            ),
            bands=(
                FlipBand(band="under 0.5", pairs=41, flips=2, first_slot=0.512),
                FlipBand(band="0.5 to 0.8", pairs=127, flips=9, first_slot=0.52),
                FlipBand(band="0.8 to 0.95", pairs=388, flips=30, first_slot=0.531),
                FlipBand(band="0.95 and more", pairs=612, flips=56, first_slot=0.544),
            ),
            figures={"flips": 0.083, "in_both_orders": 1168.0},
        ),
    )  # fmt: skip


def people(*, bias: Estimate | None = None) -> PeopleReport:
    """Three people on 240 pairs drawn at random."""
    return PeopleReport(
        labelled=252,
        drawn=240,
        labellers=3,
        wins=96,
        ties=85,
        losses=71,
        designs=("uniform, seed 0",),
        judges=(
            JudgeOnLabels(
                judge="pairwise",
                n=240,
                accuracy=estimate("judge_accuracy", 0.712, 0.651, 0.766, n=240, method="wilson-effective-n"),
                baseline=0.383,
                kappa=estimate("kappa", 0.561, 0.470, 0.641, n=240, method="cohen-kappa"),
                bias=bias
                or at_any_look("judge_bias", -0.031, -0.058, -0.004, n=240, n_effective=None, method="rectifier"),
                confusion=((44, 14, 10), (12, 50, 18), (6, 9, 77)),
            ),
        ),
    )


def slice_tests() -> tuple[SliceTest, ...]:
    """One slice that loses among those that do not."""

    def test(attribute: str, value: str, metric: str, n: int, measured: float, evidence: float) -> SliceTest:
        return SliceTest(
            attribute=attribute, value=value, metric=metric, n=n, estimate=measured, evidence=evidence,
            flagged=evidence > 60,
        )  # fmt: skip

    return (
        test("metadata.plan", "free", "win_rate", 611, 0.54, 0.004),
        test("metadata.plan", "team", "win_rate", 402, 0.39, 412.0),
        test("metadata.plan", "free", "error_rate_difference", 611, -0.002, 0.31),
        test("metadata.plan", "team", "error_rate_difference", 402, 0.004, 1.7),
        test("has_tools", "yes", "win_rate", 240, 0.47, 3.2),
        test("has_tools", "no", "win_rate", 942, 0.52, 0.0),
    )


def attempts(arm: str) -> tuple[Attempt, ...]:
    """A first attempt that failed, and this one."""
    common: dict[str, Any] = {"family": f"support/{arm}", "arm": arm}
    return (
        Attempt(
            **common, fingerprint="aaaa1111", sequence="s1", number=1, run_id="support-1b2c3d4e",
            alpha=ALPHA * 6 / pi**2, begun_at=datetime(2026, 10, 30, 8, 15, tzinfo=UTC),
            decided_at=datetime(2026, 10, 30, 9, 2, tzinfo=UTC), verdict="NO_GO", n_pairs=1500,
        ),
        Attempt(
            **common, fingerprint="bbbb2222", sequence="s1", number=2, run_id="support-3fa9c1d2", alpha=SPENT,
            begun_at=datetime(2026, 11, 20, 9, 3, tzinfo=UTC), verdict="INCONCLUSIVE", n_pairs=1182,
        ),
    )  # fmt: skip


def parts(arm: str) -> dict[str, Any]:
    """What makes a candidate one of which everything is known."""
    return {
        "decision": decision(arm),
        "estimates": estimates(),
        "health": health(),
        "people": people(),
        "slice_tests": slice_tests(),
        "slice_plan": SlicePlan(min_pairs=200, false_discoveries=0.1),
        "attempts": attempts(arm),
        "stopping": StoppingReport(reason="budget", asked=1198, sampled=1200, saved_usd=0.005),
    }


def failing_parts(arm: str) -> dict[str, Any]:
    """The same of one that fails early, by a judge that reads places."""
    return {
        "decision": failed_decision(arm),
        "estimates": estimates(),
        "health": health(usable=False),
        "people": None,
        "slice_tests": (),
        "slice_plan": SlicePlan(min_pairs=200, false_discoveries=0.1),
        "attempts": attempts(arm),
        "stopping": StoppingReport(reason="settled", asked=1500, sampled=5000, saved_usd=4.31),
    }
