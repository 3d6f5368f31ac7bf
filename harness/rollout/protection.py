"""What takes the candidate away from users: hard breakers on the last minutes, and tests that hold at every look."""

import math
from collections.abc import Iterable

from harness.domain.decision import Verdict
from harness.domain.estimate import Estimate, Unit
from harness.domain.formatting import format_interval, format_usd, format_value
from harness.domain.rollout import Action, Check
from harness.rollout.case import Case, holds_always, margin_in_words
from harness.rollout.evidence import Bounds, Recent, Stage

_SLOWEST = 0.05
"""Share of requests beyond the P95."""


def error_log_e(stages: Iterable[Stage], *, concentration: float) -> float:
    """Log e-value against "a conversation of the candidate fails no more often than one of the control".

    Of the conversations that fail, a share as large as the candidate's share of all is the candidate's, whatever the
    error rate of the hour is: an e-process of Bernoulli trials per stage (Lindon and Malek 2022, arXiv 2011.03567),
    and over stages the product, since each begins anew at 1. Exact for independent conversations.
    """
    from harness.stats import mixtures

    return math.fsum(
        mixtures.bernoulli_log_e(
            float(stage.candidate.failed), float(failed), share=stage.share, concentration=concentration, sides=1
        )
        for stage in stages
        if (failed := stage.candidate.failed + stage.control.failed)
    )


# Hard breakers


def severe(case: Case) -> Check:
    """One severe event ends a rollout."""
    n = case.evidence.severe
    if n:
        return Check(name="breaker.severe", speaks_for=Action.ROLL_BACK, sentence=f"{n:,} severe events were reported.")
    return Check(name="breaker.severe", speaks_for=None, sentence="No severe event was reported.")


def spend(case: Case) -> Check:
    """More than the budget was spent."""
    spent, budget = case.evidence.spend_usd, case.policy.budget_usd
    if budget is None:
        return Check(name="breaker.spend", speaks_for=None, sentence="There is no budget.")
    if spent is None:
        return Check(name="breaker.spend", speaks_for=None, sentence="What was spent is not known.")
    over = spent > budget
    return Check(
        name="breaker.spend",
        speaks_for=Action.ROLL_BACK if over else None,
        sentence=f"{format_usd(spent)} of {format_usd(budget)} were spent.",
        figures={"spend_usd": spent, "budget_usd": budget},
    )


def errors_now(case: Case) -> Check:
    """Recent requests fail several times as often as usual, beyond chance (exact binomial)."""
    name, window, breaker = "breaker.errors", case.evidence.window, case.policy.rollback.breaker
    if window is None or window.candidate.requests < breaker.min_requests:
        return Check(name=name, speaks_for=None, sentence="Too few recent requests to break on errors.")
    usual = _usual(window.control, window.baseline_error_rate, breaker.min_requests)
    if usual is None:
        return Check(name=name, speaks_for=None, sentence="Production's usual error rate is not known.")
    usual = max(usual, breaker.least_baseline)
    n, failed = window.candidate.requests, window.candidate.errors
    p = _at_least(failed, n, usual)
    breaks = failed / n > breaker.error_ratio * usual and p < breaker.p_below
    return Check(
        name=name,
        speaks_for=Action.ROLL_BACK if breaks else None,
        sentence=f"{failed:,} of the last {n:,} requests failed, usual is {format_value(usual, Unit.SHARE)}.",
        figures={"requests": n, "errors": failed, "usual": usual, "p": p},
    )


def _usual(control: Recent, baseline: float | None, fewest: int) -> float | None:
    """Production's error rate, or what it is now where that is higher: an outage of both is not the candidate's."""
    known = [] if baseline is None else [baseline]
    if control.requests >= fewest:
        known.append(control.errors / control.requests)
    return max(known, default=None)


