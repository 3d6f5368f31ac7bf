"""Whether more requests can still settle a decision: what is spent on one that cannot be settled is wasted."""

import math
from dataclasses import dataclass

from harness.decision.criteria import holds, metric_for
from harness.domain.decision import Criterion, CriterionResult, Decision, Outcome, Verdict
from harness.domain.estimate import Estimate, Unit

_OPTIMISM = 2.6
"""Standard errors by which the truth may be better, or worse, than it looks: two-sided 99 %."""
_SEQUENCE = 2.8
"""Standard errors at which the bounds of an asymptotic sequence stand, for estimates that have only bounds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prospects:
    """What may still become of a decision when the rest of the sample is asked."""

    can_go: bool
    can_no_go: bool
    blocking: tuple[str, ...] = ()
    """Metrics of the required criteria that cannot pass any more."""

    @property
    def open(self) -> bool:
        """Whether anything but INCONCLUSIVE is left."""
        return self.can_go or self.can_no_go


def prospects(decision: Decision, *, n_now: int, n_most: int) -> Prospects:
    """What ``n_most`` requests in all may still bring when ``n_now`` have been asked.

    Every criterion gets the benefit of the doubt: the remaining requests turn out as well, or as badly, as the
    truth may still be, at 99 % confidence, and widths shrink with the square root of their number. Stopping for want
    of prospects never makes a wrong GO likelier. A criterion without data says nothing either way.
    """
    if decision.verdict is not Verdict.INCONCLUSIVE or n_now <= 0 or n_most <= n_now:
        return Prospects(can_go=decision.verdict is Verdict.GO, can_no_go=decision.verdict is Verdict.NO_GO)
    required = [result for result in decision.results if result.criterion.required]
    blocking = tuple(r.criterion.metric for r in required if not _can_pass(r, n_now=n_now, n_most=n_most))
    failing = any(_can_fail(result, n_now=n_now, n_most=n_most) for result in required)
    return Prospects(can_go=not blocking, can_no_go=failing, blocking=blocking)


def _can_pass(result: CriterionResult, *, n_now: int, n_most: int) -> bool:
    if result.outcome in {Outcome.PASS, Outcome.NO_DATA}:
        return True
    if result.outcome is Outcome.UNATTAINABLE or (result.objection is not None and result.objection.kind == "judge"):
        return False
    estimate = result.estimate
    if estimate.method == "count":
        return estimate.value is not None and holds(result.criterion, estimate.value * n_most / n_now)
    return _bound_may_hold(result.criterion, estimate, n_now=n_now, n_most=n_most, wanted=True)


def _can_fail(result: CriterionResult, *, n_now: int, n_most: int) -> bool:
    if result.outcome is Outcome.FAIL:
        return True
    judged_out = result.objection is not None and result.objection.kind == "judge"
    if result.outcome in {Outcome.UNATTAINABLE, Outcome.NO_DATA} or judged_out or result.estimate.method == "count":
        return False
    return _bound_may_hold(result.criterion, result.strict or result.estimate, n_now=n_now, n_most=n_most, wanted=False)


def _bound_may_hold(criterion: Criterion, estimate: Estimate, *, n_now: int, n_most: int, wanted: bool) -> bool:
    """Whether the bound that decides may come to lie on the side it has to be on."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or not math.isfinite(value):
        return True
    upper = criterion.passes_below is wanted
    end = high if upper else low
    if end is None or not math.isfinite(end):
        return True
    logarithmic = metric_for(criterion.metric).unit is Unit.RATIO and min(value, end, criterion.threshold) > 0
    scale, back = (math.log, math.exp) if logarithmic else (float, float)
    width = abs(scale(end) - scale(value))
    error = estimate.std_error if estimate.std_error and not logarithmic else width / _SEQUENCE
    # Upper bounds are helped by smaller values, lower ones by larger.
    best = scale(value) + (-_OPTIMISM if upper else _OPTIMISM) * error
    centre = (n_now * scale(value) + (n_most - n_now) * best) / n_most
    final = width * math.sqrt(n_now / n_most)
    bound = back(centre + final) if upper else back(centre - final)
    return holds(criterion, bound) is wanted
