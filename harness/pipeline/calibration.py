"""The whole experiment with production in the candidate's place: what nobody can do better than."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.config import Candidate, Experiment
from harness.decision.criteria import metric_for
from harness.domain.decision import CriterionResult, Outcome
from harness.domain.estimate import Estimate, Unit
from harness.domain.formatting import format_estimate
from harness.domain.metrics import COVERAGE
from harness.domain.observation import ArmRole
from harness.errors import ConfigurationError
from harness.pipeline.evaluation import ArmEvaluation
from harness.pipeline.seats import SeatedJudge

ARM = "production-again"
_FLOOR = ("similarity", "exact_match", "structure_valid", "win_rate")
_MISSED = (Outcome.FAIL, Outcome.UNATTAINABLE)
_NULL = {"win_rate": 0.5, "error_rate_difference": 0.0, "latency_p50_ratio": 1.0, "latency_p95_ratio": 1.0,
         "ttft_p50_ratio": 1.0, "cost_ratio": 1.0, "length_difference": 0.0}  # fmt: skip
"""What a metric is when both sides are the same."""


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """A figure that should show no difference and does."""

    metric: str
    estimate: Estimate
    expected: float
    meaning: str


@dataclass(frozen=True, kw_only=True)
class JudgeNoise:
    """What a preference judge makes of production against itself."""

    judge: str
    rate: Estimate
    spread: float | None
    """Standard deviation of one pair's score."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What production does to itself, and what follows for the criteria."""

    pairs: int
    floor: tuple[Estimate, ...]
    """Likeness of production to itself: no candidate can be closer."""
    noise: tuple[JudgeNoise, ...]
    design_effect: float
    """How many times the pairs are needed because they come in conversations."""
    deviations: tuple[Deviation, ...]
    unattainable: tuple[CriterionResult, ...]
    """Criteria that production fails against itself."""
    open: tuple[CriterionResult, ...]
    """Criteria that this many pairs do not settle even for production."""

    @property
    def sound(self) -> bool:
        """Whether every criterion can be met by production and no figure shows a difference that is not there."""
        return not (self.unattainable or self.deviations)

    def as_json(self) -> dict[str, Any]:
        """The calibration for machines."""
        return asdict(self) | {"sound": self.sound}


def calibration_of(experiment: Experiment, *, requests: int) -> Experiment:
    """The experiment with production, asked again, as its one candidate, on at most ``requests`` requests.

    Raises:
        ConfigurationError: the experiment does not say how production can be asked again.
    """
    replica = experiment.replica
    if replica is None:
        raise ConfigurationError(
            "calibration asks production again, and the experiment does not say how: add `replica:` with its model"
        )
    fields = replica.model_dump(exclude={"share"})
    sample = experiment.traffic.sample
    size = requests if sample.size is None else min(requests, sample.size)
    traffic = experiment.traffic.model_copy(update={"sample": sample.model_copy(update={"size": size, "rate": None})})
    update = {
        "name": f"{experiment.name}-calibration"[:80],
        "traffic": traffic,
        "candidates": [Candidate(name=ARM, **fields)],
        "budget": experiment.budget.model_copy(update={"stop_when_settled": False, "stop_when_out_of_reach": False}),
        "decision": experiment.decision.model_copy(update={"spend_across_attempts": False, "looks": "one"}),
    }
    return experiment.model_copy(update=update)


def summary(evaluations: Sequence[ArmEvaluation], judges: Sequence[SeatedJudge]) -> Calibration:
    """What the calibration's evaluations say."""
    item = next(item for item in evaluations if item.arm.role is ArmRole.CANDIDATE)
    assert item.decision is not None  # noqa: S101  candidates always have one
    found = item.estimates
    coverage = found[COVERAGE.name]
    results = item.decision.results
    return Calibration(
        pairs=int(coverage.value or 0),
        floor=tuple(found[name] for name in _FLOOR if name in found and found[name].value is not None),
        noise=tuple(_noise(item, judge) for judge in judges if judge.judge.metric.name == "win_rate"),
        design_effect=coverage.extra.get("design_effect", 1.0),
        deviations=tuple(_deviations(found)),
        unattainable=tuple(result for result in results if result.outcome in _MISSED),
        open=tuple(result for result in results if result.outcome not in {Outcome.PASS, *_MISSED}),
    )


def _noise(item: ArmEvaluation, judge: SeatedJudge) -> JudgeNoise:
    import numpy as np

    values = item.evidence.scores[judge.name].value
    known = values[np.isfinite(values)]
    rate = next(
        (e for name, e in item.estimates.items() if name in {"win_rate", f"win_rate:{judge.name}"}),
        Estimate(metric="win_rate", value=None),
    )
    return JudgeNoise(judge=judge.name, rate=rate, spread=float(known.std()) if known.size else None)


def _deviations(found: Mapping[str, Estimate]) -> list[Deviation]:
    """Figures whose interval leaves out what they must be when both sides are the same."""
    deviations = []
    for name, expected in _NULL.items():
        estimate = found.get(name)
        if estimate is None or estimate.value is None or estimate.low is None or estimate.high is None:
            continue
        if not estimate.low <= expected <= estimate.high:
            deviations.append(
                Deviation(metric=name, estimate=estimate, expected=expected, meaning=_meaning(name, estimate))
            )
    return deviations


def _meaning(name: str, estimate: Estimate) -> str:
    metric = metric_for(name)
    shown = format_estimate(estimate, metric.unit)
    if metric.unit is Unit.RATIO and name.startswith(("latency", "ttft")):
        return (
            f"{metric.title} is {shown}: replaying is not the recording's own conditions (other load, cold caches, "
            "another place), and a candidate is measured under the replay's. Gate on the distance from the noise floor "
            f"({name}_from_floor) instead."
        )
    if name == "win_rate":
        return f"{metric.title} is {shown}: the judge prefers one of two answers of the same model."
    if name == "error_rate_difference":
        return f"{metric.title} is {shown}: replaying fails at another rate than the recording did."
    return f"{metric.title} is {shown}, and should show no difference."
