"""All candidates of a run beside each other, from the same evidence that their decisions rest on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.decision import side_by_side as beside
from harness.decision.reaching import any_look
from harness.decision.side_by_side import Field
from harness.domain.estimate import Estimate
from harness.domain.judgment import Judgment, UnscoredReason
from harness.domain.metrics import WIN_RATE
from harness.domain.observation import ArmRole
from harness.domain.pair import Pair
from harness.domain.side_by_side import ArmAnswer, Duel, SharedRequest, SideBySide
from harness.pipeline.evaluation import ArmEvaluation
from harness.pipeline.seats import SeatedJudge
from harness.pipeline.session import Session
from harness.stats.evidence import Bools, Floats
from harness.stats.looks import ONE_LOOK, Looks

_MAX_REQUESTS = 30
"""Requests shown with everybody's answer, however many candidates there are."""
_MAX_FAILED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """A request to be shown, and why."""

    row: int
    why: str
    about: str = ""


def of(session: Session, judges: Sequence[SeatedJudge], evaluations: Sequence[ArmEvaluation]) -> SideBySide | None:
    """The comparison; ``None`` with fewer than two candidates.

    Its bounds hold at as many looks as those of the decisions: a run that stops on what it sees has looked.
    """
    items = [item for item in evaluations if item.arm.role is ArmRole.CANDIDATE]
    if len(items) < 2:
        return None
    rules, shown = session.experiment.decision, session.experiment.report
    looks: Looks = ONE_LOOK if rules.looks == "one" else any_look(rules.horizon)
    candidates = Field(
        evidence={item.arm.name: item.evidence for item in items},
        estimates={item.arm.name: _measured(item) for item in items},
        judge_metrics={judge.name: judge.judge.metric for judge in judges},
        confidence=rules.level,
        looks=looks,
        unusable=frozenset(name for item in items for name, health in item.health.items() if not health.usable),
    )
    quality, judge = beside.quality_of(candidates)
    by_slice, tested = beside.slices(candidates, quality, min_slice=rules.min_slice, shown_from=shown.min_slice)
    return SideBySide(
        arms=candidates.arms,
        quality=quality,
        judge=judge,
        best_sets=beside.best_sets(candidates),
        frontiers=beside.frontiers(candidates, quality),
        duels=_duels(candidates, judge),
        slices=by_slice,
        slices_tested=tested,
        min_slice=rules.min_slice,
        confidence=rules.level,
        looks="one" if looks.name == "one" else "any",
        requests=_requests(session, judges, items, judge),
    )


def _measured(item: ArmEvaluation) -> dict[str, Estimate]:
    """What is known of one candidate: what was decided on where there is a criterion, else what describes it."""
    decided = () if item.decision is None else item.decision.results
    return item.estimates | {result.criterion.metric: result.estimate for result in decided}


def _duels(candidates: Field, judge: str) -> tuple[Duel, ...]:
    """By every judge that states a preference, the one that stands for quality first; by that one alone otherwise."""
    named = [name for name, metric in candidates.judge_metrics.items() if metric.name == WIN_RATE.name]
    ordered = dict.fromkeys([judge, *named] if judge else named)
    return tuple(duel for name in ordered for duel in beside.duels(candidates, name))


def pick(arms: Sequence[str], scores: Floats, failed: Bools, ids: Sequence[str], *, wanted: int) -> list[Pick]:
    """Rows to show: where candidates differ most, each one's worst and best beside the others, where all failed.

    Deterministic: equal rows are taken in the order of their ids, and none twice.

    Args:
        arms: Names, one per row of ``scores``.
        scores: Candidates by requests; NaN is unknown.
        failed: Candidates by requests; whether the candidate's own error ended it.
        ids: Exchange id per request.
        wanted: At most so many where they differ most; fewer when there are many candidates, at least three.
    """
    found: dict[int, Pick] = {}
    ranks = np.argsort(np.argsort(np.asarray(ids, dtype=object), kind="stable"), kind="stable")
    known = np.isfinite(scores)
    several = known.sum(axis=0) > 1
    filled = np.where(known, scores, np.nan)

    def take(strength: Floats, count: int, why: str, about: str = "") -> None:
        rows = np.flatnonzero(np.isfinite(strength) & (strength > 0))
        ordered = rows[np.lexsort((ranks[rows], -strength[rows]))]
        free = [int(row) for row in ordered if int(row) not in found][:count]
        found.update({row: Pick(row=row, why=why, about=about) for row in free})

    if several.any():
        columns = filled[:, several]
        spread = np.full(len(ids), np.nan)
        spread[several] = np.nanmax(columns, axis=0) - np.nanmin(columns, axis=0)
        room = max(_MAX_REQUESTS - 2 * len(arms) - _MAX_FAILED, 3)
        take(np.round(spread, 9), min(wanted, room), "disagree")
        for why, sign in (("worst", -1.0), ("best", 1.0)):
            for position, arm in enumerate(arms):
                take(np.round(sign * _ahead(filled, position), 9), 1, why, arm)
    every = failed.all(axis=0) if len(arms) else np.zeros(len(ids), dtype=np.bool_)
    take(np.where(every, 1.0, np.nan), _MAX_FAILED, "all_failed")
    return list(found.values())


