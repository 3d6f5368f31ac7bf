from dataclasses import replace

import pytest

from harness.domain.decision import Objection, Outcome, Verdict
from harness.domain.report import StoppingReport
from reports.page_candidate import view_of
from reports.page_decision import attempts_of, facts_of, needed_of, reasons_of, sure_of
from tests.unit.reports import factory, rich


def decided(verdict=Verdict.GO, **terms):
    candidate = factory.thorough()
    return replace(candidate, decision=replace(candidate.decision, verdict=verdict, terms=rich.terms(**terms)))


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (Verdict.GO, "Had the candidate in truth broken one of the rules, it would have got this GO {often}"),
        (Verdict.NO_GO, "Had the candidate in truth met every rule, it would have got this NO_GO {often}"),
        (
            Verdict.INCONCLUSIVE,
            "Nothing is decided yet, so nothing is decided wrongly. A candidate that in truth breaks one of the rules "
            "gets a GO {often}",
        ),
    ],
)
def test_how_sure_it_is_is_said_as_a_frequency(verdict, said):
    often = "at most once in 131 evaluations like this one (0.76%), however often anybody looks while it goes on."
    assert sure_of(decided(verdict)).sentences[0] == said.format(often=often)


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ("planned", "over all the looks that were planned."),
        ("one", "as long as nobody looks, goes on and looks again."),
        ("other", "evaluations like this one (0.76%)."),
    ],
)
def test_how_often_one_may_look_belongs_to_it(looks, said):
    assert sure_of(decided(looks=looks)).sentences[0].endswith(said)


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({}, "This is attempt 2 of its family, and may spend 0.76% of the 5% that all attempts together may."),
        ({"attempt": 1, "attempt_alpha": None}, "a second one would not be covered."),
        ({"attempt": 3, "attempt_alpha": 0.05}, "over several attempts the chance of a wrong GO adds up."),
    ],
)
def test_attempts_share_alpha_or_the_page_says_that_they_do_not(terms, said):
    assert sure_of(decided(**terms)).sentences[1].endswith(said)


def test_the_terms_are_on_the_first_screen():
    facts = {fact.label: (fact.value, fact.note) for fact in sure_of(decided()).terms}
    assert facts == {
        "Profile": ("Non-inferiority", "as good as production within margins"),
        "Chance of a wrong GO": ("at most 5%", "alpha, over all attempts"),
        "Attempt": ("2", "may spend 0.76%"),
        "Looks": ("Any number", "bounds hold however often somebody looks"),
        "Horizon": ("10,000 pairs", "most pairs planned for"),
    }


def test_a_planned_look_says_which_one_it_is_and_what_it_rests_on():
    terms = {"looks": "planned", "planned_look": 3, "planned_looks": 5, "n_look": 6000, "attempt_alpha": 0.05}
    facts = {fact.label: fact.value for fact in sure_of(decided(**terms)).terms}
    assert (facts["Looks"], facts["Decided on"]) == ("3 of 5 planned", "6,000 requests")
    before = {fact.label: fact.value for fact in sure_of(decided(**terms | {"planned_look": 0, "n_look": 0})).terms}
    assert (before["Looks"], before["Decided on"]) == ("0 of 5 planned", "0 requests")


def test_one_look_has_no_horizon_and_its_own_criteria_their_name():
    facts = {fact.label: fact.value for fact in sure_of(decided(looks="one", profile="own criteria")).terms}
    assert "Horizon" not in facts
    assert (facts["Looks"], facts["Profile"]) == ("One", "Own criteria")


def test_without_terms_nothing_is_claimed():
    assert sure_of(factory.candidate()) is None


def test_objections_have_a_place_of_their_own_and_are_said_once():
    candidate = factory.thorough()
    view = view_of(factory.full(), candidate, "c1")
    [objection] = view.objections
    assert objection.sentence == "", "the decision's sentence has it already"
    assert objection.remedy.startswith("Look at their examples")
    assert not any("Look at their examples" in reason for reason in view.reasons)
    assert view.reasons == (), "all required rules pass: they are drawn, and need no sentence"
    assert (view.objections_lead, view.objections_first) == ("What keeps it from a GO", True)


def test_on_top_of_a_failed_rule_an_objection_comes_second():
    candidate = factory.failing()
    objection = Objection(kind="slice", sentence="1 slice loses.", remedy="Look.")
    decision = replace(candidate.decision, objections=(objection,))
    view = view_of(factory.full(), replace(candidate, decision=decision), "c1")
    assert (view.objections_lead, view.objections_first) == ("Also against it", False)
    assert view.objections[0].sentence == "1 slice loses."


