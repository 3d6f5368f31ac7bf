"""The bounds of single criteria, looked at while the candidate is exactly at the margin or a little better than it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np

from harness.domain.decision import Bound, Criterion
from harness.domain.estimate import Estimate
from harness.stats import means, proportions, quantiles, ratios, two_phase
from harness.stats.evidence import Evidence, Ints
from harness.stats.looks import ONE_LOOK, AnyLook, Looks, PlannedLooks
from tests.benchmarks.gates import ALPHA, on_the_right_side, passes
from tests.benchmarks.worlds import World, simulate

LAST = 10_000
FINE = (20, *range(50, LAST + 1, 50))
COARSE = frozenset(range(500, LAST + 1, 500))
LEVEL = 1 - 2 * ALPHA
ANY = AnyLook(t_opt=0.3 * LAST)
_SURE = 1500
"""Pairs from which bounds for any look lie outside those for one, so that only the latter need computing first."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A criterion, a world that is exactly at its margin, and how it is estimated on the first rows."""

    title: str
    criterion: Criterion
    world: World
    estimate: Callable[[Evidence, Evidence, Ints, float, Looks], Estimate]
    """Of the evidence, the replica's, the clusters, the level and the looks."""
    sparse: bool = False
    """Whether few pairs may count even late, so that both kinds of bounds have to be computed at every look."""


def _win_rate(data: Evidence, floor: Evidence, codes: Ints, level: float, looks: Looks) -> Estimate:
    failed = np.zeros(data.n, dtype=np.bool_)
    return means.mean_with_failures(data.scores["judge"].value, failed, codes, level=level, looks=looks)


def _errors(data: Evidence, floor: Evidence, codes: Ints, level: float, looks: Looks) -> Estimate:
    return proportions.paired_difference(data.candidate.failed, data.production.failed, codes, level=level, looks=looks)


def _latency(data: Evidence, floor: Evidence, codes: Ints, level: float, looks: Looks) -> Estimate:
    candidate, production = (np.where(arm.failed, np.inf, arm.latency_ms) for arm in (data.candidate, data.production))
    return quantiles.quantile_ratio(candidate, production, codes, 0.95, level=level, looks=looks)


def _cost(data: Evidence, floor: Evidence, codes: Ints, level: float, looks: Looks) -> Estimate:
    # Latency without failures is as skewed and as paired as cost is.
    return ratios.ratio_of_means(data.candidate.latency_ms, data.production.latency_ms, codes, level=level, looks=looks)


def _similarity(data: Evidence, floor: Evidence, codes: Ints, level: float, looks: Looks) -> Estimate:
    full, part = (item.scores["similarity"].value for item in (data, floor))
    return two_phase.difference(full, part, codes, level=level, bounds=(-2.0, 2.0), looks=looks)


def _rule(metric: str, bound: Bound, threshold: float) -> Criterion:
    return Criterion(metric=metric, bound=bound, threshold=threshold)


_WIN = _rule("win_rate", Bound.ABOVE, 0.48)
_ERROR = _rule("error_rate_difference", Bound.BELOW, 0.005)
_P95 = _rule("latency_p95_ratio", Bound.BELOW, 1.2)
_SPOTLESS = {"errors": 0.0, "production_errors": 0.0}


def _rare(title: str, rate: float, margin: float) -> Case:
    return Case(
        title=f"error difference, {title}",
        criterion=_rule("error_rate_difference", Bound.BELOW, margin),
        world=World(errors=rate + margin, production_errors=rate),
        estimate=_errors,
        sparse=True,
    )


