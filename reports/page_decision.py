"""What was decided about one candidate, how sure that is, and what was left unasked: the first screen."""

import math
from collections.abc import Mapping

from harness.domain.attempt import Attempt
from harness.domain.decision import CriterionResult, Outcome, Terms, Verdict
from harness.domain.health import HealthState
from harness.domain.report import CandidateReport, EvaluationReport, JudgeOnLabels, StoppingReport
from reports.metrics import answered_by, metric_of, rule
from reports.page_criteria import objection_of
from reports.page_parts import NONE, dollars, percent, table, when, words
from reports.text import plural
from reports.views import Cell, Fact, Table
from reports.views_trust import ObjectionView, SureView

WHY_LEFT: Mapping[str, str] = {
    "settled": "the decision already stood",
    "out_of_reach": "the rest could not have settled it",
    "budget": "the budget was spent",
    "time_limit": "the time limit was reached",
    "interrupted": "somebody interrupted the run",
    "not_replayed": "not asked yet",
}
"""Why requests of the sample were not asked, by the run's reason."""
ON_PURPOSE = frozenset({"settled", "out_of_reach"})
"""Reasons that save money and lose nothing."""
_PROFILES: Mapping[str, tuple[str, str]] = {
    "non_inferiority": ("Non-inferiority", "as good as production within margins"),
    "superiority": ("Superiority", "better than production"),
    "own criteria": ("Own criteria", "written in the experiment"),
}
_LOOKS: Mapping[str, tuple[str, str]] = {
    "any": ("Any number", "bounds hold however often somebody looks"),
    "planned": ("Planned", "bounds hold at the looks planned beforehand"),
    "one": ("One", "bounds hold for a single look at the end"),
}
_HOW_OFTEN: Mapping[str, str] = {
    "any": "however often anybody looks while it goes on",
    "planned": "over all the looks that were planned",
    "one": "as long as nobody looks, goes on and looks again",
}


def objections_of(candidate: CandidateReport) -> tuple[ObjectionView, ...]:
    """What speaks against the decision as a whole; what its sentence says already is not said again."""
    decision = candidate.decision
    return tuple(objection_of(item, said=decision.sentence) for item in decision.objections)


def reasons_of(candidate: CandidateReport) -> tuple[str, ...]:
    """Reasons without the objections, which have a place of their own."""
    spoken = {f"{item.sentence} {item.remedy}".strip() for item in candidate.decision.objections}
    return tuple(reason for reason in candidate.decision.reasons if reason not in spoken)


def facts_of(candidate: CandidateReport) -> tuple[Fact, ...]:
    """Numbers of the first screen."""
    funnel, cost = candidate.funnel, candidate.cost
    failed = sum(funnel.failed.values())
    return (
        Fact(label="Answered by", value=answered_by(candidate.model), note=_answered(candidate)),
        *_asked(candidate.stopping),
        Fact(
            label="Pairs compared",
            value=f"{funnel.comparable:,}",
            note=f"of {funnel.sampled:,} sampled, {failed:,} failed",
        ),
        Fact(label="Spent on this run", value=dollars(cost.candidate_usd), note=f"on judges {judges_spent(candidate)}"),
        *_judges(candidate),
    )


def judges_spent(candidate: CandidateReport) -> str:
    """Judges without a model cost nothing, which is not the same as an unknown price."""
    paid = any(judge.model for judge in candidate.judges)
    return dollars(candidate.cost.judges_usd) if paid or candidate.cost.judges_usd is not None else "nothing"


def needed_of(report: EvaluationReport, candidate: CandidateReport) -> str:
    """How many pairs are missing, or why more would not help."""
    decision = candidate.decision
    found = next((r for r in decision.results if r.criterion.metric == decision.binding), None)
    title = metric_of(report, decision.binding).title if decision.binding else ""
    if not decision.n_needed:
        return _not_projected(report, found, title) if title else ""
    more = decision.n_needed - candidate.funnel.comparable
    if more <= 0:
        return ""
    text = f"Still needed: about {plural(more, 'more pair')}, {decision.n_needed:,} in all"
    return text + (f"; {title} needs most." if title else ".")


