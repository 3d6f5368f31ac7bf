"""From evidence to a Decision by rules that were fixed before anybody looked: pure, and the same for every source."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from harness.decision import metrics, people, policy, quality, slices, verbosity
from harness.decision.criteria import metric_for
from harness.decision.scope import Scope
from harness.domain.decision import Criterion, Decision, Objection, Terms, Verdict
from harness.domain.estimate import Estimate, Metric
from harness.domain.formatting import format_interval, format_value
from harness.domain.health import JudgeHealth
from harness.domain.metrics import COVERAGE, DERIVED, WIN_RATE, WIN_RATE_CORRECTED
from harness.domain.slices import SliceTest
from harness.stats.evidence import Evidence
from harness.stats.looks import ONE_LOOK, AnyLook, Looks, PlannedLooks

_BEST_AT = 0.3
"""Part of the horizon at which anytime bounds are tightest."""


@dataclass(frozen=True, kw_only=True)
class Rulebook:
    """Everything a decision follows besides the evidence."""

    criteria: Sequence[Criterion]
    terms: Terms
    judge_metrics: Mapping[str, Metric] = field(default_factory=dict)
    """Judge name to what it measures, in the order of the experiment."""
    min_slice: int = 200
    slice_false_discoveries: float = 0.1

    @property
    def n_required(self) -> int:
        """Criteria that share the chance of a wrong NO_GO."""
        return max(sum(criterion.required for criterion in self.criteria), 1)


@dataclass(frozen=True, kw_only=True)
class Reached:
    """A Decision with what it was reached by."""

    decision: Decision
    slices: tuple[SliceTest, ...] = ()
    bias: Mapping[str, Estimate] = field(default_factory=dict)
    """Judge name to people's mean score less the judge's, where people labelled."""
    floor: Mapping[str, Estimate] = field(default_factory=dict)
    """The criteria's metrics for production asked again."""


def reach(
    evidence: Evidence,
    rulebook: Rulebook,
    *,
    floor: Evidence | None = None,
    health: Mapping[str, JudgeHealth] | None = None,
) -> Reached:
    """The decision on this evidence; with planned looks the first look that settles it stands.

    Args:
        evidence: The candidate's columns.
        rulebook: Criteria and terms.
        floor: The replica's columns on the same rows.
        health: Judge name to what is known of it; a judge that failed a check decides nothing.
    """
    terms = rulebook.terms
    if terms.looks != "planned":
        looks = ONE_LOOK if terms.looks == "one" else any_look(terms.horizon)
        return _at_look(evidence, rulebook, looks, floor=floor, health=health or {})
    return _planned(evidence, rulebook, floor=floor, health=health or {})


def any_look(horizon: int | None) -> AnyLook:
    """Bounds that hold whenever one looks, tightest on the way to the horizon."""
    return AnyLook(t_opt=max(_BEST_AT * (horizon or 10_000), 30.0))


def _planned(
    evidence: Evidence, rulebook: Rulebook, *, floor: Evidence | None, health: Mapping[str, JudgeHealth]
) -> Reached:
    """Look by look on the first rows of the sample; rows after a look do not count for it."""
    terms = rulebook.terms
    count = terms.planned_looks or 1
    horizon = min(terms.horizon or evidence.n, evidence.n)
    fractions = tuple((look + 1) / count for look in range(count))
    reached: Reached | None = None
    for look, fraction in enumerate(fractions, start=1):
        n = math.ceil(fraction * horizon)
        if not n or not np.all(evidence.candidate.status[:n] != ""):
            break
        rows = slice(0, n)
        at = replace(terms, planned_look=look, n_look=n, horizon=horizon)
        reached = _at_look(
            evidence.take(rows),
            replace(rulebook, terms=at),
            PlannedLooks(fractions[:look]),
            floor=None if floor is None else floor.take(rows),
            health=health,
        )
        if reached.decision.verdict is not Verdict.INCONCLUSIVE:
            return reached
    if reached is not None:
        return reached
    nothing = evidence.take(slice(0, 0))
    at = replace(terms, planned_look=0, n_look=0, horizon=horizon)
    return _at_look(nothing, replace(rulebook, terms=at), PlannedLooks(fractions[:1]), floor=None, health=health)


def _at_look(
    evidence: Evidence,
    rulebook: Rulebook,
    looks: Looks,
    *,
    floor: Evidence | None,
    health: Mapping[str, JudgeHealth],
) -> Reached:
    wanted = {criterion.metric for criterion in rulebook.criteria}
    alpha = rulebook.terms.pass_alpha

    def estimated(
        data: Evidence, side_alpha: float, beside: Evidence | None, names: Collection[str] = wanted
    ) -> dict[str, Estimate]:
        return metrics.estimates(
            data,
            level=1 - 2 * side_alpha,
            judge_metrics=rulebook.judge_metrics,
            looks=looks,
            floor=beside,
            only=names,
        )

    passing = estimated(evidence, alpha, floor, wanted | {COVERAGE.name})
    strict = passing if rulebook.n_required == 1 else estimated(evidence, alpha / rulebook.n_required, floor)
    of_floor = {} if floor is None else estimated(floor, alpha, None)
    scopes = [
        Scope(evidence=evidence, level=1 - 2 * side, looks=looks, floor=floor, judge_metrics=rulebook.judge_metrics)
        for side in (alpha, alpha / rulebook.n_required)
    ]
    described = metrics.catalogue(rulebook.judge_metrics)
    bias, corrected, heard = _people(scopes, rulebook, passing, strict)
    tests = slices.examine(
        evidence,
        rulebook.criteria,
        judge_metrics=rulebook.judge_metrics,
        looks=looks,
        min_pairs=rulebook.min_slice,
        false_discoveries=rulebook.slice_false_discoveries,
    )
    decision = policy.decide(
        evidence.arm,
        passing,
        rulebook.criteria,
        metrics=described,
        strict=strict,
        floor=of_floor,
        objections=(
            *_unbelieved(rulebook, health, corrected),
            *heard,
            *_verbose(scopes[0], rulebook, passing, corrected),
            *slices.objections(tests, described),
        ),
        terms=rulebook.terms,
    )
    return Reached(decision=decision, slices=tests, bias=bias, floor=of_floor)


