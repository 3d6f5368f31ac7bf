"""How often the evidence may be looked at, and what that costs in width.

An estimator takes the confidence of its two bounds and a :class:`Looks`, which turns it into the multiple of the
standard error that each bound stands off. Whoever looks whenever they like needs a larger multiple than whoever looks
once, and gets bounds that hold at all looks together.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from harness.stats import critical


class Looks(Protocol):
    """What the bounds have to survive."""

    @property
    def name(self) -> str:
        """``one``, ``any`` or ``planned``, as in ``decision.looks``."""
        ...

    @property
    def least_units(self) -> int:
        """Independent units below which the normal approximation is not trusted."""
        ...

    def multiplier(self, level: float, units: float) -> float:
        """Standard errors from the value to each bound, for a two-sided ``level`` on ``units`` independent units."""
        ...


@dataclass(frozen=True, slots=True)
class OneLook:
    """The sample size was fixed beforehand and the result is looked at once."""

    name: str = "one"
    least_units: int = 2

    def multiplier(self, level: float, units: float) -> float:
        """Student's t on ``units - 1`` degrees of freedom."""
        return critical.student(level, math.floor(units) - 1)


@dataclass(frozen=True, slots=True)
class AnyLook:
    """Looked at whenever one likes, and stopped whenever one likes: asymptotic confidence sequences.

    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (arXiv 2103.06476), one-sided at ``(1 - level) / 2`` on either side.
    """

    t_opt: float = 3_000.0
    """Units at which the bounds are tightest; 0.3 of the horizon is a good choice. Changes width, not validity."""
    name: str = "any"
    least_units: int = 100

    def multiplier(self, level: float, units: float) -> float:
        """``sqrt(n)`` times the half width over the standard deviation; nearly flat in n."""
        from harness.stats import asymptotic

        return float(asymptotic.multiplier(max(units, 1.0), alpha=(1 - level) / 2, t_opt=self.t_opt))


@dataclass(frozen=True, slots=True)
class PlannedLooks:
    """Looked at at fixed shares of a fixed horizon: group-sequential with O'Brien-Fleming-type spending."""

    fractions: tuple[float, ...]
    """Shares of the horizon at which one looks, up to and including this look."""
    name: str = "planned"
    least_units: int = 30

    def multiplier(self, level: float, units: float) -> float:
        """The boundary at this look, whatever the number of units: how many there are is in the fraction."""
        return _boundary(self.fractions, (1 - level) / 2)


ONE_LOOK = OneLook()
EXACT_AT = 500.0
"""Units at which exact bounds of a share are tightest. Fixed beforehand: bounds retuned to every n would hold at that n
alone, and be wrong at some look more often than promised."""


def one_look_level(looks: Looks, level: float, units: float) -> float:
    """Level of a one-look interval that is as wide, for methods that work with levels and not with multiples."""
    if isinstance(looks, OneLook):
        return level
    return min(math.erf(looks.multiplier(level, units) / math.sqrt(2)), 1 - 1e-12)


def exact_upper(looks: Looks, successes: float, n: float, level: float) -> float:
    """Upper limit of a share on ``successes`` of ``n`` independent units, exact; fractional counts allowed."""
    if isinstance(looks, OneLook):
        return critical.exact_upper(successes, n, level=level)
    from harness.stats import mixtures

    return float(mixtures.bernoulli_upper(successes, n, alpha=(1 - level) / 2, t_opt=EXACT_AT))


@lru_cache(maxsize=256)
def _boundary(fractions: tuple[float, ...], alpha: float) -> float:
    from harness.stats import group_sequential

    return float(group_sequential.boundaries(fractions, alpha=alpha)[-1])
