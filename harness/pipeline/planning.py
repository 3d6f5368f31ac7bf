"""How many requests and dollars an experiment will take, told before any of them is spent."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.decision import criteria, metrics
from harness.decision.forecast import Forecast, forecast
from harness.domain.estimate import Estimate
from harness.domain.metrics import METRICS
from harness.domain.observation import ArmRole
from harness.errors import ConfigurationError
from harness.pipeline import attempts, estimates
from harness.pipeline.arms import Arm, arms_of
from harness.pipeline.estimates import ExpectedCost
from harness.pipeline.evaluation import estimates_of, numbers_of, rulebook_of
from harness.pipeline.seats import SeatedJudge, default_embedder, seat_judges
from harness.pipeline.session import Session
from harness.pipeline.stages import ingest_stage
from harness.stats.evidence import Evidence

POWER = 0.8
"""Chance of a PASS that pairs and dollars are reckoned for."""


@dataclass(frozen=True, kw_only=True)
class ArmPlan:
    """What one candidate will take."""

    arm: str
    attempt: int
    alpha: float
    """One-sided chance of a wrong PASS this attempt may spend."""
    forecasts: tuple[Forecast, ...]
    binding: str | None
    """Metric of the required criterion that takes most; one that no number of pairs settles takes most."""
    pairs: Mapping[float, int | None]
    """Pairs that every required criterion has enough with, by the chance of a PASS of each."""
    usd: float | None
    """Candidate, replica and judges for as many pairs as ``POWER`` takes; ``None`` where a price is unknown."""
    usd_per_1k: float | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An experiment's plan."""

    run_id: str
    sampled: int
    arms: tuple[ArmPlan, ...]
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The plan for machines."""
        return asdict(self)


async def plan_stage(session: Session, truths: Mapping[str, float]) -> Plan:
    """Read the export if that has not been done, and reckon; asks no model.

    ``truths`` says what metrics are supposed to be; by default a candidate is exactly as good as production.

    Raises:
        ConfigurationError: a supposed metric does not exist.
    """
    await ingest_stage(session)
    return await asyncio.to_thread(_plan, session, truths)


def _plan(session: Session, truths: Mapping[str, float]) -> Plan:
    judges = seat_judges(session.experiment, default_embedder())
    known = metrics.catalogue({judge.name: judge.judge.metric for judge in judges})
    for name in truths:
        if name not in known:
            raise ConfigurationError(f"--expect {name}: no such metric; known metrics: {', '.join(sorted(known))}")
    rules = [section.criterion() for section in session.experiment.decision.rules]
    criteria.check(rules, known)
    costs = [*estimates.of_arms(session), *estimates.of_judges(session, judges)]
    sampled = session.store.count_exchanges(session.run_id)
    every = arms_of(session.experiment)
    numbers = [found.evidence for found in numbers_of(session, every, judges)]
    floor = next((own for arm, own in zip(every, numbers, strict=True) if arm.role is ArmRole.REPLICA), None)
    arms = tuple(
        _arm(session, arm, judges, truths, costs, evidence=own, floor=floor)
        for arm, own in zip(every, numbers, strict=True)
        if arm.role is ArmRole.CANDIDATE
    )
    return Plan(run_id=session.run_id, sampled=sampled, arms=arms, notes=_notes(session, judges, arms, sampled))


def _arm(
    session: Session,
    arm: Arm,
    judges: Sequence[SeatedJudge],
    truths: Mapping[str, float],
    costs: Sequence[ExpectedCost],
    *,
    evidence: Evidence,
    floor: Evidence | None,
) -> ArmPlan:
    attempt = attempts.of(session, arm)
    pilot: dict[str, Estimate] = {}
    if evidence.candidate.completed.any():
        pilot = estimates_of(evidence, judges, level=session.experiment.decision.level, floor=floor)
    rulebook = rulebook_of(session.experiment, judges, attempt)
    found = forecast(rulebook.criteria, rulebook.terms, production=evidence, pilot=pilot, truths=truths)
    required = [item for item in found if item.criterion.required]
    pairs = {power: _most(item.pairs[power] for item in required) for power in (0.5, 0.8, 0.95)}
    per_request = _per_request(session, arm, costs)
    wanted = pairs[POWER]
    return ArmPlan(
        arm=arm.name,
        attempt=attempt.number,
        alpha=attempt.alpha,
        forecasts=found,
        binding=_binding(required),
        pairs=pairs,
        usd=None if per_request is None or wanted is None else per_request * wanted,
        usd_per_1k=None if per_request is None else per_request * 1000,
    )


def _most(counts: Any) -> int | None:
    found = list(counts)
    return None if not found or None in found else max(found)


def _binding(required: Sequence[Forecast]) -> str | None:
    if not required:
        return None
    return max(required, key=lambda item: item.pairs[POWER] or math.inf).criterion.metric


def _per_request(session: Session, arm: Arm, costs: Sequence[ExpectedCost]) -> float | None:
    """Dollars for one more request of this candidate: its own call, the replica's share of it, and its judges."""
    total = 0.0
    for item in costs:
        if not item.calls:
            continue
        own = item.who == arm.name or item.who.startswith(f"{arm.name} · ")
        replica = item.who == "replica" or item.who.startswith("replica · ")
        if not (own or replica):
            continue
        if item.cost.expected_usd is None:
            return None
        share = session.experiment.replica.share if replica and session.experiment.replica is not None else 1.0
        total += share * item.cost.expected_usd / item.calls * _calls_per_pair(item, arm, session)
    return total


def _calls_per_pair(item: ExpectedCost, arm: Arm, session: Session) -> float:
    """A judge that reads both orders calls twice for one pair."""
    if " · " not in item.who:
        return 1.0
    pending = session.store.count_exchanges(session.run_id)
    return item.calls / pending if pending and item.who.startswith(arm.name) else 1.0


def _notes(session: Session, judges: Sequence[SeatedJudge], arms: Sequence[ArmPlan], sampled: int) -> tuple[str, ...]:
    """What keeps the plan from working as the experiment stands."""
    found = []
    named = {criterion.metric for criterion in session.experiment.decision.rules if criterion.required}
    measured = metrics.catalogue({judge.name: judge.judge.metric for judge in judges})
    judged = set(metrics.metric_names({judge.name: judge.judge.metric for judge in judges}).values())
    for name in sorted(named):
        base = name.partition("_from_floor")[0]
        from_judge = measured[name].name not in METRICS or base in {"win_rate", "similarity", "exact_match"}
        if from_judge and base not in judged and name not in judged:
            found.append(f"nothing measures {name}: add a judge for it, or take it out of the criteria")
        if name.endswith("_from_floor") and session.experiment.replica is None:
            found.append(f"{name} needs a replica: add `replica:` so that production is asked again")
    replica = session.experiment.replica
    for arm in arms:
        for item in arm.forecasts:
            needed = item.pairs[POWER]
            if replica is None or needed is None or "_from_floor" not in item.criterion.metric:
                continue
            asked = int(replica.share * sampled)
            if asked < needed:
                found.append(
                    f"{item.criterion.metric} takes {needed:,} requests to production again and replica.share "
                    f"{replica.share:g} of this sample gives {asked:,}: raise the share or the sample"
                )
        most = arm.pairs[POWER]
        if most is not None and most > sampled:
            found.append(
                f"{arm.arm} takes about {most:,} pairs and the sample has {sampled:,} requests: a GO is unlikely"
            )
    return tuple(dict.fromkeys(found))
