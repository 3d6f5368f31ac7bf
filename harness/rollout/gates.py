"""Whether the next phase may begin: what the evidence shows, which slices object, and who agreed."""

from harness.decision.criteria import metric_for
from harness.decision.forecast import if_equal
from harness.domain.decision import CriterionResult, Outcome, Verdict
from harness.domain.estimate import Estimate, Unit
from harness.domain.formatting import format_interval
from harness.domain.rollout import Action, Check, Gate, WhenInconclusive
from harness.rollout.case import Case, holds_always, margin_in_words

# Gate


def gate(case: Case) -> Check:
    """What the evidence has to show in this phase; one that nothing was measured for is not passed."""
    wanted = case.phase.gate
    if wanted is Gate.CALIBRATED:
        return _calibrated(case)
    met, sentence = _served(case) if case.serves else _decided(case)
    return Check(name="gate", speaks_for=None if met else _undecided(case), sentence=f"{wanted}: {sentence}")


def _undecided(case: Case) -> Action:
    match case.phase.when_inconclusive:
        case WhenInconclusive.WAIT:
            return Action.WAIT
        case WhenInconclusive.HOLD:
            return Action.HOLD
        case WhenInconclusive.ASK:
            asked = (case.now - case.state.asked_since).total_seconds() >= case.phase.ask_after_s
            return Action.PAUSE if asked else Action.WAIT


def _calibrated(case: Case) -> Check:
    """Production against itself: an interval without the value of equals is a fault of the harness, for people."""
    decision = case.decision
    measured = [] if decision is None else [result for result in decision.results if _null(result) is not None]
    if not measured or any(_unbounded(result.estimate) for result in measured):
        return Check(
            name="gate", speaks_for=_undecided(case), sentence="calibrated: production beside itself is not measured."
        )
    wrong = [result for result in measured if not _contains(result.strict or result.estimate, _null(result) or 0.0)]
    rules = [result for result in measured if result.outcome is Outcome.UNATTAINABLE]
    if wrong or rules:
        said = "; ".join(result.reason for result in (*wrong, *rules))
        return Check(name="gate", speaks_for=Action.PAUSE, sentence=f"calibrated: the harness has to be mended: {said}")
    return Check(
        name="gate",
        speaks_for=None,
        sentence=f"calibrated: production does not differ from itself on {len(measured)} criteria.",
    )


def _null(result: CriterionResult) -> float | None:
    """What its metric is of equals; what is measured from the noise floor cannot be asked of the floor itself."""
    name = result.criterion.metric
    return None if "_from_floor" in name else if_equal(name, metric_for(name).unit)


def _unbounded(estimate: Estimate) -> bool:
    return estimate.value is None or (estimate.low is None and estimate.high is None)


def _contains(estimate: Estimate, value: float) -> bool:
    low, high = estimate.low, estimate.high
    return (low is None or low <= value) and (high is None or value <= high)


def _decided(case: Case) -> tuple[bool, str]:
    decision = case.decision
    required = [] if decision is None else [result for result in decision.results if result.criterion.required]
    if decision is None or not required:
        return False, "there is no decision on the shadow pairs."
    unknown = [result.criterion.metric for result in required if result.outcome is Outcome.NO_DATA]
    if unknown:
        return False, f"nothing is known of {', '.join(unknown)}."
    if case.phase.gate is Gate.GO or decision.verdict is not Verdict.INCONCLUSIVE:
        return decision.verdict is Verdict.GO, decision.sentence
    if case.phase.gate is Gate.SAFE:
        return True, "nothing speaks against the candidate."
    needed, reach = decision.n_needed, case.policy.reach
    if needed is None:
        return False, "no number of pairs can be projected that would settle it."
    # What is needed is counted from the first pair, and those of this phase are there already.
    missing = max(needed - (0 if case.evidence.pairs is None else case.evidence.pairs.complete), 0)
    return missing <= reach, f"about {missing:,} more pairs would settle it, {reach:,} are within reach."


def _served(case: Case) -> tuple[bool, str]:
    """Errors and P95 of served conversations; one that is not measured is not as good."""
    section = case.policy.rollback
    measured = (
        ("error difference", case.evidence.error_difference, section.error_margin, Unit.POINTS),
        ("P95 ratio", case.evidence.latency_p95_ratio, section.latency_margin, Unit.RATIO),
    )
    met, said = True, []
    for what, bounds, margin, unit in measured:
        if bounds is None or not holds_always(bounds.gate, section.gate_level):
            met = False
            said.append(f"{what} not known")
            continue
        low, high = bounds.gate.low, bounds.gate.high
        if case.phase.gate is Gate.SERVES_AS_WELL:
            met = met and high is not None and high < margin
        else:
            met = met and (low is None or low <= margin)
        said.append(f"{what} {format_interval(low, high, unit)}, {margin_in_words(margin, unit)}")
    return met, "; ".join(said) + "."


# Slices and people


def slices(case: Case) -> Check:
    """A part of the traffic that is worse off keeps the rest from going on; it does not roll back by itself.

    One that keeps objecting is put before people: more pairs make it surer, and cost money.
    """
    flagged = case.evidence.flagged
    if not flagged:
        return Check(name="slices", speaks_for=None, sentence="No slice objects.", figures={"flagged": 0})
    said = "; ".join(f"{test.attribute}={test.value} on {test.metric} ({test.n:,} pairs)" for test in flagged)
    sentence, limit_s = f"Worse than the criteria allow: {said}.", case.phase.ask_after_s
    figures = {"flagged": len(flagged), "held_s": case.held_s}
    if case.held_s < limit_s:
        return Check(name="slices", speaks_for=Action.HOLD, sentence=sentence, figures=figures)
    sentence = f"{sentence} It has held the rollout for {limit_s / 3600:g} hours: people decide."
    return Check(name="slices", speaks_for=Action.PAUSE, sentence=sentence, figures=figures)


def approval(case: Case) -> Check:
    """Somebody who was asked on this phase's evidence agreed, and not too long ago."""
    state, valid_s = case.state, case.policy.approvals.valid_s
    if not case.phase.approval:
        return Check(name="approval", speaks_for=None, sentence="Nobody has to agree.")
    if state.approved_by is None or state.approved_at is None:
        return Check(
            name="approval", speaks_for=Action.ASK_APPROVAL, sentence="Somebody has to agree to the next phase."
        )
    if (case.now - state.approved_at).total_seconds() > valid_s:
        return Check(
            name="approval",
            speaks_for=Action.ASK_APPROVAL,
            sentence=f"{state.approved_by} agreed more than {valid_s / 3600:g} hours ago; somebody has to agree again.",
        )
    return Check(name="approval", speaks_for=None, sentence=f"{state.approved_by} agreed.")


def overtime(case: Case) -> Check | None:
    """A phase that ran out of time, and a hold as long as that: users are not served on evidence nobody believes."""
    limit = case.phase.max_s
    ran, held = case.state.in_phase_s(case.now), case.held_s
    if max(ran, held) < limit:
        return None
    return Check(
        name="time",
        speaks_for=Action.EXPIRE,
        sentence=f"The phase may take {limit / 3600:g} hours and has not passed.",
        figures={"ran_s": ran, "held_s": held, "limit_s": limit},
    )
