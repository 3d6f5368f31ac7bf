"""From criterion results to one Decision: absence of evidence is never GO."""

from collections.abc import Mapping, Sequence

from harness.decision import criteria as rules
from harness.domain.decision import Criterion, CriterionResult, Decision, Objection, Outcome, Terms, Verdict
from harness.domain.estimate import Estimate, Metric
from harness.domain.metrics import COVERAGE, METRICS

_ORDER = {
    Outcome.FAIL: 0,
    Outcome.UNATTAINABLE: 1,
    Outcome.NO_DATA: 2,
    Outcome.INCONCLUSIVE: 3,
    Outcome.PASS: 4,
}
_NO_ESTIMATES: Mapping[str, Estimate] = {}


def decide(
    arm: str,
    estimates: Mapping[str, Estimate],
    criteria: Sequence[Criterion],
    *,
    metrics: Mapping[str, Metric] | None = None,
    strict: Mapping[str, Estimate] = _NO_ESTIMATES,
    floor: Mapping[str, Estimate] = _NO_ESTIMATES,
    objections: Sequence[Objection] = (),
    terms: Terms | None = None,
) -> Decision:
    """NO_GO when any required criterion fails, GO when all pass and nothing speaks against it, else INCONCLUSIVE.

    Args:
        arm: The candidate.
        estimates: What was measured, by metric, with the bounds a PASS needs.
        criteria: The rules; without a required one nothing is decided.
        metrics: What judges of third parties measure; the built-in ones need no description.
        strict: The same estimates with the bounds a FAIL needs.
        floor: The same metrics of production asked again.
        objections: Reasons not to believe one criterion (with ``metric``) or the whole (without).
        terms: How sure the decision is, for the record.

    Raises:
        ConfigurationError: a criterion names a metric that is neither built in nor estimated.
    """
    described = {**METRICS, **(metrics or {})}
    rules.check(criteria, described.keys() | estimates.keys())
    on_metric = {item.metric: item for item in reversed(objections) if item.metric is not None}
    results = tuple(_result(item, estimates, strict, floor, on_metric, described) for item in criteria)
    required = [result for result in results if result.criterion.required]
    against = tuple(item for item in objections if item.metric is None)
    verdict = _verdict(required, against)
    undecided = [result for result in required if result.outcome not in {Outcome.PASS, Outcome.FAIL}]
    needed, binding = _needed(undecided) if verdict is Verdict.INCONCLUSIVE else (None, None)
    return Decision(
        arm=arm,
        verdict=verdict,
        sentence=_sentence(arm, verdict, required, needed, described, estimates.get(COVERAGE.name), against),
        reasons=_reasons(results, against),
        results=results,
        n_needed=needed,
        binding=binding,
        objections=against,
        terms=terms,
    )


def _result(
    criterion: Criterion,
    estimates: Mapping[str, Estimate],
    strict: Mapping[str, Estimate],
    floor: Mapping[str, Estimate],
    objections: Mapping[str, Objection],
    described: Mapping[str, Metric],
) -> CriterionResult:
    name = criterion.metric
    estimate = estimates.get(name)
    if estimate is None:
        notes = ("no judge of this experiment measures it",)
        estimate = Estimate(metric=name, value=None, notes=notes)
    return rules.evaluate(
        criterion,
        estimate,
        metric=described.get(name),
        strict=strict.get(name),
        floor=floor.get(name),
        objection=objections.get(name),
    )


def _verdict(required: Sequence[CriterionResult], against: Sequence[Objection]) -> Verdict:
    outcomes = {result.outcome for result in required}
    if Outcome.FAIL in outcomes:
        return Verdict.NO_GO
    return Verdict.GO if outcomes == {Outcome.PASS} and not against else Verdict.INCONCLUSIVE


def _reasons(results: Sequence[CriterionResult], against: Sequence[Objection]) -> tuple[str, ...]:
    """Required before advisory, then fails, what is open, passes; the largest sample still needed first."""
    if not any(result.criterion.required for result in results):
        none = "No required criterion is set, so nothing can be decided."
        return (none, *(f"Advisory: {result.reason}" for result in results))
    ordered = sorted(
        results,
        key=lambda result: (not result.criterion.required, _ORDER[result.outcome], -(result.n_needed or 0)),
    )
    said = [result.reason if result.criterion.required else f"Advisory: {result.reason}" for result in ordered]
    failed = sum(result.outcome is Outcome.FAIL and result.criterion.required for result in results)
    spoken = [f"{item.sentence} {item.remedy}".strip() for item in against]
    return (*said[:failed], *spoken, *said[failed:])


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
    against: Sequence[Objection],
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
    if not still:
        return f"{arm} cannot be decided yet: it meets {total}{pairs}, but {against[0].sentence}"
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
