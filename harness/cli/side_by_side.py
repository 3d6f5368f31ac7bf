"""Several candidates side by side, for a terminal."""

from collections.abc import Iterator

from harness.decision.criteria import metric_for
from harness.domain.side_by_side import BestSet, SideBySide


def lines(beside: SideBySide) -> Iterator[str]:
    """How sure it is, then who may be the best on each metric that matters most, one line each."""
    found = [(metric_for(name).title, beside.best_set(name)) for name in beside.headline]
    if not found:
        yield "side by side: no metric is known for two candidates"
        return
    looks = "" if beside.looks == "one" else " at any look"
    yield f"side by side, the best is among those named with {100 * beside.confidence:.4g}% confidence{looks}:"
    width = max(len(title) for title, _ in found)
    for title, best in found:
        if best is not None:
            yield f"  {title:<{width}}  {_said(best)}"


def _said(best: BestSet) -> str:
    if not best.told:
        return f"cannot be told ({best.n:,} shared requests)"
    beaten = ", ".join(f"{arm} (by {winner})" for arm, winner in best.beaten_by.items())
    return f"{' or '.join(best.best)}; beaten: {beaten}"