def _unbelieved(rulebook: Rulebook, health: Mapping[str, JudgeHealth], corrected: Collection[str]) -> list[Objection]:
    """A judge that failed a check of its health decides nothing; a rate corrected by labels is not its own any more."""
    found = []
    for judge, name in metrics.metric_names(rulebook.judge_metrics).items():
        known = health.get(judge)
        if known is None or known.usable:
            continue
        own = name.partition(":")[2]
        sentence = f"judge {judge} failed {_count(known)}: {' '.join(check.sentence for check in known.failed)}"
        remedy = " ".join(dict.fromkeys(check.remedy for check in known.failed if check.remedy))
        for criterion in rulebook.criteria:
            base, _, whose = criterion.metric.partition(":")
            rests = whose == own and _comes_of(base, rulebook.judge_metrics[judge].name)
            if rests and criterion.metric not in corrected:
                found.append(Objection(kind="judge", sentence=sentence, remedy=remedy, metric=criterion.metric))
    return found


def _count(health: JudgeHealth) -> str:
    n = len(health.failed)
    return "a check of its health" if n == 1 else f"{n} checks of its health"


def _comes_of(metric: str, judged: str) -> bool:
    """Whether a metric is a judge's own or derived from it; what people corrected no longer rests on the judge."""
    derived = {item.name for item in DERIVED.get(judged, ())} - {WIN_RATE_CORRECTED.name}
    return metric == judged or metric in derived


def _people(
    scopes: Sequence[Scope], rulebook: Rulebook, passing: dict[str, Estimate], strict: dict[str, Estimate]
) -> tuple[dict[str, Estimate], set[str], list[Objection]]:
    """Let labels correct or contradict the win rates; ``passing`` and ``strict`` are changed where they correct.

    A bias that is told from none voids the judge's own rate, and from 1,000 labels on people decide anyway. Below
    that, and without a bias, the judge decides as long as the corrected rate may still be on its side.
    """
    bias: dict[str, Estimate] = {}
    corrected: set[str] = set()
    objections: list[Objection] = []
    for judge, name in quality.preferences(scopes[0]).items():
        found = people.bias(scopes[0], judge)
        if found.value is None:
            continue
        bias[judge] = found
        criteria = [criterion for criterion in rulebook.criteria if criterion.metric == name]
        if not criteria:
            continue
        rates = [people.corrected(scope, judge, name) for scope in scopes]
        labels = people.n_labels(rates[0])
        biased = people.is_biased(found)
        if biased or labels >= people.ENOUGH_LABELS:
            why = _biased(judge, found) if biased else f"{labels:,} labels of people decide, not the judge alone"
            for target, rate in zip((passing, strict), rates, strict=True):
                target[name] = replace(rate, notes=(*rate.notes, why))
            corrected.add(name)
        elif labels >= people.FEWEST_LABELS:
            objections += [
                Objection(kind="people", sentence=_contradicted(judge, rates[0], labels), metric=name)
                for criterion in criteria
                if _beyond(criterion, rates[0])
            ]
    return bias, corrected, objections


def _biased(judge: str, found: Estimate) -> str:
    size = format_value(found.value, metric_for("win_rate_from_floor").unit)
    span = format_interval(found.low, found.high, metric_for("win_rate_from_floor").unit)
    return (
        f"people score {size} beside judge {judge} ({span}): its own rate is void, and this one is corrected by labels"
    )


def _contradicted(judge: str, rate: Estimate, labels: int) -> str:
    unit = WIN_RATE.unit
    return (
        f"{labels:,} labels of people put it at {format_value(rate.value, unit)} "
        f"({format_interval(rate.low, rate.high, unit)}), beyond the threshold that judge {judge} sees it clear."
    )


def _beyond(criterion: Criterion, rate: Estimate) -> bool:
    """Whether the whole interval lies on the other side of the threshold."""
    if criterion.passes_below:
        return rate.low is not None and rate.low > criterion.threshold
    return rate.high is not None and rate.high < criterion.threshold


def _verbose(
    scope: Scope, rulebook: Rulebook, passing: Mapping[str, Estimate], corrected: Collection[str]
) -> list[Objection]:
    """A win rate that changes sides of the threshold when both answers are equally long is a matter of length.

    One that people's labels corrected is theirs: what length does to the judge does not concern it.
    """
    found = []
    for judge, name in quality.preferences(scope).items():
        raw = passing.get(name)
        if raw is None or raw.value is None or name in corrected:
            continue
        controlled = verbosity.controlled(scope, judge, name)
        if controlled.value is None:
            continue
        for criterion in rulebook.criteria:
            if criterion.metric != name:
                continue
            sides = {value > criterion.threshold for value in (raw.value, controlled.value)}
            if len(sides) == 2:
                unit = WIN_RATE.unit
                found.append(
                    Objection(
                        kind="length",
                        sentence=(
                            f"at equal length it would be {format_value(controlled.value, unit)}, on the other side "
                            f"of {format_value(criterion.threshold, unit, trim=True)}: the difference is one of length."
                        ),
                        remedy="Ask for answers of production's length, or have people label the pairs.",
                        metric=name,
                    )
                )
    return found
