"""Whether the evidence can be believed, and whether there is enough of it."""

import math

from harness.domain.estimate import Unit
from harness.domain.formatting import format_value
from harness.domain.rollout import Action, Check
from harness.rollout.case import Case

_FEW_PAIRS = 100
"""Pairs due below which a share of incomplete ones says nothing yet."""


# Validity


def fresh(case: Case) -> Check:
    """The evidence says how things stand now."""
    age = (case.now - case.evidence.at).total_seconds()
    stale = age > case.policy.validity.stale_s
    return Check(
        name="validity.fresh",
        speaks_for=Action.HOLD if stale else None,
        sentence=f"The evidence is {max(age, 0.0):,.0f} s old.",
        figures={"age_s": age},
    )


def sample_ratio(case: Case) -> Check:
    """Assignments came out as they were meant to (Dirichlet-multinomial e-process)."""
    from harness.stats import sample_ratio as ratios

    name = "validity.sample_ratio"
    tested = [item for item in case.evidence.assigned if 0 < item.share < 1 and item.taken + item.left]
    if not tested:
        missing = case.serves
        said = "Nothing is known of the assignment." if missing else "There is no random assignment to test."
        return Check(name=name, speaks_for=Action.WAIT if missing else None, sentence=said)
    # One of several fails by chance no more often than one alone.
    threshold = -math.log(case.policy.validity.sample_ratio_alpha / len(tested))
    found = [(float(ratios.log_e((a.taken, a.left), (a.share, 1 - a.share))), a) for a in tested]
    log_e, worst = max(found, key=lambda pair: pair[0])
    n = worst.taken + worst.left
    return Check(
        name=name,
        speaks_for=Action.HOLD if log_e >= threshold else None,
        sentence=(
            f"{worst.name}: {worst.taken:,} of {n:,} were taken, "
            f"{format_value(worst.share, Unit.SHARE)} were meant to be ({format_value(worst.taken / n, Unit.SHARE)})."
        ),
        figures={"log_e": log_e, "threshold": threshold},
    )


def completeness(case: Case) -> Check:
    """Sampled requests became pairs."""
    name, pairs, least = "validity.completeness", case.evidence.pairs, case.policy.validity.completeness
    if pairs is None or not pairs.due:
        return Check(
            name=name, speaks_for=None if case.serves else Action.WAIT, sentence="There are no shadow pairs to count."
        )
    share = pairs.complete / pairs.due
    objection = None if share >= least else Action.HOLD if pairs.due >= _FEW_PAIRS else Action.WAIT
    return Check(
        name=name,
        speaks_for=objection,
        sentence=(
            f"{pairs.complete:,} of {pairs.due:,} sampled requests became pairs, "
            f"{format_value(least, Unit.SHARE, trim=True)} have to."
        ),
        figures={"share": share, "due": pairs.due},
    )


def judges(case: Case) -> Check:
    """No judge has drifted or failed another check of its health."""
    failed = [health for health in case.evidence.judges if not health.usable]
    said = "; ".join(f"judge {health.judge}: {health.failed[0].sentence}" for health in failed)
    return Check(
        name="validity.judges", speaks_for=Action.HOLD if failed else None, sentence=said or "No judge failed a check."
    )


def traffic(case: Case) -> Check:
    """There is traffic to learn from."""
    last = case.evidence.last_traffic or case.state.phase_since
    silent = (case.now - last).total_seconds()
    return Check(
        name="validity.traffic",
        speaks_for=Action.HOLD if silent >= case.policy.validity.no_traffic_s else None,
        sentence=f"The last request was {max(silent, 0.0) / 60:,.0f} minutes ago."
        if case.evidence.last_traffic
        else "There was no request in this phase.",
        figures={"silent_s": silent},
    )


# Enough of it


def enough(case: Case) -> Check:
    """Evidence of this phase's own: a new load is a new question."""
    wanted = case.phase.min_pairs
    if case.serves:
        stage = case.evidence.stage(case.phase.name)
        n = 0 if stage is None else min(stage.candidate.begun, stage.control.begun)
        what = "conversations per arm"
    else:
        n = 0 if case.evidence.pairs is None else case.evidence.pairs.complete
        what = "pairs"
    return Check(
        name="minimum.evidence",
        speaks_for=None if n >= max(wanted, 1) else Action.WAIT,
        sentence=f"{n:,} of at least {wanted:,} {what}.",
        figures={"n": n, "wanted": wanted},
    )


def baked(case: Case) -> Check:
    """Time in the phase, without holds and pauses."""
    ran, wanted = case.state.in_phase_s(case.now), case.phase.min_bake_s
    return Check(
        name="minimum.bake",
        speaks_for=None if ran >= wanted else Action.WAIT,
        sentence=f"{ran / 3600:,.1f} of at least {wanted / 3600:,.1f} hours.",
        figures={"ran_s": ran, "wanted_s": wanted},
    )
