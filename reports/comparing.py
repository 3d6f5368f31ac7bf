"""Holds two runs against each other: what changed, and whether the figures may be compared at all."""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence

from harness.domain.comparison import (
    Change,
    ChangedLine,
    ComparedCandidate,
    ComparedCriterion,
    ComparedRun,
    ComparedSide,
    Hindrance,
    Intervals,
    RunComparison,
)
from harness.domain.decision import CriterionResult
from harness.domain.report import CandidateReport, EvaluationReport
from reports.deciding import deciding
from reports.metrics import metric_of
from reports.published import judges_behind, verdict_of
from reports.text import plural

_CONTEXT = 2
_MOST_LINES = 400
_LONGEST = 1000
"""Lines of an experiment file that are compared; what comes after is said to be left out."""


def compare(before: EvaluationReport, after: EvaluationReport, *, sha256: tuple[str, str] = ("", "")) -> RunComparison:
    """Both runs side by side; candidates are matched by name, or as the only one of each run.

    The difference of a criterion is that of its two values and has no interval of its own: the two reports do not hold
    the pairs, which for the same traffic would be needed. Whether the two intervals share a value is said instead.

    Args:
        before: The earlier run.
        after: The later one.
        sha256: Hashes of their ``report.json``, where they are published.
    """
    matched = list(_matched(before, after))
    lines, cut = _lines(before.experiment_yaml, after.experiment_yaml)
    return RunComparison(
        before=_run(before, sha256[0]),
        after=_run(after, sha256[1]),
        hindrances=tuple(_hindrances(before, after, matched)),
        candidates=tuple(_candidate(before, after, old, new) for old, new in matched),
        changes=tuple(_changes(before, after, matched)),
        experiment=lines,
        experiment_cut=cut,
    )


_Matched = Sequence[tuple[CandidateReport | None, CandidateReport | None]]


def _run(report: EvaluationReport, sha256: str) -> ComparedRun:
    return ComparedRun(
        run_id=report.run_id,
        name=report.name,
        decided_at=report.decided_at,
        verdict=verdict_of(report),
        production_models=tuple(sorted(report.production_models)),
        readers=report.readers,
        report_sha256=sha256,
    )


def _matched(
    before: EvaluationReport, after: EvaluationReport
) -> Iterable[tuple[CandidateReport | None, CandidateReport | None]]:
    """Candidates of the later run with their earlier selves, then those that are gone."""
    old = {candidate.arm: candidate for candidate in before.candidates}
    new = {candidate.arm: candidate for candidate in after.candidates}
    if len(old) == len(new) == 1:
        yield next(iter(old.values())), next(iter(new.values()))
        return
    for arm, candidate in new.items():
        yield old.get(arm), candidate
    for arm, candidate in old.items():
        if arm not in new:
            yield candidate, None


def _hindrances(before: EvaluationReport, after: EvaluationReport, matched: _Matched) -> Iterable[Hindrance]:
    if before.name != after.name:
        yield Hindrance(
            kind="experiment",
            sentence=f"They are runs of two experiments, {before.name} and {after.name}.",
        )
    if before.readers is not after.readers:
        yield Hindrance(
            kind="readers",
            sentence=f"One is for readers {before.readers.value}, the other for readers {after.readers.value}: what "
            "one leaves out looks like a change.",
        )
    if set(before.production_models) != set(after.production_models):
        yield Hindrance(
            kind="production",
            sentence=f"Production was another one: {_models(before)} before, {_models(after)} after. Every figure is "
            "one beside production.",
        )
    traffic = traffic_changed(before, after)
    if traffic:
        yield Hindrance(kind="traffic", sentence=traffic)
    yield from _judges(matched)


