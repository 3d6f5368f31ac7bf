"""What is left of a win rate when both answers are of the same length and style."""

from dataclasses import replace
from functools import partial

import numpy as np

from harness.decision import quality
from harness.decision.scope import Measures, Scope
from harness.domain.estimate import Estimate
from harness.domain.metrics import MARKDOWN_DIFFERENCE, WIN_RATE_CONTROLLED
from harness.stats import length_control
from harness.stats.evidence import Bools, Floats


def measures(scope: Scope) -> Measures:
    """One for every judge whose score is a preference, by metric name."""
    named = (
        (judge, quality.related(name, WIN_RATE_CONTROLLED.name)) for judge, name in quality.preferences(scope).items()
    )
    return {name: partial(controlled, scope, judge, name) for judge, name in named}


def controlled(scope: Scope, judge: str, name: str) -> Estimate:
    """The win rate at equal length, and equal Markdown where a judge measured that; failures settle their pairs."""
    keep = scope.rows.both_answered
    found = length_control.length_controlled(
        quality.values_of(scope, judge)[keep],
        scope.evidence.candidate.answer_chars[keep],
        scope.evidence.production.answer_chars[keep],
        scope.evidence.clusters[keep],
        style=_style(scope, keep),
        metric=name,
        level=scope.level,
    )
    if found.value is None:
        return found
    asked = scope.rows.both_asked
    failed = scope.rows.settled[asked]
    share = 1.0 - float(failed.mean())
    gained = float(np.where(failed, scope.rows.worth[asked], 0.0).mean())
    low, high = found.low, found.high
    if scope.looks.name != "one" and found.std_error is not None:
        half = scope.looks.multiplier(scope.level, found.n_clusters) * found.std_error
        low, high = max(found.value - half, 0.0), min(found.value + half, 1.0)
    return replace(
        found,
        value=share * found.value + gained,
        low=None if low is None else share * low + gained,
        high=None if high is None else share * high + gained,
        looks=scope.looks.name,
    )


def _style(scope: Scope, keep: Bools) -> Floats | None:
    """How much more Markdown the candidate writes; ``None`` when no judge measured it or it never differs."""
    for column in scope.evidence.scores.values():
        if column.metric == MARKDOWN_DIFFERENCE.name:
            values = np.where(np.isfinite(column.value), column.value, 0.0)[keep]
            spread = float(values.std())
            return np.tanh(values / spread) if spread > 0 else None
    return None