def latency_now(case: Case) -> Check:
    """P95 of recent requests is beyond a multiple of the control's, beyond chance (exact binomial)."""
    name, window, breaker = "breaker.latency", case.evidence.window, case.policy.rollback.breaker
    if window is None or min(window.candidate.requests, window.control.requests) < breaker.latency_min_requests:
        return Check(name=name, speaks_for=None, sentence="Too few recent requests to break on latency.")
    if window.slow is None:
        return Check(name=name, speaks_for=None, sentence="Recent latencies are not known.")
    n, slow = window.candidate.requests, window.slow
    p = _at_least(slow, n, _SLOWEST)
    breaks = slow > _SLOWEST * n and p < breaker.p_below
    own, control = (format_value(arm.p95_ms, Unit.MILLISECONDS) for arm in (window.candidate, window.control))
    return Check(
        name=name,
        speaks_for=Action.ROLL_BACK if breaks else None,
        sentence=(
            f"{slow:,} of the last {n:,} requests took over {breaker.latency_ratio:g} times the control's P95 "
            f"(P95 {own}, control's {control})."
        ),
        figures={"requests": n, "slow": slow, "p": p},
    )


def _at_least(k: int, n: int, share: float) -> float:
    """Chance of at least ``k`` of ``n``."""
    from scipy.special import bdtrc

    return 1.0 if k <= 0 else float(bdtrc(k - 1, n, min(share, 1.0)))


# Sequential tests


def error_count(case: Case) -> Check:
    """More of the failed conversations are the candidate's than its share (:func:`error_log_e`)."""
    name, section = "sequential.errors", case.policy.rollback
    counted = [stage for stage in case.evidence.stages if stage.candidate.failed + stage.control.failed]
    own = sum(stage.candidate.failed for stage in counted)
    other = sum(stage.control.failed for stage in counted)
    if not counted:
        return Check(name=name, speaks_for=None, sentence="No conversation failed on either side.")
    log_e, threshold = error_log_e(counted, concentration=section.error_concentration), case.policy.error_threshold
    expected = math.fsum(stage.share * (stage.candidate.failed + stage.control.failed) for stage in counted)
    return Check(
        name=name,
        speaks_for=Action.ROLL_BACK if log_e >= threshold else None,
        sentence=(
            f"{own:,} of {own + other:,} failed conversations are the candidate's, {expected:,.1f} are its share; "
            f"evidence against it is {_power(log_e)} of {_power(threshold)}."
        ),
        figures={"log_e": log_e, "threshold": threshold, "alpha": section.test_alpha, "expected": expected},
    )


def _power(log_e: float) -> str:
    return f"{math.exp(log_e):,.3g}" if abs(log_e) < 30 else f"10^{log_e / math.log(10):.0f}"


def error_difference(case: Case) -> Check:
    """Even the lower bound of the error rates' difference is beyond the margin."""
    bounds, margin = case.evidence.error_difference, case.policy.rollback.error_margin
    return _beyond("sequential.error_difference", "The error rate's difference", bounds, margin, Unit.POINTS, case)


def latency_ratio(case: Case) -> Check:
    """Even the lower bound of the P95 ratio is beyond the margin."""
    bounds, margin = case.evidence.latency_p95_ratio, case.policy.rollback.latency_margin
    return _beyond("sequential.latency", "The P95 ratio", bounds, margin, Unit.RATIO, case)


def _beyond(name: str, what: str, bounds: Bounds | None, margin: float, unit: Unit, case: Case) -> Check:
    """Roll back when even the lower bound is beyond the margin."""
    level = case.policy.rollback.strict_level
    strict = None if bounds is None else bounds.strict
    if strict is None or not holds_always(strict, level):
        return Check(name=name, speaks_for=None, sentence=f"{what} is not known.")
    beyond = strict.low is not None and strict.low > margin
    return Check(
        name=name,
        speaks_for=Action.ROLL_BACK if beyond else None,
        sentence=f"{what} is {format_interval(strict.low, strict.high, unit)}, {margin_in_words(margin, unit)}.",
        figures=_figures(strict) | {"margin": margin, "alpha": case.policy.rollback.test_alpha},
    )


def _figures(estimate: Estimate) -> dict[str, float]:
    known = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return {"n": float(estimate.n)} | {name: value for name, value in known.items() if value is not None}


def decided_against(case: Case) -> Check:
    """The shadow pairs say NO_GO."""
    decision = case.decision
    against = decision is not None and decision.verdict is Verdict.NO_GO
    return Check(
        name="sequential.decision",
        speaks_for=Action.ROLL_BACK if against else None,
        sentence="There is no decision on the shadow pairs." if decision is None else decision.sentence,
    )