def test_reasons_without_objections_stay_as_they_are():
    candidate = factory.candidate()
    assert reasons_of(candidate) == candidate.decision.reasons


def stopped(reason, *, asked=1500, saved=4.31):
    stopping = StoppingReport(reason=reason, asked=asked, sampled=5000, saved_usd=saved)
    return {fact.label: (fact.value, fact.note) for fact in facts_of(factory.failing(stopping=stopping))}


def test_stopping_early_says_why_and_what_it_saved():
    facts = stopped("settled")
    assert facts["Requests asked"] == ("1,500 of 5,000", "stopped: the decision already stood")
    assert facts["Saved by stopping"] == ("about $4.31", "3,500 requests not asked and not judged")
    assert stopped("out_of_reach")["Requests asked"][1] == "stopped: the rest could not have settled it"


def test_a_spent_budget_saves_nothing_and_an_unknown_price_no_known_sum():
    assert "Saved by stopping" not in stopped("budget")
    assert stopped("time_limit")["Requests asked"][1] == "stopped: the time limit was reached"
    unknown = stopped("settled", saved=None)
    assert unknown["Requests asked"][1] == "stopped: the decision already stood; what that saved is not known"
    assert "Saved by stopping" not in unknown
    assert stopped(None)["Requests asked"][1] == "not asked yet"
    assert stopped(None, asked=5000)["Requests asked"] == ("5,000", "all that were sampled")


def test_the_first_screen_says_whether_judges_can_be_believed():
    def believed(candidate):
        return next((f.value, f.note) for f in facts_of(candidate) if f.label == "Can the judges be believed?")

    assert believed(factory.thorough()) == (
        "as far as checked", "1 warning; 1 check not made; people agree on 71.20%",
    )  # fmt: skip
    sound = replace(rich.health()[0], checks=rich.health()[0].checks[:4])
    assert believed(factory.failing(health=(sound,))) == ("yes", "no check failed")
    assert believed(factory.failing()) == ("no", "not pairwise")
    both = (*rich.health(), replace(rich.health(usable=False)[0], judge="rubric"))
    assert believed(factory.failing(health=both)) == ("1 of 2", "not rubric")


def test_why_more_pairs_would_not_help_is_said():
    report, candidate = factory.full(), factory.failing()
    first, *others = candidate.decision.results

    def needed(outcome, **more):
        results = (replace(first, outcome=outcome, **more), *others)
        decision = replace(candidate.decision, results=results, binding=first.criterion.metric, n_needed=None)
        return needed_of(report, replace(candidate, decision=decision))

    assert needed(Outcome.UNATTAINABLE) == (
        "More pairs will not help: not even production meets 95th percentile latency, ratio below 1.2x. The rule has "
        "to change."
    )
    objection = Objection(kind="judge", sentence="no")
    assert needed(Outcome.INCONCLUSIVE, objection=objection).startswith("More pairs alone will not help")
    assert needed(Outcome.NO_DATA, objection=objection).endswith("would need cannot be projected.")


def test_the_ledger_lists_attempts_and_marks_this_one():
    table = attempts_of(factory.full(), factory.thorough())
    rows = [[cell.text for cell in row] for row in table.rows]
    assert rows[0] == [
        "1", "2026-10-30 08:15 UTC", "support-1b2c3d4e", "small-model", "3.04%", "NO_GO", "1,500",
    ]  # fmt: skip
    assert rows[1][3:] == ["small-model", "0.76%", "INCONCLUSIVE", "1,182"]
    assert [row[0].sub for row in table.rows] == ["", "this one"]
    assert "a smaller part of the 5% that all of them share" in table.note


def test_the_ledger_says_when_alpha_is_not_shared():
    [first, second] = rich.attempts("small-model")
    open_ = replace(second, verdict=None, n_pairs=None)
    terms = rich.terms(attempt_alpha=0.05)
    candidate = factory.thorough(attempts=(open_, first))
    candidate = replace(candidate, decision=replace(candidate.decision, terms=terms))
    table = attempts_of(factory.full(), candidate)
    assert table.note.endswith("This experiment gives every attempt the whole 5% all the same.")
    assert [cell.text for cell in table.rows[1]][-2:] == ["not decided", "–"]
    assert attempts_of(factory.full(), factory.candidate()) is None


def test_without_terms_an_attempt_is_known_by_its_run():
    candidate = factory.thorough()
    candidate = replace(candidate, decision=replace(candidate.decision, terms=None))
    table = attempts_of(factory.full(), candidate)
    assert [row[0].sub for row in table.rows] == ["", "this one"]