def traffic_changed(before: EvaluationReport, after: EvaluationReport) -> str:
    """Why the two rest on different requests, in one sentence; empty when they rest on the same ones.

    By the hash of the traffic that the ledger of attempts keeps, where both have it; else by what was read. A larger
    sample of the same traffic is the same traffic.
    """
    one, two = _sequences(before), _sequences(after)
    if one and two:
        same = bool(one & two)
    else:
        same = before.seed == after.seed and before.ingest.population == after.ingest.population
    if same:
        return ""
    return (
        f"They rest on different requests: {_traffic(before)} before, {_traffic(after)} after. A difference may come "
        "from the traffic alone."
    )


def _sequences(report: EvaluationReport) -> set[str]:
    return {
        attempt.sequence
        for candidate in report.candidates
        for attempt in candidate.attempts
        if attempt.run_id == report.run_id and attempt.sequence
    }


def _traffic(report: EvaluationReport) -> str:
    population = report.ingest.population
    count = f"{plural(report.ingest.sampled, 'request')} of {population.n:,}"
    if population.first is None or population.last is None:
        return count
    return f"{count} from {population.first:%Y-%m-%d} to {population.last:%Y-%m-%d}"


def _judges(matched: _Matched) -> Iterable[Hindrance]:
    """Metrics in both whose judge is not the same: model, prompt, configuration or version."""
    changed: dict[str, None] = {}
    for old, new in matched:
        if old is None or new is None:
            continue
        shared = {r.criterion.metric for r in old.decision.results} & {r.criterion.metric for r in new.decision.results}
        for result in new.decision.results:
            name = result.criterion.metric
            if name in shared and judges_behind(old, name) != judges_behind(new, name):
                changed[name] = None
    if changed:
        yield Hindrance(
            kind="judge",
            sentence="The judge was another one, by its model, prompt, options or version: figures that come from it "
            "cannot be held against each other.",
            metrics=tuple(changed),
        )


def _candidate(
    before: EvaluationReport, after: EvaluationReport, old: CandidateReport | None, new: CandidateReport | None
) -> ComparedCandidate:
    known = new or old
    assert known is not None  # noqa: S101  one of the two is there
    olds = {} if old is None else {result.criterion.metric: result for result in old.decision.results}
    news = {} if new is None else {result.criterion.metric: result for result in new.decision.results}
    renamed = old is not None and old.arm != known.arm
    return ComparedCandidate(
        arm=known.arm,
        arm_before=None if old is None else old.arm if renamed else known.arm,
        present_after=new is not None,
        verdict_before=None if old is None else old.decision.verdict,
        verdict_after=None if new is None else new.decision.verdict,
        sentence_before=old.decision.sentence if old else "",
        sentence_after=new.decision.sentence if new else "",
        pairs_before=old.funnel.comparable if old else None,
        pairs_after=new.funnel.comparable if new else None,
        candidate_per_1k_before_usd=old.cost.candidate_per_1k_usd if old else None,
        candidate_per_1k_after_usd=new.cost.candidate_per_1k_usd if new else None,
        criteria=tuple(
            _criterion(after if name in news else before, name, olds.get(name), news.get(name))
            for name in dict.fromkeys((*news, *olds))
        ),
    )


def _criterion(
    report: EvaluationReport, name: str, old: CriterionResult | None, new: CriterionResult | None
) -> ComparedCriterion:
    metric = metric_of(report, name)
    before, after = (None if result is None else _side(result) for result in (old, new))
    return ComparedCriterion(
        metric=name,
        title=metric.title,
        unit=metric.unit,
        before=before,
        after=after,
        difference=_difference(before, after),
        intervals=_intervals(before, after),
        outcome_changed=before is not None and after is not None and before.outcome is not after.outcome,
        rule_changed=old is not None and new is not None and old.criterion != new.criterion,
    )