CASES = {
    case.title: case
    for case in (
        Case(title="win rate, 30% ties", criterion=_WIN, world=World(win=0.48, **_SPOTLESS), estimate=_win_rate),
        _rare("1% and the margin of 0.5 points", 0.01, 0.005),
        _rare("0.3% and the margin of 0.5 points", 0.003, 0.005),
        _rare("0.05% and the margin of 0.5 points", 0.0005, 0.005),
        _rare("0.05% and no margin", 0.0005, 0.0),
        *(
            Case(
                title=f"P95 ratio, {shape}",
                criterion=_P95,
                world=World(ratio=1.2, shape=shape),
                estimate=_latency,
            )
            for shape in ("lognormal", "pareto", "bimodal")
        ),
        Case(
            title="cost ratio",
            criterion=_rule("cost_ratio", Bound.BELOW, 1.0),
            world=World(**_SPOTLESS),
            estimate=_cost,
        ),
        Case(
            title="similarity from floor, replica on 10%",
            criterion=_rule("similarity_from_floor", Bound.ABOVE, -0.01),
            world=World(similarity=-0.01, share=0.1),
            estimate=_similarity,
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """Whether a criterion was ever said to pass although the truth is at its margin."""

    ours: bool = False
    fixed: bool = False
    point: bool = False


def wrongly_passed(job: tuple[str, tuple[int, ...]]) -> tuple[Wrong, Wrong]:
    """Of a case and a seed: at looks every 500 requests, and at every 50 from 20."""
    case, seed = CASES[job[0]], job[1]
    data, floor = simulate(case.world, LAST, np.random.default_rng(seed))
    ever = {(kind, often): False for kind in ("ours", "fixed", "point") for often in ("coarse", "fine")}
    for n in FINE:
        grids = ("coarse", "fine") if n in COARSE else ("fine",)
        open_ = {kind for kind, often in ever if often in grids and not ever[kind, often]}
        if not open_:
            continue
        seen, repeated = (item.take(slice(0, n)) for item in (data, floor))
        estimated = partial(case.estimate, seen, repeated, seen.clusters, LEVEL)
        early = case.sparse or n < _SURE
        once = estimated(ONE_LOOK) if "fixed" in open_ or not early or "ours" not in open_ else None
        often = estimated(ANY) if "ours" in open_ and (early or passes(case.criterion, once)) else None
        said = {
            "ours": often is not None and passes(case.criterion, often),
            "fixed": once is not None and passes(case.criterion, once),
            "point": on_the_right_side(case.criterion, once or often),
        }
        for kind, passed in said.items():
            for often in grids:
                ever[kind, often] |= passed
    coarse, fine = (
        Wrong(**{kind: ever[kind, often] for kind in ("ours", "fixed", "point")}) for often in ("coarse", "fine")
    )
    return coarse, fine


@dataclass(frozen=True, kw_only=True)
class Clustered:
    """One experiment whose requests come in conversations, at the margin."""

    ever: bool
    """Whether a criterion was ever said to pass at looks every 500 requests."""
    covered: bool
    """Whether the 95 % interval for one look at 10,000 requests has the truth in it."""


CLUSTERED = {
    "win rate": (_WIN, World(win=0.48, conversation=5, icc=0.2, **_SPOTLESS), _win_rate),
    "error difference": (_ERROR, World(errors=0.015, conversation=5, icc=0.2), _errors),
}


def clustered(job: tuple[str, tuple[int, ...]]) -> tuple[Clustered, Clustered]:
    """Of a name and a seed: with conversations as they are, and as if every request stood alone."""
    criterion, world, estimate = CLUSTERED[job[0]]
    data, floor = simulate(world, LAST, np.random.default_rng(job[1]))

    def outcome(codes: Ints) -> Clustered:
        whole = estimate(data, floor, codes, 0.95, ONE_LOOK)
        ever = any(
            passes(criterion, estimate(data.take(slice(0, n)), floor, codes[:n], LEVEL, ANY)) for n in sorted(COARSE)
        )
        low, high = whole.low or -1.0, whole.high or 1.0
        return Clustered(ever=ever, covered=low <= criterion.threshold <= high)

    return outcome(data.clusters), outcome(np.arange(LAST))


DELTAS = (0.01, 0.015, 0.02, 0.03, 0.05, 0.10)


@dataclass(frozen=True, kw_only=True)
class Used:
    """Pairs used until a win rate was said to be above one half; ``None`` when it never was."""

    any_look: int | None
    five_looks: int | None
    fourteen_looks: int | None


def sample_used(job: tuple[float, tuple[int, ...]]) -> Used:
    """Of an advantage over one half and a seed."""
    world = World(win=0.5 + job[0], **_SPOTLESS)
    data, _ = simulate(world, LAST, np.random.default_rng(job[1]))
    above = _rule("win_rate", Bound.ABOVE, 0.5)
    scores, codes = data.scores["judge"].value, np.arange(LAST)

    def stopped(looks: list[tuple[int, Looks]]) -> int | None:
        for n, look in looks:
            if passes(above, means.mean(scores[:n], codes[:n], level=LEVEL, bounds=(0.0, 1.0), looks=look)):
                return n
        return None

    def planned(count: int) -> list[tuple[int, Looks]]:
        fractions = tuple((look + 1) / count for look in range(count))
        return [
            (round(fraction * LAST), PlannedLooks(fractions[: look + 1])) for look, fraction in enumerate(fractions)
        ]

    return Used(
        any_look=stopped([(n, ANY) for n in FINE]),
        five_looks=stopped(planned(5)),
        fourteen_looks=stopped(planned(14)),
    )


def fixed_n(delta: float, *, power: float) -> float:
    """Pairs that a perfectly planned test for one look would need."""
    from scipy.special import ndtri

    win, ties = 0.5 + delta, 0.3
    variance = win * (1 - win) - ties / 4
    return float(variance * ((ndtri(1 - ALPHA) + ndtri(power)) / delta) ** 2)


def middle(used: list[int | None]) -> float:
    """Median of the pairs used, counting as the last look whoever never stopped."""
    return float(median(n if n is not None else LAST for n in used))
