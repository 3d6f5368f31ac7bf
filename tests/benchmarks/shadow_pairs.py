"""The shadow phases of a simulated rollout: pairs as they come, and looks at them as the controller's are.

Pairs are those of `worlds.py`, in conversations of two requests that are mirrored as a whole, in eight languages. What
is decided is decided by the product's own `reach`, with the rules an experiment has when its file says nothing, as the
first attempt of its family.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

import numpy as np

from harness.config.decision import DecisionSection
from harness.decision.reaching import Rulebook, reach
from harness.domain.decision import Decision, Terms
from harness.domain.slices import SliceTest
from harness.rollout.evidence import PairCount
from harness.stats import multiplicity
from harness.stats.evidence import ArmColumns, Evidence, ScoreColumn
from tests.benchmarks.worlds import JUDGES, World, simulate

LANGUAGES = {"en": 0.40, "de": 0.18, "fr": 0.12, "es": 0.10, "it": 0.08, "pt": 0.06, "nl": 0.04, "pl": 0.02}
REQUESTS = 2
"""Of a conversation."""
ICC = 0.2
REPLICA = 0.1
"""Share of the pairs for which production is asked again."""
FIRST_LOOK, GROWN = 100, 1.3
"""Pairs of the first look, and how many times as many there are at each further one."""
MOST_PAIRS = 100_000
"""Beyond them nothing is looked at any more: what the last look said stands, however long a rollout is held."""
RULES = DecisionSection()
RULEBOOK = Rulebook(
    criteria=tuple(section.criterion() for section in RULES.rules),
    terms=Terms(
        profile=RULES.profile,
        looks=RULES.looks,
        alpha=RULES.alpha,
        attempt_alpha=multiplicity.spent(1, alpha=RULES.alpha),
        horizon=RULES.horizon,
    ),
    judge_metrics=JUDGES,
    min_slice=RULES.min_slice,
    slice_false_discoveries=RULES.slice_false_discoveries,
)
_Columns = TypeVar("_Columns", ArmColumns, ScoreColumn)


class Pairs:
    """Pairs of one candidate as they are mirrored."""

    def __init__(self, world: World, seed: tuple[int, ...], *, only: str | None = None) -> None:
        """``only`` is the language the candidate is so in; as production in every other."""
        self._world = replace(world, conversation=REQUESTS, icc=ICC, share=REPLICA)
        self._usual = replace(World(), conversation=REQUESTS, icc=ICC, share=REPLICA)
        self._only = only
        self._rng = np.random.default_rng(seed)

    def take(self, conversations: float) -> tuple[Evidence, Evidence]:
        """The candidate's and the replica's columns on about as many conversations."""
        n = int(self._rng.poisson(conversations))
        names = np.array(list(LANGUAGES), dtype=object)
        language = names[self._rng.choice(len(names), size=n, p=list(LANGUAGES.values()))]
        own = np.ones(n, dtype=np.bool_) if self._only is None else language == self._only
        parts = [
            self._simulated(world, language[rows])
            for world, rows in ((self._world, own), (self._usual, ~own))
            if rows.any()
        ]
        if not parts:
            return self._simulated(self._usual, language)
        candidates, replicas = zip(*parts, strict=True)
        return joined(candidates), joined(replicas)

    def _simulated(self, world: World, language: np.ndarray) -> tuple[Evidence, Evidence]:
        by_pair = np.repeat(language, REQUESTS)
        if not len(by_pair):
            # A world has at least one conversation.
            one, again = simulate(world, REQUESTS, self._rng)
            nothing = slice(0, 0)
            return tuple(replace(arm.take(nothing), attributes={"language": by_pair}) for arm in (one, again))
        return tuple(replace(arm, attributes={"language": by_pair}) for arm in simulate(world, len(by_pair), self._rng))


def joined(parts: Sequence[Evidence]) -> Evidence:
    """The rows of all, conversations kept apart."""
    if len(parts) == 1:
        return parts[0]
    offset, clusters = 0, []
    for part in parts:
        clusters.append(part.clusters + offset)
        offset += int(part.clusters.max(initial=-1)) + 1
    first = parts[0]
    return Evidence(
        arm=first.arm,
        exchange_ids=np.concatenate([part.exchange_ids for part in parts]),
        clusters=np.concatenate(clusters),
        timestamps=np.concatenate([part.timestamps for part in parts]),
        production=_columns([part.production for part in parts]),
        candidate=_columns([part.candidate for part in parts]),
        scores={name: _columns([part.scores[name] for part in parts]) for name in first.scores},
        attributes={
            name: np.concatenate([part.attributes[name] for part in parts]) for name in first.attributes
        },
    )  # fmt: skip


def _columns(parts: Sequence[_Columns]) -> _Columns:
    values = {item.name: [getattr(part, item.name) for part in parts] for item in fields(parts[0])}
    return replace(
        parts[0],
        **{name: np.concatenate(columns) for name, columns in values.items() if isinstance(columns[0], np.ndarray)},
    )


@dataclass(kw_only=True)
class Shadow:
    """What a controller knows of the pairs so far; evidence runs on through the phases, pairs count by phase."""

    pairs: Pairs
    total: int = 0
    in_phase: int = 0
    decision: Decision | None = None
    flagged: tuple[SliceTest, ...] = ()
    looks: int = 0
    _phase: str = ""
    _looked_at: int = 0
    _parts: list[tuple[Evidence, Evidence]] = field(default_factory=list)

    def add(self, phase: str, conversations: float) -> None:
        """Take in what was mirrored meanwhile, and look when there is enough more to see."""
        if phase != self._phase:
            self._phase, self.in_phase = phase, 0
        if self.total >= MOST_PAIRS:
            n = round(conversations * REQUESTS)
        else:
            part = self.pairs.take(conversations)
            n = part[0].n
            self._parts.append(part)
        self.total += n
        self.in_phase += n
        known = min(self.total, MOST_PAIRS)
        if known >= max(FIRST_LOOK, GROWN * self._looked_at) or (known > self._looked_at and known == MOST_PAIRS):
            self._look(known)

    def count(self) -> PairCount:
        """Of the present phase; a call that failed is evidence, so that none is missing here."""
        return PairCount(due=self.in_phase, complete=self.in_phase)

    def done(self) -> None:
        """Forget the rows: nothing is looked at any more."""
        self._parts.clear()

    def _look(self, known: int) -> None:
        self._looked_at = known
        self.looks += 1
        candidates, replicas = zip(*self._parts, strict=True)
        evidence, floor = joined(candidates), joined(replicas)
        self._parts = [(evidence, floor)]
        reached = reach(evidence, RULEBOOK, floor=floor)
        self.decision = reached.decision
        self.flagged = tuple(test for test in reached.slices if test.flagged)
