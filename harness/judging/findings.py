"""How the checks of a judge's health are put into words."""

from harness.domain.estimate import Estimate, Unit
from harness.domain.formatting import format_interval, format_value
from harness.domain.health import HealthCheck, HealthState

FEWEST = 20
"""Pairs below which a judge is neither cleared nor condemned by what it did on them."""
SOFTER = "Ask for token probabilities and average both orders (`mode: soft`, `orders: both`), or take a stronger model."
STRONGER = "Take a stronger model."


def state_of(found: Estimate, *, fails: bool = False, warns: bool = False) -> HealthState:
    """What a check comes to on the pairs of ``found``: too few of them clear nobody and condemn nobody."""
    if found.n < FEWEST:
        return HealthState.UNKNOWN
    return HealthState.FAIL if fails else HealthState.WARN if warns else HealthState.PASS


def unknown(name: str, title: str, sentence: str, remedy: str = "") -> HealthCheck:
    """A check that could not be made."""
    return HealthCheck(name=name, title=title, state=HealthState.UNKNOWN, sentence=sentence, remedy=remedy)


def excludes(estimate: Estimate, value: float) -> bool:
    """Whether the interval lies on one side of ``value``."""
    low, high = estimate.low, estimate.high
    return (low is not None and low > value) or (high is not None and high < value)


def share(estimate: Estimate) -> str:
    """A share with its interval: ``60.50% (55.58% to 65.42%)``."""
    return _spanned(estimate, Unit.SHARE)


def score(estimate: Estimate) -> str:
    """A score with its interval: ``0.429 (0.240 to 0.571)``."""
    return _spanned(estimate, Unit.SCORE)


def points(estimate: Estimate) -> str:
    """A difference with its interval: ``-3.20 points (-5.10 points to -1.30 points)``."""
    return _spanned(estimate, Unit.POINTS)


def _spanned(estimate: Estimate, unit: Unit) -> str:
    value = format_value(estimate.value, unit)
    if estimate.low is None and estimate.high is None:
        return value
    return f"{value} ({format_interval(estimate.low, estimate.high, unit)})"