def _side(result: CriterionResult) -> ComparedSide:
    estimate = deciding(result)
    return ComparedSide(
        bound=result.criterion.bound,
        threshold=result.criterion.threshold,
        required=result.criterion.required,
        outcome=result.outcome,
        value=_known(estimate.value),
        low=_known(estimate.low),
        high=_known(estimate.high),
        level=estimate.level,
        looks=estimate.looks,
        n=estimate.n,
    )


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _difference(before: ComparedSide | None, after: ComparedSide | None) -> float | None:
    if before is None or after is None or before.value is None or after.value is None:
        return None
    difference = after.value - before.value
    return difference if math.isfinite(difference) else None


def _intervals(before: ComparedSide | None, after: ComparedSide | None) -> Intervals:
    """An open end reaches to infinity; a value that was counted has no interval."""
    if before is None or after is None:
        return Intervals.UNKNOWN
    if (before.low is None and before.high is None) or (after.low is None and after.high is None):
        return Intervals.UNKNOWN
    lows = [-math.inf if side.low is None else side.low for side in (before, after)]
    highs = [math.inf if side.high is None else side.high for side in (before, after)]
    return Intervals.OVERLAP if max(lows) <= min(highs) else Intervals.APART


def _changes(before: EvaluationReport, after: EvaluationReport, matched: _Matched) -> Iterable[Change]:
    yield from _changed("run", {"seed": str(before.seed)}, {"seed": str(after.seed)})
    yield from _changed("run", {"production": _models(before)}, {"production": _models(after)})
    yield from _changed("traffic", _sizes(before), _sizes(after))
    for old, new in matched:
        if old is not None and new is not None:
            yield from _changed("candidate", {new.arm: _named(old)}, {new.arm: _named(new)})
    yield from _changed("judge", _judge_versions(before), _judge_versions(after))
    yield from _changed("prompt", before.prompts, after.prompts)
    yield from _changed("version", before.versions, after.versions)


def _changed(area: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterable[Change]:
    for name in sorted({*before, *after}):
        old, new = before.get(name, ""), after.get(name, "")
        if old != new:
            yield Change(area=area, name=name, before=old, after=new)


def _models(report: EvaluationReport) -> str:
    return ", ".join(sorted(report.production_models)) or "unknown"


def _named(candidate: CandidateReport) -> str:
    """Its model, with what answered where the provider said so."""
    answered = ", ".join(sorted(candidate.answered_models))
    return candidate.model if answered in {"", candidate.model} else f"{candidate.model}, answered by {answered}"


def _sizes(report: EvaluationReport) -> dict[str, str]:
    ingest = report.ingest
    return {
        "records read": f"{ingest.read:,}",
        "usable records": f"{ingest.kept:,}",
        "requests sampled": f"{ingest.sampled:,}",
        "redaction": "on" if ingest.redaction_enabled else "off",
    }


def _judge_versions(report: EvaluationReport) -> dict[str, str]:
    """Every judge with its model and fingerprint; of several candidates they are the same."""
    return {
        judge.judge: " · ".join(part for part in (judge.model, judge.prompt, judge.fingerprint) if part)
        for candidate in report.candidates
        for judge in candidate.judges
    }


def _lines(before: str, after: str) -> tuple[tuple[ChangedLine, ...], bool]:
    """The difference of two experiment files, with two lines around each change, and whether it was cut."""
    old, new = before.splitlines(), after.splitlines()
    cut = max(len(old), len(new)) > _LONGEST
    old, new = old[:_LONGEST], new[:_LONGEST]
    if old == new:
        return (), cut and before != after
    found: list[ChangedLine] = []
    groups = list(difflib.SequenceMatcher(None, old, new).get_grouped_opcodes(_CONTEXT))
    for number, group in enumerate(groups):
        if number:
            found.append(ChangedLine(kind="gap", text=""))
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                found += [ChangedLine(kind="kept", text=line) for line in old[i1:i2]]
                continue
            found += [ChangedLine(kind="removed", text=line) for line in old[i1:i2]]
            found += [ChangedLine(kind="added", text=line) for line in new[j1:j2]]
    return tuple(found[:_MOST_LINES]), cut or len(found) > _MOST_LINES
