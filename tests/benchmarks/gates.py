"""Simulated experiments followed look by look, and three gates over the same evidence.

``ours`` is the product's own :func:`reach`. ``naive`` compares point estimates with the same thresholds. ``peeked``
compares one-sided bounds for one look at the same alpha, which is right for who looks once and is asked at every look
here.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from harness.config import PROFILES
from harness.decision import criteria, metrics
from harness.decision.reaching import Rulebook, reach
from harness.domain.decision import Criterion, Outcome, Terms, Verdict
from harness.domain.estimate import Estimate
from harness.stats.looks import ONE_LOOK
from tests.benchmarks.worlds import JUDGES, World, simulate

ALPHA = 0.05
EVERY = 500
RULES = {name: tuple(section.criterion() for section in sections) for name, sections in PROFILES.items()}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One simulated experiment that is to be followed."""

    world: World
    seed: tuple[int, ...]
    profile: str = "non_inferiority"
    alpha: float = ALPHA
    last: int = 10_000
    beside: bool = True
    """Whether the other two gates are followed as well; without them a trial ends with the decision."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """What became of a trial."""

    verdict: Verdict
    n: int
    """Requests at the look that decided it, else at the last one."""
    binding: str | None = None
    """The criterion that failed, or that asked for most when nothing had been decided at the last look."""
    naive_first: bool = False
    """Whether point estimates alone would have said GO at 1,000 requests."""
    naive_last: bool = False
    naive_ever: bool = False
    peeked_ever: bool = False


def rulebook(trial: Trial) -> Rulebook:
    """The product's own profile at the trial's alpha, looked at whenever one likes."""
    terms = Terms(profile=trial.profile, looks="any", alpha=trial.alpha, horizon=10_000)
    return Rulebook(criteria=RULES[trial.profile], terms=terms, judge_metrics=JUDGES)


def follow(trial: Trial) -> Course:
    """Look every 500 requests until everything that is followed has come to its end."""
    evidence, floor = simulate(trial.world, trial.last, np.random.default_rng(trial.seed))
    book, course = rulebook(trial), Course(verdict=Verdict.INCONCLUSIVE, n=trial.last)
    for n in range(EVERY, trial.last + 1, EVERY):
        seen, repeated = (item.take(slice(0, n)) for item in (evidence, floor))
        if course.verdict is Verdict.INCONCLUSIVE:
            decision = reach(seen, book, floor=repeated).decision
            binding = decision.binding
            if decision.verdict is Verdict.NO_GO:
                binding = next(item.criterion.metric for item in decision.results if item.outcome is Outcome.FAIL)
            course = replace(course, verdict=decision.verdict, binding=binding)
            if decision.verdict is not Verdict.INCONCLUSIVE:
                course = replace(course, n=n)
        if trial.beside:
            wanted = {criterion.metric for criterion in book.criteria}
            found = metrics.estimates(
                seen, level=1 - 2 * ALPHA, judge_metrics=JUDGES, looks=ONE_LOOK, floor=repeated, only=wanted
            )
            naive = all(on_the_right_side(item, found[item.metric]) for item in book.criteria)
            peeked = all(passes(item, found[item.metric]) for item in book.criteria)
            course = replace(
                course,
                naive_first=naive if n == 1000 else course.naive_first,
                naive_last=naive,
                naive_ever=course.naive_ever or naive,
                peeked_ever=course.peeked_ever or peeked,
            )
        elif course.verdict is not Verdict.INCONCLUSIVE:
            break
    return course


def passes(criterion: Criterion, found: Estimate) -> bool:
    """Whether the product would say PASS."""
    return criteria.evaluate(criterion, found).outcome is Outcome.PASS


def on_the_right_side(criterion: Criterion, found: Estimate) -> bool:
    """Whether the value alone is where the criterion wants it."""
    return found.value is not None and passes(criterion, replace(found, low=found.value, high=found.value))


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Many trials of one world."""

    courses: Sequence[Course]

    def share(self, verdict: Verdict) -> float:
        """How often it came to this."""
        return float(np.mean([course.verdict is verdict for course in self.courses]))

    def rate(self, field: str) -> float:
        """How often a field of the course is true."""
        return float(np.mean([getattr(course, field) for course in self.courses]))

    @property
    def median_n(self) -> float | None:
        """Requests until it was decided, among trials that were."""
        decided = [course.n for course in self.courses if course.verdict is not Verdict.INCONCLUSIVE]
        return median(decided) if decided else None

    @property
    def binding(self) -> str:
        """The criterion that failed or was open most often, and in which part of the trials."""
        counted = Counter(course.binding for course in self.courses if course.binding is not None)
        if not counted:
            return "none"
        [(name, times)] = counted.most_common(1)
        return f"{name} ({times / len(self.courses):.0%})"