def sure_of(candidate: CandidateReport) -> SureView | None:
    """How sure the decision is; ``None`` when its terms are not recorded."""
    terms = candidate.decision.terms
    if terms is None:
        return None
    return SureView(sentences=(_chance(candidate.decision.verdict, terms), _share(terms)), terms=_terms(terms))


def attempts_of(report: EvaluationReport, candidate: CandidateReport) -> Table | None:
    """The ledger of the candidate's family; ``None`` when nothing is entered."""
    if not candidate.attempts:
        return None
    terms = candidate.decision.terms
    rows = [
        (
            Cell(text=f"{attempt.number}", sub="this one" if _is_this(report, candidate, attempt) else ""),
            Cell(text=when(attempt.begun_at)),
            Cell(text=attempt.run_id),
            Cell(text=attempt.arm),
            Cell(text=_percent(attempt.alpha)),
            Cell(text=attempt.verdict or "not decided"),
            Cell(text=NONE if attempt.n_pairs is None else f"{attempt.n_pairs:,}"),
        )
        for attempt in sorted(candidate.attempts, key=lambda attempt: attempt.number)
    ]
    return table(
        "Attempts of this candidate's family",
        ["Attempt", "Began", "Run", "Candidate", "May spend", "Verdict", "Pairs"],
        rows,
        numeric=(4, 6),
        note=_ledger_note(terms),
    )


def _ledger_note(terms: Terms | None) -> str:
    text = "Whoever tries often enough gets a GO by chance."
    if terms is not None and not _is_shared(terms):
        return f"{text} This experiment gives every attempt the whole {_percent(terms.alpha)} all the same."
    of = "" if terms is None else f" of the {_percent(terms.alpha)} that all of them share"
    return (
        f"{text} Every further attempt may therefore spend a smaller part{of}; asking more of the same export is no "
        "new attempt."
    )


def _answered(candidate: CandidateReport) -> str:
    names = [name for name in sorted(candidate.answered_models) if name != candidate.model]
    return f"answered as {', '.join(names[:3])}" + (", …" if len(names) > 3 else "") if names else ""


def _asked(stopping: StoppingReport | None) -> tuple[Fact, ...]:
    """How much of the sample was asked, why not more, and what that saved."""
    if stopping is None:
        return ()
    left = stopping.sampled - stopping.asked
    if left <= 0:
        return (Fact(label="Requests asked", value=f"{stopping.asked:,}", note="all that were sampled"),)
    why = WHY_LEFT.get(stopping.reason or "not_replayed", words(stopping.reason or ""))
    asked = Fact(
        label="Requests asked",
        value=f"{stopping.asked:,} of {stopping.sampled:,}",
        note=why if stopping.reason is None else f"stopped: {why}",
    )
    saved = "what that saved is not known" if stopping.saved_usd is None else dollars(stopping.saved_usd)
    if stopping.reason not in ON_PURPOSE:
        return (asked,)
    if stopping.saved_usd is None:
        return (Fact(label=asked.label, value=asked.value, note=f"{asked.note}; {saved}"),)
    requests = plural(left, "request")
    return asked, Fact(label="Saved by stopping", value=f"about {saved}", note=f"{requests} not asked and not judged")


def _judges(candidate: CandidateReport) -> tuple[Fact, ...]:
    if not candidate.health:
        return ()
    states = [check.state for item in candidate.health for check in item.checks]
    usable = [item.judge for item in candidate.health if item.usable]
    failed = [item.judge for item in candidate.health if not item.usable]
    unknown, warned = states.count(HealthState.UNKNOWN), states.count(HealthState.WARN)
    if failed:
        value = f"{len(usable)} of {len(candidate.health)}" if usable else "no"
        notes = [f"not {', '.join(failed)}"]
    else:
        value = "as far as checked" if unknown else "yes"
        notes = [plural(warned, "warning")] if warned else ["no check failed"]
        notes += [f"{plural(unknown, 'check')} not made"] if unknown else []
    agreed = [found.accuracy.value for found in _labelled(candidate) if found.accuracy is not None]
    if len(agreed) == 1 and agreed[0] is not None:
        notes.append(f"people agree on {percent(agreed[0])}")
    return (Fact(label="Can the judges be believed?", value=value, note="; ".join(notes)),)


