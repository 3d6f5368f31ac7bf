"""What is left of a win rate when both answers are of the same length and style."""

from dataclasses import replace
from functools import partial

import numpy as np

from harness.decision import quality
from harness.decision.scope import Measures, Scope
from harness.domain.estimate import Estimate
from harness.domain.metrics import MARKDOWN_DIFFERENCE, WIN_RATE_CONTROLLED
from harness.stats import clusters as cl
from harness.stats import length_control
from harness.stats.evidence import Bools, Floats
from harness.stats.looks import one_look_level


def measures(scope: Scope) -> Measures:
    """One for every judge whose score is a preference, by metric name."""
    named = (
        (judge, quality.related(name, WIN_RATE_CONTROLLED.name)) for judge, name in quality.preferences(scope).items()
    )
    return {name: partial(controlled, scope, judge, name) for judge, name in named}


def controlled(scope: Scope, judge: str, name: str) -> Estimate:
    """The win rate at equal length, and equal Markdown where a judge measured that; failures settle their pairs."""
    keep = scope.rows.both_answered
    clusters = scope.evidence.clusters[keep]
    conversations = cl.count(cl.encode(clusters))
    found = length_control.length_controlled(
        quality.values_of(scope, judge)[keep],
        scope.evidence.candidate.answer_chars[keep],
        scope.evidence.production.answer_chars[keep],
        clusters,
        style=_style(scope, keep),
        metric=name,
        level=one_look_level(scope.looks, scope.level, conversations),
    )
    found = replace(quality.with_failures(found, scope), level=scope.level, looks=scope.looks.name)
    if found.value is None or found.n_clusters >= scope.looks.least_units:
        return found
    least = f"an interval for more than one look needs {scope.looks.least_units} conversations"
    return replace(found, low=None, high=None, notes=(*found.notes, least))


def _style(scope: Scope, keep: Bools) -> Floats | None:
    """How much more Markdown the candidate writes; ``None`` when no judge measured it or it never differs."""
    for column in scope.evidence.scores.values():
        if column.metric == MARKDOWN_DIFFERENCE.name:
            values = np.where(np.isfinite(column.value), column.value, 0.0)[keep]
            spread = float(values.std())
            return np.tanh(values / spread) if spread > 0 else None
    return None
