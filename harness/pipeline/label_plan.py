"""Which pairs people are asked about: drawn at random by a known design before anybody has seen one."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

import numpy as np

from harness.domain.label import PlannedLabel
from harness.domain.metrics import WIN_RATE
from harness.errors import ConfigurationError
from harness.pipeline.arms import Arm
from harness.pipeline.seats import SeatedJudge, default_embedder, seat_judges
from harness.pipeline.session import Session
from harness.stats.evidence import Bools, Evidence, Floats
from harness.stats.inclusion import inclusion_probabilities, labelling_weights

SIZE = 200
"""Pairs that are planned when nothing else is said."""
_TEXT = re.compile(r"(uniform|uncertain), seed (-?\d+), size (\d+)(?:, judge (.+))?", re.DOTALL)


class DesignKind(StrEnum):
    """How pairs are drawn."""

    UNIFORM = "uniform"
    """Every comparable pair has the same chance."""
    UNCERTAIN = "uncertain"
    """Pairs a judge is unsure of, and those of rare slices, have a higher chance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Design:
    """Everything that decides the draw besides the pairs themselves."""

    kind: DesignKind
    seed: int
    size: int
    """Pairs to draw; what is to be expected of an uncertain design, whose number is itself random."""
    judge: str | None = None
    """Whose scores say what is uncertain."""

    def __str__(self) -> str:
        judge = f", judge {self.judge}" if self.judge is not None else ""
        return f"{self.kind.value}, seed {self.seed}, size {self.size}{judge}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The design that reads ``text``; ``None`` when it is not one of ours."""
        match = _TEXT.fullmatch(text)
        if match is None:
            return None
        return cls(kind=DesignKind(match[1]), seed=int(match[2]), size=int(match[3]), judge=match[4])


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What was asked for on the command line; ``None`` goes with the plan there is."""

    kind: DesignKind | None = None
    seed: int | None = None
    size: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelPlan:
    """The pairs of one arm that people are asked about."""

    design: Design
    n_planned: int
    n_comparable: int
    """Pairs they were drawn from."""
    absent: frozenset[str]
    """Planned exchanges that are no comparable pair any more, and are not shown."""
    notes: tuple[str, ...] = ()
    """What the reader should know of how this plan came about."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """The comparable pairs of one arm."""

    ids: tuple[str, ...]
    weights: Floats | None = None
    """What a label of each pair is worth; needed by the uncertain design."""


def prepare_plan(session: Session, arm: Arm, wish: Wish | None = None) -> LabelPlan:
    """The arm's plan, drawn and stored now if there is none, made larger if that is asked for.

    Nothing that was planned is ever taken back, and no plan is redrawn: pairs that became comparable since have to wait
    until it is made larger.

    Raises:
        ConfigurationError: there is no comparable pair, the wish contradicts the plan there is, or the uncertain design
            lacks a judge's scores.
    """
    wish = wish or Wish()
    planned = session.store.label_plan(session.run_id, arm.name, arm.fingerprint)
    old = _design_of(arm, planned)
    if old is not None:
        _check(arm, old, wish)
    design = _wished(old, wish)
    larger = old is None or design.size > old.size
    design, population = _population(session, arm, design, scored=larger and design.kind is DesignKind.UNCERTAIN)
    notes: tuple[str, ...] = ()
    drawn: Sequence[PlannedLabel] = planned
    if old is None:
        drawn = draw(design, population)
    elif not larger:
        notes = _left_out(planned, population)
    elif design.kind is DesignKind.UNIFORM:
        design, drawn, notes = _extended(design, population, planned)
    else:
        drawn = _grown(arm, old, design, population, planned)
    if not drawn:
        raise ConfigurationError(f"the design `{design}` happened to draw no pair; give a larger --size")
    if drawn is not planned:
        session.store.put_label_plan(session.run_id, arm.name, arm.fingerprint, drawn)
    present = frozenset(population.ids)
    return LabelPlan(
        design=design,
        n_planned=sum(item.exchange_id in present for item in drawn),
        n_comparable=len(population.ids),
        absent=frozenset(item.exchange_id for item in drawn) - present,
        notes=notes,
    )


def draw(design: Design, population: Population) -> tuple[PlannedLabel, ...]:
    """The planned pairs in the order in which they are shown; a larger size only adds pairs.

    Uniform: the beginning of a random order. Uncertain: every pair by a throw of its own with its own chance (Poisson
    sampling), shown in an order that depends on nothing but another hash, so that any beginning is a draw of the same
    kind.
    """
    if design.kind is DesignKind.UNIFORM:
        ordered = sorted(population.ids, key=lambda item: (fraction("order", design.seed, item), item))
        chosen = [(item, min(1.0, design.size / len(ordered))) for item in ordered[: design.size]]
    else:
        assert population.weights is not None  # noqa: S101  whoever asks for this design brings them
        chances = inclusion_probabilities(population.weights, design.size).tolist()
        chosen = [
            (item, chance)
            for item, chance in zip(population.ids, chances, strict=True)
            if fraction("draw", design.seed, item) < chance
        ]
        chosen.sort(key=lambda pair: (fraction("order", design.seed, pair[0]), pair[0]))
    return tuple(
        PlannedLabel(exchange_id=item, rank=rank, probability=chance, design=str(design))
        for rank, (item, chance) in enumerate(chosen)
    )


def fraction(purpose: str, seed: int, *key: str) -> float:
    """Uniform on [0, 1), the same for the same arguments; other purposes give independent values."""
    text = "\0".join((purpose, str(seed), *key))
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / float(1 << 53)


def comparable(evidence: Evidence) -> Bools:
    """Rows with two answers."""
    return np.asarray(evidence.production.completed & evidence.candidate.completed, dtype=np.bool_)


def _design_of(arm: Arm, planned: Sequence[PlannedLabel]) -> Design | None:
    if not planned:
        return None
    design = Design.parse(planned[0].design)
    if design is None:
        raise ConfigurationError(
            f"the pairs of {arm.name!r} were drawn by {planned[0].design!r}, unknown to this version"
        )
    return design


def _check(arm: Arm, old: Design, wish: Wish) -> None:
    """Refuse to mix designs: the chance of a pair to be drawn by one or the other would be known for none."""
    if (wish.kind or old.kind) is not old.kind or (old.seed if wish.seed is None else wish.seed) != old.seed:
        raise ConfigurationError(
            f"the pairs of {arm.name!r} were drawn by the design `{old}`, and one plan has one design; "
            "leave out --design and --seed to go on with it"
        )


def _wished(old: Design | None, wish: Wish) -> Design:
    if old is None:
        return Design(kind=wish.kind or DesignKind.UNIFORM, seed=wish.seed or 0, size=wish.size or SIZE)
    return replace(old, size=max(old.size, wish.size or 0))


def _population(session: Session, arm: Arm, design: Design, *, scored: bool) -> tuple[Design, Population]:
    """The comparable pairs; when ``scored``, also what their labels are worth, and in the design by whose scores."""
    judge: SeatedJudge | None = None
    if scored:
        seats = seat_judges(session.experiment, default_embedder())
        judge = next((seat for seat in seats if seat.judge.metric.name == WIN_RATE.name), None)
        if judge is None:
            raise ConfigurationError("--design uncertain needs a judge that gives a win_rate; use --design uniform")
        design = replace(design, judge=judge.name)
    evidence = session.store.evidence(
        session.run_id,
        arm.name,
        arm.fingerprint,
        judges={} if judge is None else {judge.name: (judge.fingerprint, judge.judge.metric.name)},
        attributes=() if judge is None else tuple(session.experiment.report.slices),
    )
    rows = evidence.take(comparable(evidence))
    if not rows.n:
        raise ConfigurationError(
            f"{arm.name!r} has no pair with two answers in run {session.run_id!r}; `harness replay` comes first"
        )
    ids = tuple(rows.exchange_ids.tolist())
    if judge is None:
        return design, Population(ids=ids)
    score = rows.scores[judge.name].value
    if not np.isfinite(score).any():
        raise ConfigurationError(
            f"--design uncertain needs scores of the judge {judge.name!r}; `harness judge` comes first, "
            "or use --design uniform"
        )
    return design, Population(ids=ids, weights=labelling_weights(score, rows.attributes))


def _left_out(planned: Sequence[PlannedLabel], population: Population) -> tuple[str, ...]:
    """A word about pairs that had no chance to be drawn, which only a uniform plan's chances give away."""
    first = planned[0]
    since = len(population.ids) - round(len(planned) / first.probability)
    if since <= 0 or any(item.probability != first.probability for item in planned):
        return ()
    return (
        f"{since:,} pairs were added to the run since the plan was drawn and had no chance in it; --size extends it",
    )


