"""What a report says about how far its figures can be believed: people, attempts, and what was left unasked."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.domain.attempt import Attempt
from harness.domain.decision import Verdict
from harness.domain.estimate import Estimate
from harness.domain.report import JudgeOnLabels, JudgeReport, PeopleReport, StoppingReport
from harness.pipeline.attempts import family_of
from harness.pipeline.evaluation import ArmEvaluation
from harness.pipeline.looking import SETTLED
from harness.pipeline.seats import SeatedJudge
from harness.pipeline.session import Session
from harness.stats import agreement
from harness.stats.evidence import Floats
from harness.store import ObservationCounts


def stopping(
    session: Session, item: ArmEvaluation, counts: ObservationCounts, judges: Sequence[JudgeReport]
) -> StoppingReport | None:
    """How much of the sample was asked of this candidate; ``None`` for recorded responses, which cost nothing."""
    if item.arm.spec is None:
        return None
    asked, sampled = counts.completed + sum(counts.failed.values()), counts.sampled
    left = sampled - asked
    saved: float | None = 0.0
    if left and asked:
        parts = [None if counts.unpriced or counts.cost_usd is None else counts.cost_usd / asked]
        parts += [_per_pair(judge) for judge in judges if judge.model is not None]
        saved = None if None in parts else left * sum(part or 0.0 for part in parts)
    return StoppingReport(
        reason=left_because(session, item) if left else None, asked=asked, sampled=sampled, saved_usd=saved
    )


def left_because(session: Session, item: ArmEvaluation) -> str | None:
    """Why a part of the sample was not asked of this candidate; the run's own reason is that of the last one going.

    A candidate whose decision stands is left alone at the next look, whatever ended the run for the others.
    """
    decision, settings = item.decision, session.experiment
    stands = decision is not None and decision.verdict is not Verdict.INCONCLUSIVE
    if stands and settings.budget.stop_when_settled and settings.decision.looks != "one":
        return SETTLED
    return session.run.stop_reason


def _per_pair(judge: JudgeReport) -> float | None:
    return None if judge.cost_usd is None or not judge.scored else judge.cost_usd / judge.scored


def ledger(session: Session, item: ArmEvaluation) -> tuple[Attempt, ...]:
    """The attempts of the candidate's family, this one last when it is not entered yet."""
    entered = session.store.attempts(family_of(session, item.arm))
    own = item.attempt
    known = {(attempt.fingerprint, attempt.sequence) for attempt in entered}
    if own is not None and (own.fingerprint, own.sequence) not in known:
        # It has no beginning yet; the clock would make every rendering of the same run another one.
        entered.append(replace(own, begun_at=session.run.created_at))
    return tuple(entered)


def people(session: Session, item: ArmEvaluation, judges: Sequence[SeatedJudge]) -> PeopleReport | None:
    """What people said, and how every preference judge compares with them."""
    labels = item.evidence.labels
    if labels is None:
        return None
    value = labels.value
    known = np.isfinite(value)
    stored = session.store.labels(session.run_id, item.arm.name, item.arm.fingerprint)
    plan = session.store.label_plan(session.run_id, item.arm.name, item.arm.fingerprint)
    bias = {} if item.reached is None else dict(item.reached.bias)
    return PeopleReport(
        labelled=int(known.sum()),
        drawn=int(np.sum(known & np.isfinite(labels.probability))),
        labellers=len({label.labeller for label in stored if label.label is not None}),
        wins=int(np.sum(value[known] > 0.5)),
        ties=int(np.sum(value[known] == 0.5)),
        losses=int(np.sum(value[known] < 0.5)),
        designs=tuple(sorted({row.design for row in plan})),
        judges=tuple(
            _compared(item, judge.name, value, bias) for judge in judges if judge.judge.metric.name == "win_rate"
        ),
    )


def _compared(item: ArmEvaluation, judge: str, people_value: Floats, bias: Mapping[str, Estimate]) -> JudgeOnLabels:
    """Both as win, tie or loss: a mean over labellers, or over orders, goes to the side it leans to."""
    own, theirs = verdicts(item.evidence.scores[judge].value), verdicts(people_value)
    both = np.isfinite(own) & np.isfinite(theirs)
    found = agreement.agreement(own, theirs, item.evidence.clusters, menu=agreement.MENU)
    return JudgeOnLabels(
        judge=judge,
        n=int(both.sum()),
        accuracy=found.accuracy if both.any() else None,
        baseline=found.accuracy.extra.get("baseline") if both.any() else None,
        kappa=found.kappa if both.any() else None,
        bias=bias.get(judge),
        confusion=tuple(tuple(int(n) for n in row) for row in found.confusion),
    )


def verdicts(scores: Floats) -> Floats:
    """Scores as loss 0, tie 0.5 and win 1; an average of both orders that leans is no tie."""
    return np.where(np.isfinite(scores), np.sign(scores - 0.5) / 2 + 0.5, np.nan)
