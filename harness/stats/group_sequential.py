"""Group-sequential tests: looks planned beforehand up to a fixed horizon, by error spending (Lan and DeMets 1983).

More power at the horizon than a confidence sequence, and no way to go on after it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from harness.stats.evidence import Floats

Spending: TypeAlias = Literal["obrien_fleming", "pocock"]

_REACH = 8.5
"""Standard deviations beyond which a normal density is taken to be zero."""
_HIGHEST = 37.0
_LEAST_SPENT = 1e-290
"""What lies beyond the highest level that double precision can tell from infinity."""
_CLOSEST = 1e-3
"""Looks closer together than this part of the information before them cannot be integrated in time."""


def boundaries(fractions: ArrayLike, *, alpha: float, spending: Spending = "obrien_fleming") -> Floats:
    """One-sided critical z values, one per look, that are crossed with the chance ``alpha`` at most in all.

    ``fractions`` are the parts of the planned sample at which one looks. What has been spent by t is
    2 - 2 Phi(z(1 - alpha/2) / sqrt(t)), which is strict at first, or alpha ln(1 + (e - 1) t), which is nearly even.
    A look at which next to nothing is spent has an infinite boundary.

    Raises:
        ValueError: fractions do not rise strictly within (0, 1], or alpha is not in (0, 0.5).
    """
    times = _checked(fractions)
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha={alpha} is not in (0, 0.5)")
    spent = _SPENDING[spending](times, alpha)
    found: list[float] = []
    walk = _Walk.start(times, drift=0.0)
    for time, allowed in zip(times, np.diff(spent, prepend=0.0), strict=True):
        level = walk.critical(time, float(allowed))
        walk = walk.step(time, level)
        found.append(level)
    return np.array(found)


def crossing(fractions: ArrayLike, critical: ArrayLike, *, drift: float = 0.0) -> Floats:
    """Chance of having crossed by each look when z at the full sample has the mean ``drift``; the last is the power.

    A difference of d with n observations of standard deviation s at the horizon has the drift d sqrt(n) / s.
    """
    times, levels = _checked(fractions), np.asarray(critical, dtype=np.float64)
    if levels.shape != times.shape:
        raise ValueError(f"{levels.size} critical values do not match {times.size} looks")
    total, reached = 0.0, []
    walk = _Walk.start(times, drift=drift)
    for time, level in zip(times, levels, strict=True):
        total += walk.beyond(time, level)
        reached.append(total)
        walk = walk.step(time, level)
    return np.array(reached)


def power(fractions: ArrayLike, critical: ArrayLike, drift: float) -> float:
    """Chance of crossing at any look."""
    return float(crossing(fractions, critical, drift=drift)[-1])


def expected_fraction(fractions: ArrayLike, critical: ArrayLike, drift: float) -> float:
    """Mean part of the planned sample that is used when one stops at the first crossing or the last look."""
    times = _checked(fractions)
    going_on = 1 - crossing(times, critical, drift=drift)[:-1]
    return float(times[0] + np.sum(np.diff(times) * going_on))


def _obrien_fleming(times: Floats, alpha: float) -> Floats:
    from scipy.special import ndtr, ndtri

    return np.asarray(2 * ndtr(ndtri(alpha / 2) / np.sqrt(times)), dtype=np.float64)


def _pocock(times: Floats, alpha: float) -> Floats:
    return alpha * np.log1p((math.e - 1) * times)


_SPENDING: dict[str, Callable[[Floats, float], Floats]] = {"obrien_fleming": _obrien_fleming, "pocock": _pocock}


def _checked(fractions: ArrayLike) -> Floats:
    times = np.asarray(fractions, dtype=np.float64)
    if times.ndim != 1 or not times.size or times[0] <= 0 or times[-1] > 1 or np.any(np.diff(times) <= 0):
        raise ValueError(f"fractions {times.tolist()} must rise strictly within (0, 1]")
    if np.any(np.diff(times, prepend=0.0) < _CLOSEST * times):
        raise ValueError(f"fractions {times.tolist()} are closer together than {_CLOSEST:.1%}")
    return times


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Walk:
    """The score process sqrt(t) z among paths that have not crossed, by quadrature (Armitage, McPherson, Rowe 1969)."""

    time: float
    drift: float
    points: Floats
    mass: Floats
    nodes: Floats
    weights: Floats
    """Gauss-Legendre rule on [-1, 1]."""

    @classmethod
    def start(cls, times: Floats, *, drift: float) -> "_Walk":
        """At zero before the first look, with a rule fine enough for the two looks closest together."""
        from scipy.special import roots_legendre

        narrowest = float(np.min(np.diff(times, prepend=0.0) / times))
        nodes, weights = roots_legendre(max(128, math.ceil(60 / math.sqrt(narrowest))))
        return cls(time=0.0, drift=drift, points=np.zeros(1), mass=np.ones(1), nodes=nodes, weights=weights)

    def beyond(self, time: float, level: float) -> float:
        """Chance of not having crossed before and of being at or above z = ``level`` at ``time``."""
        from scipy.special import ndtr

        step = time - self.time
        distance = level * math.sqrt(time) - self.points - self.drift * step
        return float(np.sum(self.mass * ndtr(-distance / math.sqrt(step))))

    def critical(self, time: float, chance: float) -> float:
        """The level that is crossed at ``time`` with ``chance``."""
        from scipy.optimize import brentq

        if chance < _LEAST_SPENT:
            return math.inf
        return float(brentq(lambda level: self.beyond(time, level) - chance, -_REACH, _HIGHEST, xtol=1e-11))

    def step(self, time: float, level: float) -> "_Walk":
        """The same at ``time``, without the paths that have crossed ``level``."""
        step, centre, spread = time - self.time, self.drift * time, math.sqrt(time)
        low = centre - _REACH * spread
        high = max(min(level * spread, centre + _REACH * spread), low)
        points = (high + low) / 2 + (high - low) / 2 * self.nodes
        distance = (points[:, None] - self.points[None, :] - self.drift * step) / math.sqrt(step)
        density = np.exp(-0.5 * distance**2) @ self.mass / math.sqrt(2 * math.pi * step)
        mass = density * self.weights * (high - low) / 2
        return _Walk(time=time, drift=self.drift, points=points, mass=mass, nodes=self.nodes, weights=self.weights)