def _labelled(candidate: CandidateReport) -> tuple[JudgeOnLabels, ...]:
    return () if candidate.people is None else tuple(found for found in candidate.people.judges if found.n)


def _not_projected(report: EvaluationReport, result: CriterionResult | None, title: str) -> str:
    if result is not None and result.outcome is Outcome.UNATTAINABLE:
        wanted = rule(result.criterion, metric_of(report, result.criterion.metric))
        return f"More pairs will not help: not even production meets {title} {wanted}. The rule has to change."
    if result is not None and result.objection is not None and result.outcome is not Outcome.NO_DATA:
        return f"More pairs alone will not help: what is said against {title} has to be put right first."
    return f"How many more pairs {title} would need cannot be projected."


def _chance(verdict: Verdict, terms: Terms) -> str:
    """The chance of being wrong as a frequency, which is read more reliably than a percentage."""
    often = f"at most once in {_once_in(terms.pass_alpha)} evaluations like this one ({_percent(terms.pass_alpha)})"
    looks = _HOW_OFTEN.get(terms.looks, "")
    how = f", {looks}" if looks else ""
    match verdict:
        case Verdict.GO:
            return f"Had the candidate in truth broken one of the rules, it would have got this GO {often}{how}."
        case Verdict.NO_GO:
            return f"Had the candidate in truth met every rule, it would have got this NO_GO {often}{how}."
        case Verdict.INCONCLUSIVE:
            return (
                "Nothing is decided yet, so nothing is decided wrongly. A candidate that in truth breaks one of the "
                f"rules gets a GO {often}{how}."
            )


def _share(terms: Terms) -> str:
    part, whole = terms.pass_alpha, terms.alpha
    if _is_shared(terms):
        return (
            f"This is attempt {terms.attempt} of its family, and may spend {_percent(part)} of the {_percent(whole)} "
            "that all attempts together may."
        )
    if terms.attempt == 1:
        return f"The whole {_percent(whole)} may be spent on this attempt: a second one would not be covered."
    return (
        f"This is attempt {terms.attempt} of its family, and the experiment gives each the whole {_percent(whole)}: "
        "over several attempts the chance of a wrong GO adds up."
    )


def _is_shared(terms: Terms) -> bool:
    return not math.isclose(terms.pass_alpha, terms.alpha, rel_tol=1e-9)


def _terms(terms: Terms) -> tuple[Fact, ...]:
    profile, profile_note = _PROFILES.get(terms.profile, (terms.profile, ""))
    looks, looks_note = _LOOKS.get(terms.looks, (terms.looks, ""))
    if terms.looks == "planned" and terms.planned_looks:
        looks = f"{terms.planned_look or 0} of {terms.planned_looks} planned"
    facts = [
        Fact(label="Profile", value=profile, note=profile_note),
        Fact(
            label="Chance of a wrong GO",
            value=f"at most {_percent(terms.alpha)}",
            note="alpha, over all attempts" if _is_shared(terms) else "alpha, of each attempt",
        ),
        Fact(label="Attempt", value=f"{terms.attempt}", note=f"may spend {_percent(terms.pass_alpha)}"),
        Fact(label="Looks", value=looks, note=looks_note),
    ]
    if terms.looks != "one" and terms.horizon:
        note = "the last planned look" if terms.looks == "planned" else "most pairs planned for"
        facts.append(Fact(label="Horizon", value=plural(terms.horizon, "pair"), note=note))
    if terms.n_look is not None:
        facts.append(
            Fact(label="Decided on", value=plural(terms.n_look, "request"), note="the first of the sample, as planned")
        )
    return tuple(facts)


def _is_this(report: EvaluationReport, candidate: CandidateReport, attempt: Attempt) -> bool:
    terms = candidate.decision.terms
    if terms is not None:
        return attempt.number == terms.attempt
    return (attempt.run_id, attempt.arm) == (report.run_id, candidate.arm)


def _once_in(alpha: float) -> str:
    """Rounded towards the more frequent, so that the sentence never promises more than holds."""
    return f"{math.floor(1 / alpha + 1e-9):,}" if alpha > 0 else "infinitely many"


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"
