"""Makes a report fit for readers outside: figures, verdict, criteria and method stay; what anybody wrote goes.

Nothing is copied as a whole: every value is built from the fields named here, so that a field added to the report
later stays out until somebody decides that it may be seen.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from harness.domain.attempt import Attempt
from harness.domain.decision import Criterion, CriterionResult, Decision, Objection
from harness.domain.estimate import Estimate
from harness.domain.health import HealthCheck, JudgeHealth
from harness.domain.report import (
    CandidateReport,
    EvaluationReport,
    Funnel,
    JudgeOnLabels,
    JudgeReport,
    NoiseFloor,
    PeopleReport,
    Readers,
    SliceReport,
)
from harness.domain.run import IngestReport, Summary
from harness.domain.side_by_side import BestSet, Duel, Frontier, SideBySide, SliceBest
from harness.domain.slices import SliceTest
from reports.outside_words import Hidden, is_plain_name, model_name, models, plain, shown_dialect, shown_values
from reports.text import plural

_METRIC = re.compile(r"[a-z][a-z0-9_]{0,60}(:[\w.-]{1,60})?")
_VERSION = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,40} \d[A-Za-z0-9.+-]{0,40}")
_HASH = re.compile(r"[0-9a-f]{8,64}")
_MAX_YAML = 200_000
_MAX_RULES = 100
_VALUE = ""
_KEPT: Mapping[str, Any] = {
    "traffic": {"sample": dict.fromkeys(("size", "rate", "seed", "deduplicate"), _VALUE)},
    "replica": {"share": _VALUE},
    "decision": {
        "criteria": [
            {"metric": "name", **dict.fromkeys(("below", "above", "at_least", "at_most", "required"), _VALUE)}
        ],
        **dict.fromkeys(
            ("profile", "alpha", "looks", "horizon", "planned_looks", "look_every", "spend_across_attempts", "level",
             "min_slice", "slice_false_discoveries"), _VALUE,
        ),
    },
}  # fmt: skip
"""What of the experiment is method: its keys, and nothing under any other."""
_WORDS_OF_OURS = frozenset({"non_inferiority", "superiority", "any", "planned", "one"})


def for_outside(report: EvaluationReport) -> EvaluationReport:
    """The report as readers outside may have it; the same value gives the same result, and twice is once.

    Left out: messages, answers, examples, ids of exchanges, judges' and providers' words, the command, names of files
    and folders, addresses, the experiment but for its rules and numbers, fields of requests that are no parameter's
    usual name, and slice values that may name a person, a customer or a subject (see :mod:`reports.outside_words`).
    Sentences that our own code wrote stay, without any of these in them.
    """
    hidden = Hidden.of(report)
    return EvaluationReport(
        run_id=report.run_id,
        name=report.name,
        harness_version=report.harness_version,
        created_at=report.created_at,
        decided_at=report.decided_at,
        metrics=report.metrics,
        production_models=models(report.production_models),
        ingest=_ingest(report.ingest),
        candidates=tuple(_candidate(candidate, hidden) for candidate in report.candidates),
        side_by_side=report.side_by_side and _side_by_side(report.side_by_side, hidden),
        noise_floor=report.noise_floor
        and NoiseFloor(
            n=report.noise_floor.n,
            share=report.noise_floor.share,
            estimates=_estimates(report.noise_floor.estimates, hidden),
        ),
        experiment_yaml=_rules_of(report.experiment_yaml),
        seed=report.seed,
        versions={name: value for name, value in report.versions.items() if _VERSION.fullmatch(f"{name} {value}")},
        prompts=_prompts(report.prompts),
        stop_reason=report.stop_reason and plain(report.stop_reason, "stopped"),
        command="",
        schema=report.schema,
        warnings=_said_all(report.warnings, hidden),
        show_text=False,
        readers=Readers.OUTSIDE,
    )


def _candidate(candidate: CandidateReport, hidden: Hidden) -> CandidateReport:
    return CandidateReport(
        arm=candidate.arm,
        model=model_name(candidate.model),
        decision=_decision(candidate.decision, hidden),
        estimates=_estimates(candidate.estimates, hidden),
        funnel=_funnel(candidate.funnel),
        judges=tuple(_judge(judge) for judge in candidate.judges),
        errors={plain(kind, "other"): counts for kind, counts in candidate.errors.items()},
        distributions=candidate.distributions,
        cost=candidate.cost,
        slices=_slices(candidate.slices, hidden),
        examples=(),
        dropped_params=_merged(candidate.dropped_params, "another field"),
        health=tuple(_health(item, hidden) for item in candidate.health),
        people=candidate.people and _people(candidate.people, hidden),
        slice_tests=_slice_tests(candidate.slice_tests, hidden),
        slice_plan=candidate.slice_plan,
        attempts=tuple(_attempt(attempt) for attempt in candidate.attempts),
        stopping=candidate.stopping,
        answered_models=models(candidate.answered_models),
        warnings=_said_all(candidate.warnings, hidden),
    )


def _side_by_side(beside: SideBySide, hidden: Hidden) -> SideBySide:
    return SideBySide(
        arms=beside.arms,
        quality=beside.quality,
        judge=beside.judge,
        best_sets=tuple(_best_set(item) for item in beside.best_sets),
        frontiers=tuple(
            Frontier(
                quality=item.quality,
                against=item.against,
                arms=item.arms,
                production_quality=item.production_quality,
                production_against=item.production_against,
            )
            for item in beside.frontiers
        ),
        duels=tuple(
            Duel(
                first=item.first,
                second=item.second,
                judge=item.judge,
                n=item.n,
                first_better=item.first_better,
                same=item.same,
                second_better=item.second_better,
                share=item.share and _estimate(item.share, hidden),
                told=item.told,
            )
            for item in beside.duels
        ),
        slices=tuple(
            SliceBest(
                attribute=hidden.attribute(item.attribute),
                value=hidden.value(item.attribute, item.value),
                n=item.n,
                estimates={arm: _estimate(estimate, hidden) for arm, estimate in item.estimates.items()},
                best=item.best and _best_set(item.best),
            )
            for item in beside.slices
        ),
        slices_tested=beside.slices_tested,
        min_slice=beside.min_slice,
        confidence=beside.confidence,
        looks=beside.looks,
        requests=(),
    )


def _best_set(found: BestSet) -> BestSet:
    return BestSet(
        metric=found.metric,
        arms=found.arms,
        best=found.best,
        beaten_by=found.beaten_by,
        confidence=found.confidence,
        looks=found.looks,
        n=found.n,
    )


def _decision(decision: Decision, hidden: Hidden) -> Decision:
    return Decision(
        arm=decision.arm,
        verdict=decision.verdict,
        sentence=hidden.said(decision.sentence),
        reasons=_said_all(decision.reasons, hidden),
        results=tuple(_result(result, hidden) for result in decision.results),
        n_needed=decision.n_needed,
        binding=decision.binding,
        objections=tuple(_objection(item, hidden) for item in decision.objections),
        terms=decision.terms,
    )


def _result(result: CriterionResult, hidden: Hidden) -> CriterionResult:
    rule = result.criterion
    return CriterionResult(
        criterion=Criterion(metric=rule.metric, bound=rule.bound, threshold=rule.threshold, required=rule.required),
        estimate=_estimate(result.estimate, hidden),
        outcome=result.outcome,
        reason=hidden.said(result.reason),
        n_needed=result.n_needed,
        strict=result.strict and _estimate(result.strict, hidden),
        objection=result.objection and _objection(result.objection, hidden),
    )


def _objection(objection: Objection, hidden: Hidden) -> Objection:
    return Objection(
        kind=plain(objection.kind, "other"),
        sentence=hidden.said(objection.sentence),
        remedy=hidden.said(objection.remedy),
        metric=objection.metric,
    )


def _estimates(estimates: Iterable[Estimate], hidden: Hidden) -> tuple[Estimate, ...]:
    return tuple(_estimate(item, hidden) for item in estimates)


def _estimate(item: Estimate, hidden: Hidden) -> Estimate:
    return Estimate(
        metric=item.metric,
        value=item.value,
        low=item.low,
        high=item.high,
        level=item.level,
        looks=item.looks,
        n=item.n,
        n_clusters=item.n_clusters,
        n_effective=item.n_effective,
        n_missing=item.n_missing,
        method=hidden.said(item.method),
        std_error=item.std_error,
        production=item.production,
        candidate=item.candidate,
        notes=_said_all(item.notes, hidden),
        extra={name: value for name, value in item.extra.items() if is_plain_name(name)},
    )


def _judge(judge: JudgeReport) -> JudgeReport:
    return JudgeReport(
        judge=judge.judge,
        kind=judge.kind,
        metric=judge.metric,
        fingerprint=judge.fingerprint,
        model=judge.model and model_name(judge.model),
        further_models=tuple(model_name(model) for model in judge.further_models),
        prompt=judge.prompt and _prompt_name(judge.prompt),
        prompt_sha256=judge.prompt_sha256,
        pairs=judge.pairs,
        scored=judge.scored,
        unscored=_merged(judge.unscored, "other"),
        wins=judge.wins,
        ties=judge.ties,
        losses=judge.losses,
        flips=judge.flips,
        both_orders=judge.both_orders,
        first_slot_share=judge.first_slot_share,
        cost_usd=judge.cost_usd,
        canaries_usd=judge.canaries_usd,
        tokens_in=judge.tokens_in,
        tokens_out=judge.tokens_out,
    )


def _health(health: JudgeHealth, hidden: Hidden) -> JudgeHealth:
    return JudgeHealth(
        judge=health.judge,
        checks=tuple(
            HealthCheck(
                name=check.name,
                title=check.title,
                state=check.state,
                sentence=hidden.said(check.sentence),
                remedy=hidden.said(check.remedy),
                estimate=check.estimate and _estimate(check.estimate, hidden),
            )
            for check in health.checks
        ),
        bands=health.bands,
        figures={name: value for name, value in health.figures.items() if is_plain_name(name)},
    )


def _people(people: PeopleReport, hidden: Hidden) -> PeopleReport:
    return PeopleReport(
        labelled=people.labelled,
        drawn=people.drawn,
        labellers=people.labellers,
        wins=people.wins,
        ties=people.ties,
        losses=people.losses,
        designs=_said_all(people.designs, hidden),
        judges=tuple(
            JudgeOnLabels(
                judge=item.judge,
                n=item.n,
                accuracy=item.accuracy and _estimate(item.accuracy, hidden),
                baseline=item.baseline,
                kappa=item.kappa and _estimate(item.kappa, hidden),
                bias=item.bias and _estimate(item.bias, hidden),
                labels=item.labels,
                confusion=item.confusion,
            )
            for item in people.judges
        ),
    )


def _funnel(funnel: Funnel) -> Funnel:
    return Funnel(
        sampled=funnel.sampled,
        completed=funnel.completed,
        failed=_merged(funnel.failed, "other"),
        dropped=_merged(funnel.dropped, "other"),
        skipped=_merged(funnel.skipped, "other"),
        comparable=funnel.comparable,
    )


def _attempt(attempt: Attempt) -> Attempt:
    return Attempt(
        family=attempt.family,
        fingerprint=attempt.fingerprint,
        sequence=attempt.sequence,
        number=attempt.number,
        arm=attempt.arm,
        run_id=attempt.run_id,
        alpha=attempt.alpha,
        begun_at=attempt.begun_at,
        decided_at=attempt.decided_at,
        verdict=attempt.verdict,
        n_pairs=attempt.n_pairs,
    )


def _slices(slices: Sequence[SliceReport], hidden: Hidden) -> tuple[SliceReport, ...]:
    return tuple(
        SliceReport(
            attribute=hidden.attribute(item.attribute),
            value=hidden.value(item.attribute, item.value),
            n=item.n,
            estimates=_estimates(item.estimates, hidden),
            too_small=item.too_small,
        )
        for item in slices
    )


def _slice_tests(tests: Sequence[SliceTest], hidden: Hidden) -> tuple[SliceTest, ...]:
    return tuple(
        SliceTest(
            attribute=hidden.attribute(test.attribute),
            value=hidden.value(test.attribute, test.value),
            metric=test.metric,
            n=test.n,
            estimate=test.estimate,
            evidence=test.evidence,
            flagged=test.flagged,
        )
        for test in tests
    )


def _ingest(ingest: IngestReport) -> IngestReport:
    names = {file: f"file {number}" for number, file in enumerate(ingest.files, start=1)}
    left = len(ingest.warnings)
    return IngestReport(
        files=tuple(names.values()),
        dialects={
            names[file]: shown_dialect(ingest.dialects[file]) for file in ingest.files if file in ingest.dialects
        },
        read=ingest.read,
        rejected=ingest.rejected,
        ignored=ingest.ignored,
        skipped=_merged(ingest.skipped, "other"),
        deduplicated=ingest.deduplicated,
        kept=ingest.kept,
        out_of_window=ingest.out_of_window,
        sampled_out=ingest.sampled_out,
        sampled=ingest.sampled,
        redactions=_merged(ingest.redactions, "other"),
        redaction_enabled=ingest.redaction_enabled,
        rejects_file=None,
        warnings=(f"{plural(left, 'warning')} about the files left out for readers outside.",) if left else (),
        population=_summary(ingest.population),
        sample=_summary(ingest.sample),
    )


def _summary(summary: Summary) -> Summary:
    return Summary(
        n=summary.n,
        models=models(summary.models),
        strata=shown_values(summary.strata),
        errors=summary.errors,
        with_tools=summary.with_tools,
        mean_turns=summary.mean_turns,
        mean_prompt_chars=summary.mean_prompt_chars,
        mean_answer_chars=summary.mean_answer_chars,
        latency_p50_ms=summary.latency_p50_ms,
        latency_p95_ms=summary.latency_p95_ms,
        mean_tokens_in=summary.mean_tokens_in,
        mean_tokens_out=summary.mean_tokens_out,
        total_cost_usd=summary.total_cost_usd,
        first=summary.first,
        last=summary.last,
    )


def _merged(counts: Mapping[str, int], otherwise: str) -> dict[str, int]:
    """Counts by plain name, with all others under one."""
    found: dict[str, int] = {}
    for name, count in counts.items():
        key = plain(name, otherwise)
        found[key] = found.get(key, 0) + count
    return found


def _prompt_name(name: str) -> str:
    return name if re.fullmatch(r"[a-z][a-z0-9_]{0,40}/v\d{1,4}", name) else "a prompt of its own"


def _prompts(prompts: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, sha256 in sorted(prompts.items()):
        if not _HASH.fullmatch(sha256):
            continue
        shown = _prompt_name(name)
        key, number = shown, 1
        while key in found:
            number += 1
            key = f"{shown} {number}"
        found[key] = sha256
    return found


def _said_all(texts: Iterable[str], hidden: Hidden) -> tuple[str, ...]:
    return tuple(hidden.said(text) for text in texts)


def _rules_of(text: str) -> str:
    """Rules and sample of the experiment, where they are numbers or words of ours; nothing else of it."""
    if len(text) > _MAX_YAML:
        return ""
    try:
        raw = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return ""
    if not isinstance(raw, dict):
        return ""
    kept = {name: _plain_values(raw.get(name), keys) for name, keys in _KEPT.items()}
    kept = {name: value for name, value in kept.items() if value}
    return yaml.safe_dump(kept, sort_keys=False, width=110) if kept else ""


def _plain_values(value: Any, keys: Mapping[str, Any]) -> dict[str, Any]:
    """The named keys of a section as far as they hold numbers or closed words."""
    found: dict[str, Any] = {}
    for key, inner in keys.items() if isinstance(value, dict) else ():
        item = value.get(key)
        if isinstance(inner, dict):
            shown: Any = _plain_values(item, inner)
        elif isinstance(inner, list):
            rules = item[:_MAX_RULES] if isinstance(item, list) else []
            shown = [rule for entry in rules if (rule := _plain_values(entry, inner[0]))]
        elif isinstance(item, str):
            shown = item if item in _WORDS_OF_OURS or (inner == "name" and _METRIC.fullmatch(item)) else None
        else:
            shown = item if isinstance(item, bool | int | float) else None
        if shown not in ({}, [], None):
            found[key] = shown
    return found
