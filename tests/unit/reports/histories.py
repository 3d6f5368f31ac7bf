"""Runs of one experiment over some weeks, as they would be published."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from harness.domain.decision import Outcome, Verdict
from harness.domain.estimate import Estimate
from harness.domain.published import PublishedComparison, PublishedIndex, PublishedRun
from harness.domain.report import CandidateReport, EvaluationReport
from reports import comparing, comparison, published
from tests.unit.reports import factory

BEGIN = datetime(2026, 9, 4, 9, 3, tzinfo=UTC)
VERDICTS = (Verdict.NO_GO, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE, Verdict.GO, Verdict.GO)


def moved(estimate: Estimate, by: float) -> Estimate:
    """The estimate elsewhere, its interval with it."""

    def at(value: float | None) -> float | None:
        return None if value is None else value + by

    return replace(estimate, value=at(estimate.value), low=at(estimate.low), high=at(estimate.high))


def candidate(verdict: Verdict, week: int) -> CandidateReport:
    """One week's candidate, its figures a little elsewhere each time."""
    made = factory.candidate(verdict=verdict)
    results = tuple(
        replace(result, estimate=moved(result.estimate, ((week * 7) % 5 - 2) * 0.004))
        if result.criterion.metric in {"latency_p95_ratio", "similarity"}
        else result
        for result in made.decision.results
    )
    return replace(made, decision=replace(made.decision, results=results))


def report(week: int, **more: object) -> EvaluationReport:
    """The run of one week, on that week's traffic."""
    at = BEGIN + timedelta(weeks=week)
    run_id = f"support-{week:02d}c4d1"
    first = at - timedelta(days=14)
    ingest = factory.ingest()
    ingest = replace(ingest, population=replace(ingest.population, first=first, last=at - timedelta(days=1)))
    defaults: dict[str, object] = {
        "run_id": run_id,
        "created_at": at,
        "decided_at": at + timedelta(minutes=38),
        "ingest": ingest,
    }
    return factory.report(candidate(VERDICTS[week % len(VERDICTS)], week), **(defaults | more))


def weeks(count: int = 5) -> tuple[EvaluationReport, ...]:
    """Runs of consecutive weeks, oldest first; from the fourth on another judge reads."""
    made = [report(week) for week in range(count)]
    return tuple(other_judge(item) if number >= 3 else item for number, item in enumerate(made))


def other_judge(item: EvaluationReport) -> EvaluationReport:
    """The same run, read by a judge of another prompt."""
    candidates = tuple(
        replace(
            candidate,
            judges=tuple(
                replace(judge, fingerprint="ff00ff00ff00ff00", prompt="pairwise/v2", prompt_sha256="e1" * 32)
                if judge.judge == "pairwise"
                else judge
                for judge in candidate.judges
            ),
        )
        for candidate in item.candidates
    )
    return replace(item, candidates=candidates, prompts={"pairwise/v2": "e1" * 32})


def endless(item: EvaluationReport) -> EvaluationReport:
    """The same run with a latency nothing bounds, and a criterion without data."""
    candidates = tuple(
        replace(
            candidate,
            decision=replace(
                candidate.decision,
                results=tuple(
                    replace(result, estimate=replace(result.estimate, high=float("inf")))
                    if result.criterion.metric == "latency_p95_ratio"
                    else replace(result, outcome=Outcome.NO_DATA, estimate=replace(result.estimate, value=None))
                    if result.criterion.metric == "similarity"
                    else result
                    for result in candidate.decision.results
                ),
            ),
        )
        for candidate in item.candidates
    )
    return replace(item, candidates=candidates)


def index(items: tuple[EvaluationReport, ...]) -> PublishedIndex:
    """What would be published of these reports, given oldest first."""
    runs = tuple(reversed([small(item) for item in items]))
    return PublishedIndex(
        runs=runs,
        comparisons=tuple(
            PublishedComparison(
                before=old.run_id,
                after=new.run_id,
                page=f"{comparison.FOLDER}/{comparison.name_of(old.run_id, new.run_id)}.html",
                comparable=comparing.compare(old, new).comparable,
                hindrances=tuple(item.kind for item in comparing.compare(old, new).hindrances),
            )
            for name in dict.fromkeys(item.name for item in items)
            for old, new in pairwise([item for item in items if item.name == name])
        ),
    )


def small(item: EvaluationReport) -> PublishedRun:
    """The small value of a run with the usual files."""
    from harness.domain.published import PublishedFile

    names = ("report.html", "report.json", "report.md", "junit.xml", "pairs.parquet")
    return published.of(item, [PublishedFile(name=name, sha256="ab" * 32, bytes=1000) for name in names])
