"""From criterion results to one Decision: absence of evidence is never GO."""

from collections.abc import Mapping, Sequence

from harness.decision import criteria as rules
from harness.domain.decision import Criterion, CriterionResult, Decision, Outcome, Verdict
from harness.domain.estimate import Estimate, Metric
from harness.domain.metrics import COVERAGE, METRICS

_ORDER = {Outcome.FAIL: 0, Outcome.NO_DATA: 1, Outcome.INCONCLUSIVE: 2, Outcome.PASS: 3}


def decide(
    arm: str,
    estimates: Mapping[str, Estimate],
    criteria: Sequence[Criterion],
    *,
    metrics: Mapping[str, Metric] | None = None,
) -> Decision:
    """NO_GO when any required criterion fails, GO when all pass, else INCONCLUSIVE; never GO without criteria.

    ``metrics`` describes what judges of third parties measure; the built-in ones need no description.

    Raises:
        ConfigurationError: a criterion names a metric that is neither built in nor estimated.
    """
    described = {**METRICS, **(metrics or {})}
    rules.check(criteria, described.keys() | estimates.keys())
    results = tuple(_result(criterion, estimates, described) for criterion in criteria)
    required = [result for result in results if result.criterion.required]
    verdict = _verdict(required)
    undecided = [result for result in required if result.outcome in {Outcome.INCONCLUSIVE, Outcome.NO_DATA}]
    needed, binding = _needed(undecided) if verdict is Verdict.INCONCLUSIVE else (None, None)
    return Decision(
        arm=arm,
        verdict=verdict,
        sentence=_sentence(arm, verdict, required, needed, described, estimates.get(COVERAGE.name)),
        reasons=_reasons(results),
        results=results,
        n_needed=needed,
        binding=binding,
    )


def _result(
    criterion: Criterion, estimates: Mapping[str, Estimate], described: Mapping[str, Metric]
) -> CriterionResult:
    estimate = estimates.get(criterion.metric)
    if estimate is None:
        notes = ("no judge of this experiment measures it",)
        estimate = Estimate(metric=criterion.metric, value=None, notes=notes)
    return rules.evaluate(criterion, estimate, metric=described.get(criterion.metric))


def _verdict(required: Sequence[CriterionResult]) -> Verdict:
    outcomes = {result.outcome for result in required}
    if Outcome.FAIL in outcomes:
        return Verdict.NO_GO
    return Verdict.GO if outcomes == {Outcome.PASS} else Verdict.INCONCLUSIVE


def _reasons(results: Sequence[CriterionResult]) -> tuple[str, ...]:
    """Required before advisory, then fails, undecided, passes; the largest sample still needed first."""
    if not any(result.criterion.required for result in results):
        none = "No required criterion is set, so nothing can be decided."
        return (none, *(f"Advisory: {result.reason}" for result in results))
    ordered = sorted(
        results,
        key=lambda result: (not result.criterion.required, _ORDER[result.outcome], -(result.n_needed or 0)),
    )
    return tuple(result.reason if result.criterion.required else f"Advisory: {result.reason}" for result in ordered)


def _needed(undecided: Sequence[CriterionResult]) -> tuple[int | None, str | None]:
    """Sample that settles all of them and the metric that asks for most; one that cannot be projected asks for most."""
    open_ended = [result for result in undecided if result.n_needed is None]
    if open_ended:
        return None, open_ended[0].criterion.metric
    if not undecided:
        return None, None
    most = max(undecided, key=lambda result: result.n_needed or 0)
    return most.n_needed, most.criterion.metric


def _pairs(n: float) -> str:
    return "1 compared pair" if n == 1 else f"{n:,.0f} compared pairs"


def _sentence(
    arm: str,
    verdict: Verdict,
    required: Sequence[CriterionResult],
    needed: int | None,
    described: Mapping[str, Metric],
    coverage: Estimate | None,
) -> str:
    if not required:
        return f"{arm} cannot be decided: no required criterion is set."
    pairs = "" if coverage is None or coverage.value is None else f" on {_pairs(coverage.value)}"
    total = "the required criterion" if len(required) == 1 else f"all {len(required)} required criteria"
    if verdict is Verdict.GO:
        return f"{arm} may take over: it meets {total}{pairs}."
    failed = [result for result in required if result.outcome is Outcome.FAIL]
    if verdict is Verdict.NO_GO:
        count = f"{len(failed)} of {len(required)} required criteria" if len(required) > 1 else total
        return f"{arm} should not take over: it fails {count}{pairs} ({_titles(failed, described)})."
    still = [result for result in required if result.outcome is not Outcome.PASS]
    count = f"{len(still)} of {len(required)} required criteria" if len(required) > 1 else total
    are = "is" if len(still) == 1 else "are"
    them = "it" if len(still) == 1 else "them"
    projection = f"; about {needed:,} pairs in all would probably settle {them}" if needed else ""
    return f"{arm} cannot be decided yet: {count} {are} not settled{pairs} ({_titles(still, described)}){projection}."


def _titles(results: Sequence[CriterionResult], described: Mapping[str, Metric]) -> str:
    titles = []
    for result in results:
        name = result.criterion.metric
        metric = described.get(name) or rules.metric_for(name)
        titles.append(f"{metric.title} {rules.rule(result.criterion, metric)}")
    return "; ".join(titles)
