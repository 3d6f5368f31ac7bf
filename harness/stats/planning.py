"""How many pairs and labels a run needs, before it is run.

After a run :mod:`harness.stats.samplesize` projects from what was seen; here the truth is supposed.
"""

import math
from collections.abc import Callable

from harness.stats import critical, quantiles
from harness.stats.ppi import STUDENT_BELOW, Multiplier

_TOO_MANY = 10**9


def pairs_needed(
    *,
    effect: float,
    margin: float,
    sd: float,
    level: float = 0.95,
    multiplier: Multiplier | None = None,
    power: float = 0.8,
    design_effect: float = 1.0,
) -> int | None:
    """Pairs at which a bound clears ``margin`` with probability ``power`` when the truth is ``effect``.

    Smallest n with sqrt(n) |effect - margin| / sd >= z + z_power, times the design effect. z is one end of the
    two-sided interval of ``level``, so that 0.90 is a one-sided test at 5 %, or ``multiplier``: standard errors to
    each side, also as a function of the number of independent pairs, as anytime-valid bounds have it. Those may stop
    earlier, at any look: this is when they have passed by. ``None`` on the margin, or beyond a billion.
    """
    distance = abs(effect - margin)
    if distance == 0.0 or sd < 0:
        return None
    more = critical.normal(2 * power - 1)

    def clears(n: int) -> bool:
        return math.sqrt(n) * distance >= sd * (_times(multiplier, n, level) + more) * (1 - 1e-12)

    found = _smallest(clears, _TOO_MANY)
    return None if found is None else math.ceil(found * design_effect * (1 - 1e-12))


def win_rate_sd(*, tie_share: float, win_rate: float = 0.5) -> float:
    """Standard deviation of one pair's score of 0, 0.5 or 1 when ``tie_share`` of the pairs are ties."""
    return math.sqrt(max(win_rate * (1 - win_rate) - tie_share / 4, 0.0))


def paired_sd(*, discordant: float, difference: float = 0.0) -> float:
    """Standard deviation of one pair's difference of -1, 0 or 1 when a share ``discordant`` is not 0.

    For error rates that is the share of pairs in which one side alone fails, for net win rates the share of decisive
    ones.
    """
    return math.sqrt(max(discordant - difference**2, 0.0))


def design_effect(*, cluster_size: float, correlation: float) -> float:
    """1 + (m - 1) rho: how many times the pairs are needed when they come in conversations of m (Kish)."""
    return 1 + (cluster_size - 1) * correlation


def exceedance_correlation(correlation: float, probability: float) -> float:
    """Correlation of being above one's own quantile, for two normal variables of ``correlation``.

    What pairing is worth to a tail: at 0.95 a correlation of 0.7 leaves 0.36.
    """
    from scipy.integrate import quad
    from scipy.special import ndtri

    z = float(ndtri(probability))
    # Plackett: the derivative of the joint tail by the correlation is the density at (z, z); correlation = sin(angle).
    joint, _ = quad(lambda angle: math.exp(-(z**2) / (1 + math.sin(angle))), 0.0, math.asin(correlation))
    return float(joint / (2 * math.pi * probability * (1 - probability)))


def quantile_ratio_sd(
    probability: float, *, log_sd: float | None = None, log_density: float | None = None, correlation: float = 0.0
) -> float:
    """Standard deviation, per pair, of the log ratio of two quantiles: its standard error is this over sqrt(n).

    sqrt(tau (1 - tau)) / f for each arm with f the density of log latency at the quantile: ``log_density``, or that
    of a lognormal with ``log_sd``. ``correlation`` is that of a pair's log latencies, taken as jointly normal.

    Raises:
        ValueError: not exactly one of ``log_sd`` and ``log_density`` is given.
    """
    from scipy.special import ndtri

    if (log_sd is None) == (log_density is None):
        raise ValueError("give either log_sd or log_density")
    if log_density is None:
        standard = math.exp(-(float(ndtri(probability)) ** 2) / 2) / math.sqrt(2 * math.pi)
        log_density = standard / float(log_sd or math.inf)
    arm = math.sqrt(probability * (1 - probability)) / log_density
    return arm * math.sqrt(max(2 * (1 - exceedance_correlation(correlation, probability)), 0.0))


def pairs_for_quantile_ratio(
    probability: float,
    *,
    effect: float,
    margin: float,
    sd: float,
    level: float = 0.95,
    multiplier: Multiplier | None = None,
    power: float = 0.8,
    design_effect: float = 1.0,
) -> int | None:
    """Pairs at which the ratio of two quantiles is told from ``margin`` when it truly is ``effect``; both plain ratios.

    At least as many as give the quantile an upper limit at all. ``sd`` as :func:`quantile_ratio_sd` gives it.
    """
    needed = pairs_needed(
        effect=math.log(effect),
        margin=math.log(margin),
        sd=sd,
        level=level,
        multiplier=multiplier,
        power=power,
        design_effect=design_effect,
    )
    if needed is None:
        return None
    reached = critical.level_of(_times(multiplier, max(needed / design_effect, 1.0), level))
    return max(needed, math.ceil(quantiles.min_n(probability, level=reached) * design_effect))


def labels_needed(
    half_width: float,
    *,
    pairs: int,
    correlation: float,
    sd: float = 0.5,
    level: float = 0.95,
    multiplier: Multiplier | None = None,
) -> int | None:
    """Human labels among ``pairs`` judged pairs for a corrected win rate (PPI++) of at most this half width.

    ``correlation`` is that of people's and the judge's scores, ``sd`` that of people's. n labels among M pairs are
    worth n M / (n + (1 - rho^2)(M - n)) labels alone. ``None`` when labelling every pair would not do.
    """
    rest = 1 - correlation**2

    def suffices(labels: int) -> bool:
        effective = labels * pairs / (labels + rest * (pairs - labels))
        return _label_times(multiplier, labels, level) * sd <= half_width * math.sqrt(effective) * (1 + 1e-12)

    return _smallest(suffices, pairs) if pairs > 0 else None


def _smallest(holds: Callable[[int], bool], most: int) -> int | None:
    """The smallest number that ``holds``, as all larger ones must; ``None`` when none up to ``most`` does."""
    high = 1
    while not holds(high):
        if high >= most:
            return None
        high = min(high * 2, most)
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _label_times(multiplier: Multiplier | None, labels: int, level: float) -> float:
    """As :func:`harness.stats.ppi.ppi_mean` takes it: of t below 100 labels."""
    if multiplier is None and labels < STUDENT_BELOW:
        return critical.student(level, labels - 1)
    return _times(multiplier, labels, level)


def _times(multiplier: Multiplier | None, n: float, level: float) -> float:
    if multiplier is None:
        return critical.normal(level)
    return multiplier(float(n)) if callable(multiplier) else multiplier
