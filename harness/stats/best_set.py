"""Which of several candidates may be the best one, with the number of candidates taken into account."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Best:
    """Positions of the candidates that may be the best, and who beats each of the others."""

    best: tuple[int, ...]
    beaten_by: dict[int, int] = field(default_factory=dict)


def pair_level(confidence: float, contestants: int) -> float:
    """Level of the two-sided interval of one pair, of which one end is used, so that the best set holds.

    The best one is lost only when one of the ``contestants - 1`` others seems to beat it, and an other that is truly
    no better does so with a chance of ``(1 - confidence) / (contestants - 1)`` at most: together no more than
    ``1 - confidence`` (Bonferroni). These are the comparisons of Hsu's multiple comparisons with the best (Hsu 1984;
    with unequal samples Edwards and Hsu 1983), whose common critical value needs samples of one size and normality;
    pairs of candidates do not share as many requests each, so the union bound stands in its place.
    """
    return 1 - 2 * (1 - confidence) / max(contestants - 1, 1)


def best_set(values: Sequence[float], beats: Callable[[int, int], bool]) -> Best:
    """Everybody whom nobody is shown to beat; never empty.

    Args:
        values: What was measured, higher is better; says only in which order to ask.
        beats: Whether the first position is shown to be better than the second, each answer being wrong with the chance
            that :func:`pair_level` leaves a pair. Asked as seldom as possible.
    """
    ranked = sorted(range(len(values)), key=lambda position: (-values[position], position))
    beaten: dict[int, int] = {}
    for position in ranked:
        winner = next((other for other in ranked if other != position and beats(other, position)), None)
        if winner is not None:
            beaten[position] = winner
    if len(beaten) == len(ranked):
        # Pairs share different requests, so that everybody can seem beaten by somebody: then nothing was told.
        return Best(best=tuple(range(len(values))))
    return Best(best=tuple(p for p in range(len(values)) if p not in beaten), beaten_by=beaten)


def efficient(points: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """Positions that no other point outdoes, from the lowest second coordinate to the highest first one.

    A point is ``(quality, price)``: better when the first is higher and the second lower. Outdone is a point when
    another is at least as good in both and better in one (Pareto); equal points stand together.
    """

    def outdone(position: int) -> bool:
        quality, price = points[position]
        return any(q >= quality and p <= price and (q > quality or p < price) for q, p in points)

    kept = [position for position in range(len(points)) if not outdone(position)]
    return tuple(sorted(kept, key=lambda position: (points[position][1], points[position][0], position)))