def _extended(
    design: Design, population: Population, planned: Sequence[PlannedLabel]
) -> tuple[Design, tuple[PlannedLabel, ...], tuple[str, ...]]:
    """The beginning of today's order that holds all that was planned before."""
    kept = {item.exchange_id for item in planned} & set(population.ids)
    last = max(((fraction("order", design.seed, item), item) for item in kept), default=(-1.0, ""))
    reach = sum((fraction("order", design.seed, item), item) <= last for item in population.ids)
    notes: tuple[str, ...] = ()
    if reach > design.size:
        notes = (
            f"pairs were added to the run since the plan was drawn: {reach:,} are planned instead of {design.size:,}, "
            "so that they are a random draw of all",
        )
        design = replace(design, size=reach)
    drawn = draw(design, population)
    # What is no comparable pair any more keeps its row, behind all others.
    gone = (item for item in planned if item.exchange_id not in kept)
    behind = tuple(replace(item, rank=len(drawn) + index, design=str(design)) for index, item in enumerate(gone))
    return design, drawn + behind, notes


def _grown(
    arm: Arm, old: Design, design: Design, population: Population, planned: Sequence[PlannedLabel]
) -> tuple[PlannedLabel, ...]:
    """A larger uncertain plan, possible only while the scores are those it was drawn by."""
    if list(draw(old, population)) != list(planned):
        raise ConfigurationError(
            f"the pairs of {arm.name!r} were drawn by the design `{old}`; judgments or pairs were added since, so the "
            "chances of that draw cannot be worked out again and it cannot grow; leave out --size"
        )
    return draw(design, population)
