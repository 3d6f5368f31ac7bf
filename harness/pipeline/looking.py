"""Asks and judges a part at a time, looks, and stops for a candidate as soon as its decision stands.

Requests are in random order, so what was asked up to a look is a random part of the sample. Bounds that hold at any
look make stopping at one no more likely to be wrong than not stopping.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.decision.prospects import Prospects, prospects
from harness.domain.decision import Decision, Verdict
from harness.domain.observation import ArmRole
from harness.domain.run import Stage
from harness.errors import Interrupted
from harness.judging.protocol import Embedder
from harness.pipeline import attempts, evaluation, look_history
from harness.pipeline.arms import arms_of
from harness.pipeline.judging import judge_arms
from harness.pipeline.replaying import replay_arms
from harness.pipeline.seats import SeatedJudge
from harness.pipeline.session import EVERYTHING, Portion, Session

SETTLED = "settled"
"""Stop reason: every candidate's decision stands."""
OUT_OF_REACH = "out_of_reach"
"""Stop reason: this sample and budget cannot settle what is still open."""


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What one look said."""

    settled: frozenset[str]
    hopeless: frozenset[str]
    lines: tuple[str, ...]


def looks_of(session: Session, judges: Sequence[SeatedJudge]) -> tuple[int, ...]:
    """Numbers of requests after which to look; one look at the end when looking can save nothing.

    Asking failed requests again has one pass too: what failed in one part would be asked again in each. So have
    batches: every part would take as long as a vendor may take for all.
    """
    total = session.store.count_exchanges(session.run_id)
    rules, budget = session.experiment.decision, session.experiment.budget
    costs = any(arm.spec is not None for arm in arms_of(session.experiment)) or any(seat.models for seat in judges)
    may_stop = budget.stop_when_settled or budget.stop_when_out_of_reach
    models = [*(arm.spec for arm in arms_of(session.experiment)), *(model for seat in judges for model in seat.models)]
    in_batches = any(model is not None and model.batch is not None for model in models)
    if rules.looks == "one" or not costs or not may_stop or session.retry_errors or in_batches:
        return (total,)
    if rules.looks == "planned":
        horizon = min(rules.horizon, total)
        parts = [math.ceil((look + 1) / rules.planned_looks * horizon) for look in range(rules.planned_looks)]
        return tuple(dict.fromkeys([*parts, total]))
    return (*range(rules.look_every, total, rules.look_every), total)


async def ask_and_judge(session: Session, judges: Sequence[SeatedJudge], embedder: Embedder) -> str | None:
    """Replay and judge look by look; returns why it ended before everything was asked and judged, if it did.

    Raises:
        Interrupted: somebody asked for the end.
    """
    looks = looks_of(session, judges)
    if len(looks) == 1:
        return await _part(session, judges, embedder, EVERYTHING)
    candidates = frozenset(arm.name for arm in arms_of(session.experiment) if arm.role is ArmRole.CANDIDATE)
    # What an earlier command has asked may have settled it already.
    seen = await asyncio.to_thread(_look, session, judges, looks[-1]) if _has_begun(session) else None
    for number, first in enumerate(looks, start=1):
        done = frozenset() if seen is None else seen.settled | seen.hopeless
        if done >= candidates:
            assert seen is not None  # noqa: S101  nothing is done before anything was seen
            return OUT_OF_REACH if seen.hopeless else SETTLED
        last = first == looks[-1]
        portion = Portion(first=None if last else first, without=done)
        reason = await _part(session, judges, embedder, portion)
        if reason is not None or last:
            return reason
        seen = await asyncio.to_thread(_look, session, judges, looks[-1])
        session.reporter.finish(
            f"look {number} of at most {len(looks)}", f"{first:,} of {looks[-1]:,} requests · " + "; ".join(seen.lines)
        )
    return None


async def _part(session: Session, judges: Sequence[SeatedJudge], embedder: Embedder, portion: Portion) -> str | None:
    replayed = await replay_arms(session, portion)
    session.advance(Stage.REPLAYED, stop_reason=replayed.stop_reason)
    check(session)
    judged = await judge_arms(session, judges, embedder, portion)
    session.advance(Stage.JUDGED, stop_reason=replayed.stop_reason or judged.stop_reason)
    check(session)
    return replayed.stop_reason or judged.stop_reason


def check(session: Session) -> None:
    """Raise Interrupted when somebody has asked for the end."""
    if session.stop.reason is not None:
        raise Interrupted("interrupted; the same command goes on where it stopped")


def _has_begun(session: Session) -> bool:
    return any(
        session.store.observation_counts(session.run_id, arm.name, arm.fingerprint).asked
        for arm in arms_of(session.experiment)
        if arm.role is ArmRole.CANDIDATE and arm.spec is not None
    )


def _look(session: Session, judges: Sequence[SeatedJudge], total: int) -> _Seen:
    """Decide on what is stored, and say for which candidates nothing more is needed."""
    attempts.begin_all(session)
    budget = session.experiment.budget
    settled, hopeless, lines = set(), set(), []
    evaluations = evaluation.evaluate(session, judges, describe=False)
    look_history.keep(session, evaluations)
    for item in evaluations:
        decision = item.decision
        if decision is None:
            continue
        asked = int((item.evidence.candidate.completed | item.evidence.candidate.failed).sum())
        most = _affordable(session, asked, total)
        found = prospects(decision, n_now=asked, n_most=most)
        if decision.verdict is not Verdict.INCONCLUSIVE and budget.stop_when_settled:
            settled.add(item.arm.name)
        # Where nothing more can be paid for, the stage that finds its purse empty says so.
        elif budget.stop_when_out_of_reach and not found.open and most > asked:
            hopeless.add(item.arm.name)
        lines.append(_line(decision, found))
    return _Seen(settled=frozenset(settled), hopeless=frozenset(hopeless), lines=tuple(lines))


def _affordable(session: Session, asked: int, total: int) -> int:
    """Requests in all that the budgets pay for, at what those so far have cost."""
    budget, spent = session.experiment.budget, session.store.spent(session.run_id)
    limits = {"candidates": budget.candidates_usd, "judges": budget.judges_usd}
    most = total
    for purse, limit in limits.items():
        if limit is not None and spent[purse] > 0 and asked:
            most = min(most, int(asked * limit / spent[purse]))
    return most


def _line(decision: Decision, found: Prospects) -> str:
    needed = f", about {decision.n_needed:,} pairs needed" if decision.n_needed else ""
    if decision.verdict is not Verdict.INCONCLUSIVE:
        return f"{decision.arm} {decision.verdict.value}"
    if not found.open:
        return f"{decision.arm} out of reach ({', '.join(found.blocking)})"
    return f"{decision.arm} open: {decision.binding}{needed}" if decision.binding else f"{decision.arm} open"
