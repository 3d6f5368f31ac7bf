"""What people's labels do to a judge's win rate: correct it, contradict it, or leave it alone."""

from dataclasses import replace
from functools import partial

import numpy as np

from harness.decision import quality
from harness.decision.scope import Measures, Scope
from harness.domain.estimate import Estimate
from harness.domain.metrics import WIN_RATE_CORRECTED
from harness.stats import ppi
from harness.stats.evidence import Bools, Floats, LabelColumn
from harness.stats.looks import AnyLook, Looks

FEWEST_LABELS = ppi.FEWEST_LABELS
"""Labels below which nothing is corrected."""
ENOUGH_LABELS = 1_000
"""Labels from which the corrected win rate decides in place of the judge's."""
_NO_LABELS = "no pair that was drawn at random is labelled by people"
_LABEL_HORIZON = 300.0


def measures(scope: Scope) -> Measures:
    """One for every judge whose score is a preference, by metric name."""
    named = (
        (judge, quality.related(name, WIN_RATE_CORRECTED.name)) for judge, name in quality.preferences(scope).items()
    )
    return {name: partial(corrected, scope, judge, name) for judge, name in named}


def corrected(scope: Scope, judge: str, name: str) -> Estimate:
    """The win rate people would give: PPI++ over answered pairs, failures settling the pairs they are in.

    Labels of pairs that no known random design drew correct nothing and are left out. Fewer than 50 others leave it
    without an interval.
    """
    answered, people, propensity = _drawn(scope)
    if people is None:
        return Estimate(metric=name, value=None, level=scope.level, looks=scope.looks.name, notes=(_NO_LABELS,))
    found = ppi.ppi_mean(
        people[answered],
        quality.values_of(scope, judge)[answered],
        scope.evidence.clusters[answered],
        propensity=None if propensity is None else propensity[answered],
        metric=name,
        level=scope.level,
        multiplier=_multiplier(scope),
    )
    found = replace(quality.with_failures(found, scope), level=scope.level, looks=scope.looks.name)
    return replace(found, low=None, high=None) if n_labels(found) < FEWEST_LABELS else found


def bias(scope: Scope, judge: str) -> Estimate:
    """People's mean score less the judge's, on the pairs that have both: below zero the judge favours the candidate."""
    answered, people, propensity = _drawn(scope)
    if people is None:
        return Estimate(metric="judge_bias", value=None, level=scope.level, notes=(_NO_LABELS,))
    found = ppi.rectifier(
        people[answered],
        quality.values_of(scope, judge)[answered],
        scope.evidence.clusters[answered],
        propensity=None if propensity is None else propensity[answered],
        level=scope.level,
        multiplier=_multiplier(scope),
    )
    return replace(found, level=scope.level, looks=scope.looks.name)


def is_biased(found: Estimate) -> bool:
    """Whether the judge's bias is told from none, on enough labels to say so."""
    if found.value is None or found.low is None or found.high is None or found.n < FEWEST_LABELS:
        return False
    return found.low > 0 or found.high < 0


def n_labels(found: Estimate) -> int:
    """How many labels a corrected win rate rests on."""
    return int(found.extra.get("n_labels", 0))


def _drawn(scope: Scope) -> tuple[Bools, Floats | None, Floats | None]:
    """Answered rows, people's scores on those a random design drew, and their propensity where it is not the same."""
    labels: LabelColumn | None = scope.evidence.labels
    answered = scope.rows.both_answered
    if labels is None:
        return answered, None, None
    drawn = answered & np.isfinite(labels.value) & np.isfinite(labels.probability)
    if not drawn.any():
        return answered, None, None
    people = np.where(drawn, labels.value, np.nan)
    same = float(np.ptp(labels.probability[drawn])) < 1e-9
    return answered, people, None if same else np.where(drawn, labels.probability, np.nan)


def _multiplier(scope: Scope) -> ppi.Multiplier | None:
    """``None`` keeps the quantile of one look. Labels are fewer than pairs: their sequence is tightest at fewer."""
    if scope.looks.name == "one":
        return None
    looks: Looks = AnyLook(t_opt=_LABEL_HORIZON) if scope.looks.name == "any" else scope.looks
    return lambda clusters: looks.multiplier(scope.level, clusters)