def _ahead(scores: Floats, position: int) -> Floats:
    """How far one candidate is ahead of the mean of the others, per request; NaN where it or all others are unknown."""
    others = np.delete(scores, position, axis=0)
    known = np.isfinite(others)
    count = known.sum(axis=0)
    mean = np.divide(np.where(known, others, 0.0).sum(axis=0), count, out=np.full(len(count), np.nan), where=count > 0)
    return np.asarray(scores[position] - mean, dtype=np.float64)


def _requests(
    session: Session, judges: Sequence[SeatedJudge], items: Sequence[ArmEvaluation], judge: str
) -> tuple[SharedRequest, ...]:
    wanted = session.experiment.report.examples
    if not session.experiment.report.show_text or wanted == 0:
        return ()
    arms = [item.arm.name for item in items]
    first = items[0].evidence
    unknown = np.full(first.n, np.nan)
    scores = np.stack([item.evidence.scores[judge].value if judge else unknown for item in items])
    # A failure is worse than any answer: it stands where the lowest score of the run does.
    failed = np.stack([item.evidence.candidate.failed for item in items])
    if np.isfinite(scores).any():
        scores = np.where(failed, float(np.nanmin(scores)), scores)
    picks = pick(arms, scores, failed, [str(id) for id in first.exchange_ids], wanted=wanted)
    answered = _loader(session, judges, [str(first.exchange_ids[item.row]) for item in picks])
    found = [(item, *answered(item)) for item in items]
    shown = []
    for chosen in picks:
        exchange_id = str(first.exchange_ids[chosen.row])
        pairs = {item.arm.name: pairs.get(exchange_id) for item, pairs, _ in found}
        seen = next((pair for pair in pairs.values() if pair is not None), None)
        if seen is None:
            continue
        shown.append(
            SharedRequest(
                exchange_id=exchange_id,
                why=chosen.why,
                about=chosen.about,
                messages=seen.request.messages,
                production=seen.production,
                answers=tuple(
                    _answer(item, chosen.row, judge, pairs[item.arm.name], said.get(exchange_id, ()))
                    for item, _, said in found
                ),
                tags=(
                    *seen.exchange.tags,
                    *(f"{key}={value}" for key, value in sorted(seen.exchange.metadata.items())),
                ),
            )
        )
    return tuple(shown)


def _answer(item: ArmEvaluation, row: int, judge: str, pair: Pair | None, said: Sequence[Judgment]) -> ArmAnswer:
    value = float(item.evidence.scores[judge].value[row]) if judge else float("nan")
    return ArmAnswer(
        arm=item.arm.name,
        observation=None if pair is None else pair.candidate,
        score=value if np.isfinite(value) else None,
        judgments=tuple(said),
    )


def _loader(session: Session, judges: Sequence[SeatedJudge], ids: Sequence[str]) -> Callable[[ArmEvaluation], Any]:
    """What is stored of the chosen requests for one candidate: its pairs, and what judges said, by exchange."""
    order = {judge.fingerprint: position for position, judge in enumerate(judges)}

    def load(item: ArmEvaluation) -> tuple[dict[str, Pair], dict[str, list[Judgment]]]:
        store, arm = session.store, item.arm
        pairs = {pair.exchange_id: pair for pair in store.pairs(session.run_id, arm.name, arm.fingerprint, ids=ids)}
        said: dict[str, list[Judgment]] = {}
        for judgment in store.judgments(
            session.run_id, arm.name, arm.fingerprint, ids=ids, judge_fingerprints=list(order)
        ):
            if judgment.reason is not UnscoredReason.NOT_DRAWN:
                said.setdefault(judgment.exchange_id, []).append(judgment)
        for found in said.values():
            found.sort(key=lambda judgment: (order[judgment.judge_fingerprint], judgment.order))
        return pairs, said

    return load
