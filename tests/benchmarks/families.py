"""Many questions at once: slices of one experiment, and one candidate tried again and again."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr

from harness.decision import slices
from harness.decision.reaching import Rulebook, reach
from harness.domain.decision import Bound, Criterion, Terms, Verdict
from harness.stats import multiplicity
from harness.stats.looks import ONE_LOOK, AnyLook
from tests.benchmarks.gates import ALPHA, EVERY
from tests.benchmarks.worlds import JUDGES, World, simulate

SLICES, PAIRS, BAD = 20, 500, 0.40
ATTEMPTS = 10
CORRECTIONS = ("none, 5% each", "Benjamini-Hochberg, 10%", "e-BH, 10%")
_SEQUENCE = AnyLook()
_SPOTLESS = {"errors": 0.0, "production_errors": 0.0}


@dataclass(frozen=True, kw_only=True)
class Accused:
    """Whether the slice that loses was flagged, and whether any other was: at the last look, and at any."""

    found: bool = False
    alarm: bool = False
    ever_found: bool = False
    ever_alarm: bool = False


def sliced(seed: tuple[int, ...]) -> Mapping[str, Accused]:
    """Twenty slices of 500 pairs, one with a win rate of 40 %, looked at every 1,000 pairs; by correction."""
    rng = np.random.default_rng(seed)
    number = rng.permutation(np.repeat(np.arange(SLICES), PAIRS))
    win = np.where(number == 0, BAD, 0.5)
    names = number.astype(str).astype(object)
    data, _ = simulate(World(**_SPOTLESS), SLICES * PAIRS, rng, win=win, slices=names)
    rule = Criterion(metric="win_rate", bound=Bound.ABOVE, threshold=0.5)
    found = dict.fromkeys(CORRECTIONS, Accused())
    for n in range(4000, SLICES * PAIRS + 1, 1000):
        once, often = (
            slices.examine(
                data.take(slice(0, n)),
                [rule],
                judge_metrics=JUDGES,
                looks=looks,
                min_pairs=200,
                false_discoveries=0.1,
            )
            for looks in (ONE_LOOK, _SEQUENCE)
        )
        sd = np.sqrt(0.25 - World().ties / 4)
        alone = [replace(test, flagged=bool(ndtr((test.estimate - 0.5) * np.sqrt(test.n) / sd) < ALPHA))
                 for test in once]  # fmt: skip
        for name, tests in zip(CORRECTIONS, (alone, once, often), strict=True):
            bad = any(test.flagged for test in tests if test.value == "0")
            good = any(test.flagged for test in tests if test.value != "0")
            before = found[name]
            found[name] = Accused(
                found=bad, alarm=good, ever_found=before.ever_found or bad, ever_alarm=before.ever_alarm or good
            )
    return found


@dataclass(frozen=True, kw_only=True)
class Retried:
    """Whether each attempt came to GO at any look."""

    plain: tuple[bool, ...]
    """At the same alpha each time."""
    ledger: tuple[bool, ...]
    """At what the ledger leaves for it."""


def retried(seed: tuple[int, ...]) -> Retried:
    """Ten attempts with fresh data at the margin of the win rate, on the win rate alone."""
    attempts = [_attempt((*seed, number), number) for number in range(1, ATTEMPTS + 1)]
    return Retried(plain=tuple(plain for plain, _ in attempts), ledger=tuple(ledger for _, ledger in attempts))


def _attempt(seed: tuple[int, ...], number: int) -> tuple[bool, bool]:
    data, _ = simulate(World(win=0.48), 10_000, np.random.default_rng(seed))
    plain = False
    for n in range(EVERY, 10_001, EVERY):
        seen = data.take(slice(0, n))
        if plain or _goes(seen, None):
            plain = True
            # A smaller alpha has wider bounds at every look, so that nobody goes by the ledger who does not without.
            if _goes(seen, multiplicity.spent(number, alpha=ALPHA)):
                return True, True
    return plain, False


def _goes(seen, attempt_alpha: float | None) -> bool:
    rule = Criterion(metric="win_rate", bound=Bound.ABOVE, threshold=0.48)
    terms = Terms(profile="win rate", looks="any", alpha=ALPHA, attempt_alpha=attempt_alpha, horizon=10_000)
    decision = reach(seen, Rulebook(criteria=(rule,), terms=terms, judge_metrics=JUDGES)).decision
    return decision.verdict is Verdict.GO
