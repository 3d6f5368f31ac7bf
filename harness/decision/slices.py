"""Which slices lose, with the number of slices looked at taken into account; a flagged one keeps a GO back.

Slices are formed from what was asked, never from what was answered, so that testing the ones a run found is fair.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.decision import metrics
from harness.domain.decision import Criterion, Objection
from harness.domain.estimate import Estimate, Metric
from harness.domain.formatting import format_value
from harness.domain.slices import SliceTest
from harness.stats import asymptotic, multiplicity
from harness.stats.evidence import Evidence
from harness.stats.looks import ONE_LOOK, Looks

_T_OPT = 500.0
"""Pairs of a slice at which its e-value grows best."""
_ALPHA = 0.005
"""At which it grows best as well: what one of twenty slices is held against. Tuning to the slices found so far would
be a choice made after looking."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    attribute: str
    value: str
    criterion: Criterion
    estimate: Estimate
    score: float
    """How many standard errors the slice is on the wrong side; negative on the right one."""


def examine(
    evidence: Evidence,
    criteria: Sequence[Criterion],
    *,
    judge_metrics: Mapping[str, Metric],
    looks: Looks,
    min_pairs: int,
    false_discoveries: float,
) -> tuple[SliceTest, ...]:
    """Every slice of at least ``min_pairs`` against every required criterion whose estimate has a standard error.

    At more than one look e-values from the asymptotic mixture and e-BH, which needs no independence of slices or looks
    (Wang and Ramdas 2022); for one look p-values and Benjamini-Hochberg. ``false_discoveries`` is the expected share
    of false alarms among the flagged.
    """
    wanted = [criterion for criterion in criteria if criterion.required]
    found = list(_candidates(evidence, wanted, judge_metrics=judge_metrics, min_pairs=min_pairs))
    if not found:
        return ()
    scores = np.array([item.score for item in found])
    if looks.name == "one":
        from scipy.special import ndtr

        adjusted = multiplicity.benjamini_hochberg(ndtr(-scores), q=false_discoveries)
        shown, flags = adjusted.p, adjusted.rejected
    else:
        units = [item.estimate.n_clusters for item in found]
        logs = [
            asymptotic.log_e_value(score * math.sqrt(n), n, 1.0, mean=0.0, alpha=_ALPHA, t_opt=_T_OPT)
            for score, n in zip(scores, units, strict=True)
        ]
        shown = np.exp(np.minimum(logs, 700.0))
        flags = multiplicity.e_benjamini_hochberg(shown, q=false_discoveries)
    return tuple(
        SliceTest(
            attribute=item.attribute,
            value=item.value,
            metric=item.criterion.metric,
            n=item.estimate.n,
            estimate=float(item.estimate.value or 0.0),
            evidence=float(evidence_),
            flagged=bool(flag),
        )
        for item, evidence_, flag in zip(found, shown, flags, strict=True)
    )


def objections(tests: Sequence[SliceTest], described: Mapping[str, Metric]) -> tuple[Objection, ...]:
    """One for all flagged slices together, the clearest first; empty when none is."""
    flagged = sorted((test for test in tests if test.flagged), key=lambda test: (test.attribute, test.value))
    if not flagged:
        return ()
    said = [
        f"{test.attribute} {test.value} ({described[test.metric].title.lower()} "
        f"{format_value(test.estimate, described[test.metric].unit)} on {test.n:,} pairs)"
        for test in flagged[:5]
    ]
    more = f" and {len(flagged) - 5} more" if len(flagged) > 5 else ""
    slices = "1 slice loses" if len(flagged) == 1 else f"{len(flagged)} slices lose"
    return (
        Objection(
            kind="slice",
            sentence=f"{slices} where the whole does not: {'; '.join(said)}{more}.",
            remedy="Look at their examples, keep that traffic on production, or mend the candidate.",
        ),
    )


def _candidates(
    evidence: Evidence, criteria: Sequence[Criterion], *, judge_metrics: Mapping[str, Metric], min_pairs: int
) -> Iterator[_Found]:
    # No slice of a slice is looked at, and attributes are most of what would be copied for each.
    whole = replace(evidence, attributes={})
    for attribute, column in evidence.attributes.items():
        values = sorted(filter(None, set(column.tolist())))
        if len(values) < 2:
            continue
        for value in values:
            rows = np.asarray(column == value, dtype=np.bool_)
            if int(rows.sum()) < min_pairs:
                continue
            # The standard error is all that is wanted: how wide an interval is does not matter here.
            estimates = metrics.estimates(
                whole.take(rows),
                level=0.95,
                judge_metrics=judge_metrics,
                looks=ONE_LOOK,
                only={criterion.metric for criterion in criteria},
            )
            for criterion in criteria:
                estimate = estimates.get(criterion.metric)
                if estimate is None or estimate.n < min_pairs or estimate.value is None or estimate.std_error is None:
                    continue
                # A slice that loses every pair has no variance: one pair that differs is added, as for error rates.
                error = max(estimate.std_error, 1 / estimate.n)
                gap = estimate.value - criterion.threshold
                score = (gap if criterion.passes_below else -gap) / error
                yield _Found(attribute=attribute, value=value, criterion=criterion, estimate=estimate, score=score)
