"""Who decided by which rule, and what a month would cost: what the first screen says beside the verdict."""

from harness.domain.decision import Outcome, Verdict
from harness.domain.metrics import COST_PER_1K
from harness.domain.report import CandidateReport, CostReport, EvaluationReport
from reports.deciding import decided_on
from reports.page_parts import dollars, when
from reports.text import plural
from reports.views_glance import MonthView

_PROFILES = {"non_inferiority": "non-inferiority", "superiority": "superiority"}


def ruled_of(report: EvaluationReport, candidate: CandidateReport) -> str:
    """Who decided, when, by which rules, and which of them made the verdict."""
    return (
        f"{_why(candidate)} Decided by Shadow Harness {report.harness_version} on {when(report.decided_at)} "
        f"by {_rules(report, candidate)}, not by a person."
    )


def month_of(candidate: CandidateReport) -> MonthView:
    """The candidate's month beside production's, with what it assumes."""
    cost = candidate.cost
    low, high = month_bounds(candidate)
    return MonthView(
        candidate=dollars(cost.candidate_month_usd),
        interval="" if low is None or high is None else f"{dollars(low)} to {dollars(high)}",
        production=dollars(cost.production_month_usd),
        assumption=assumption_of(cost),
    )


def assumption_of(cost: CostReport) -> str:
    """What the monthly figures rest on, or why there are none."""
    if cost.requests_per_month is None:
        return f"No monthly figure: the monthly volume is {cost.requests_per_month_source}."
    if cost.candidate_month_usd is None:
        return "No monthly figure: what a request costs is not known on both sides."
    return (
        f"The month assumes {cost.requests_per_month:,.0f} requests ({cost.requests_per_month_source}) like the "
        "sampled ones at today's prices."
    )


def month_bounds(candidate: CandidateReport) -> tuple[float | None, float | None]:
    """What a month on the candidate costs at least and at most, by the bounds that decide where cost is a criterion."""
    cost, decided = candidate.cost, decided_on(candidate.decision).get(COST_PER_1K.name)
    if decided is None:
        return cost.candidate_month_low_usd, cost.candidate_month_high_usd
    if cost.requests_per_month is None or decided.low is None or decided.high is None:
        return None, None
    times = cost.requests_per_month / 1000
    return decided.low * times, decided.high * times


def _rules(report: EvaluationReport, candidate: CandidateReport) -> str:
    terms = candidate.decision.terms
    profile = "" if terms is None else _PROFILES.get(terms.profile, "")
    return f"the rules of profile {profile}" if profile else f"the rules written in experiment {report.name}"


def _why(candidate: CandidateReport) -> str:
    """The rule that made the verdict; which criteria it was is said by the decision's own sentence."""
    required = [result for result in candidate.decision.results if result.criterion.required]
    if not required:
        return "No required rule was set, so there is nothing to decide by."
    if candidate.decision.verdict is Verdict.NO_GO:
        return "One failed rule is enough for a NO_GO."
    wanted = plural(len(required), "required rule")
    if candidate.decision.verdict is Verdict.INCONCLUSIVE and all(r.outcome is Outcome.PASS for r in required):
        return "All required rules pass, and what is said against them keeps it from a GO."
    return f"A GO needs all {wanted} to pass and nothing said against it."
