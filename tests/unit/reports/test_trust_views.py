import math
from dataclasses import replace

import pytest

from harness.domain.health import JudgeHealth
from harness.domain.metrics import METRICS
from harness.domain.report import NoiseFloor
from harness.domain.slices import SlicePlan
from reports.page_candidate import view_of
from reports.page_judges import agreement_in_short, judges_of, note_of, people_of
from reports.page_measures import cost_of
from reports.page_noise import noise_of
from reports.page_rates import rates_of
from reports.page_slices import slices_of
from tests.unit.reports import factory, rich
from tests.unit.reports.measures import estimate


def rates(candidate):
    return {row.title: row for row in rates_of(candidate, candidate.judges[0]).rows}


def test_the_win_rate_stands_beside_itself_in_every_way():
    rows = rates(factory.thorough())
    assert {title: (row.value, row.badge and row.badge.word) for title, row in rows.items()} == {
        "As judged": ("57.10%", "set aside"),
        "Where both answered": ("57.60%", None),
        "At equal length": ("55.30%", None),
        "Corrected by people": ("54.80%", "decides"),
        "From the noise floor": ("+7.20 points", None),
    }
    assert rows["Corrected by people"].interval == "48.90% to 60.70%, each bound with 99.24% confidence at any look"
    assert rows["As judged"].interval == "54.50% to 59.70%, a 95% interval for one look"
    assert rows["Corrected by people"].sample == "1,168 pairs, 240 of them labelled"
    assert rows["From the noise floor"].sample == "1,168 pairs, 120 of them asked again"


def test_all_ways_are_drawn_on_one_line_against_one_rule():
    rows = rates(factory.thorough())
    assert len({row.strip.even for row in rows.values()}) == 1
    assert rows["As judged"].strip.threshold == rows["At equal length"].strip.threshold
    assert rows["From the noise floor"].strip.threshold is None
    assert rows["At equal length"].strip.value < rows["As judged"].strip.value


def test_the_judges_own_rate_decides_when_nothing_corrects_it():
    candidate = factory.failing()
    assert rates(candidate)["As judged"].badge.word == "does not count", "its judge is not believed"
    results = tuple(replace(result, objection=None) for result in candidate.decision.results)
    rows = rates(replace(candidate, decision=replace(candidate.decision, results=results)))
    assert rows["As judged"].badge.word == "decides"
    assert rows["Corrected by people"].notes == ("50 labels let it contradict the judge, 1,000 let it decide",)


def test_a_rate_that_is_not_known_says_why():
    unknown = (
        estimate("win_rate", 0.5, 0.4, 0.6),
        estimate("win_rate_corrected", None, notes=("no pair that was drawn at random is labelled by people",)),
        estimate("win_rate_from_floor", None),
        estimate("win_rate_given_answer", None),
    )
    plain = replace(factory.thorough().decision, results=())
    rows = rates(factory.thorough(estimates=unknown, decision=plain))
    assert rows["Corrected by people"].notes == ("no pair that was drawn at random is labelled by people",)
    assert rows["From the noise floor"].notes == ("this judge has not scored production asked again",)
    assert rows["Where both answered"].notes == ("there is nothing to reckon it from",)
    assert rows["Corrected by people"].strip is None
    assert rows["As judged"].badge is None


def test_a_second_judge_has_rates_of_its_own():
    first, *others = factory.judges()
    second = replace(first, judge="rubric")
    own = (
        *rich.estimates(),
        estimate("win_rate:rubric", 0.61, 0.55, 0.67),
        estimate("win_rate_corrected:rubric", 0.6, 0.52, 0.68),
    )
    candidate = factory.thorough(judges=(first, second, *others), estimates=own)
    assert [row.value for row in rates_of(candidate, second).rows] == ["61.00%", "60.00%"]
    assert rates_of(candidate, others[0]) is None


def test_what_length_does_is_said_in_counts():
    view = rates_of(factory.thorough(), factory.judges()[0])
    assert view.length == (
        "Length of the candidate's answer: it is longer on 702 pairs and wins 41.80% of them outright; it is shorter "
        "on 431 pairs and wins 26.70% of them outright. Coefficient of length +0.42 (95% interval +0.11 to +0.73): "
        "above zero, longer answers win more often."
    )


def test_a_coefficient_of_nothing_has_no_sign():
    estimates = tuple(
        replace(item, extra={"length_coefficient": -0.001}) if item.metric == "win_rate_length_controlled" else item
        for item in rich.estimates()
    )
    view = rates_of(factory.thorough(estimates=estimates), factory.judges()[0])
    assert view.length == "Coefficient of length 0.00: above zero, longer answers win more often."


def test_every_check_of_a_judge_is_listed_and_what_fails_comes_first():
    [usable] = judges_of(factory.thorough())
    assert (usable.badge.word, usable.model) == ("usable", "openai/gpt-4.1")
    assert usable.sentence == "It may contribute to a GO: no check failed; 1 check could not be made."
    assert [check.badge.word for check in usable.checks[:3]] == ["warning", "not known", "pass"]
    assert len(usable.checks) == 9
    [unusable] = judges_of(factory.failing())
    assert unusable.badge.word == "not usable"
    assert unusable.sentence == (
        "It decides nothing, whatever its figures say. Failed: preference for the answer shown first."
    )
    assert unusable.checks[0].remedy.startswith("Ask for token probabilities")
    assert unusable.agreement is None


def test_flips_are_shown_by_how_alike_the_answers_are():
    [view] = judges_of(factory.thorough())
    assert [(band.band, band.flips, band.width) for band in view.bands] == [
        ("under 0.5", "2 (4.88%)", 4.88), ("0.5 to 0.8", "9 (7.09%)", 7.09), ("0.8 to 0.95", "30 (7.73%)", 7.73),
        ("0.95 and more", "56 (9.15%)", 9.15),
    ]  # fmt: skip
    health = rich.health()[0]
    first, *others = health.bands
    empty = replace(first, pairs=0, flips=0, first_slot=None)
    [view] = judges_of(factory.thorough(health=(replace(health, bands=(empty, *others)),)))
    assert (view.bands[0].flips, view.bands[0].width, view.bands[0].first) == ("–", 0, "–")
    [view] = judges_of(factory.thorough(health=(replace(health, bands=(empty,)),)))
    assert view.bands == (), "a table of dashes says less than the check that says so"


def test_a_judge_stands_beside_people_with_what_that_is_worth():
    [view] = judges_of(factory.thorough())
    assert view.agreement.sentence == (
        "On 240 pairs that people labelled, it says the same as they do on 71.20%; always giving people's most "
        "common verdict would reach 38.30%."
    )
    facts = {fact.label: (fact.value, fact.note) for fact in view.agreement.facts}
    assert facts["Same verdict as people"] == ("71.20%", "95% interval 65.10% to 76.60%")
    assert facts["Kappa: 0 is chance, 1 is perfect"] == ("0.561", "95% interval 0.470 to 0.641")
    assert facts["Bias: people less judge"][0] == "-3.10 points"
    rows = [[cell.text for cell in row] for row in view.agreement.confusion.rows]
    assert rows == [
        ["People: production better", "44", "14", "10", "68"],
        ["People: tie", "12", "50", "18", "80"],
        ["People: candidate better", "6", "9", "77", "92"],
        ["All", "62", "73", "105", "240"],
    ]


def test_a_bias_that_is_told_from_none_voids_the_judges_own_rate():
    [view] = judges_of(factory.thorough())
    assert view.agreement.is_void
    assert view.agreement.bias == (
        "People score lower than it does, by more than chance explains: it favours the candidate. Its own win rate is "
        "void, and the one corrected by labels decides."
    )
    kinder = replace(rich.people().judges[0].bias, value=0.03, low=0.01, high=0.05)
    [view] = judges_of(factory.failing(people=rich.people(bias=kinder)))
    assert view.agreement.bias.endswith("it favours production. Its own win rate is void.")


def test_no_bias_is_said_with_the_labels_it_rests_on():
    none = replace(rich.people().judges[0].bias, low=-0.07, high=0.01)
    [view] = judges_of(factory.thorough(people=rich.people(bias=none)))
    assert (view.agreement.is_void, view.agreement.bias) == (
        False, "On 240 labels no bias towards either side can be made out.",
    )  # fmt: skip
    [view] = judges_of(factory.thorough(people=rich.people(bias=replace(none, n=20))))
    assert view.agreement.bias.endswith("50 labels would be needed to tell.")
    unknown = replace(none, value=None)
    [view] = judges_of(factory.thorough(people=rich.people(bias=unknown)))
    assert view.agreement.bias.startswith("Its bias is not known")


def test_judges_that_only_compute_have_no_block():
    computing = factory.judges()[1:]
    assert judges_of(factory.candidate(judges=computing)) == ()
    assert "needs no belief" in note_of(factory.candidate(judges=computing))
    assert note_of(factory.candidate()) == "Whether the judges of this run can be believed was not checked."


def test_people_alone_make_a_block_without_a_verdict_on_the_judge():
    [view] = judges_of(factory.thorough(health=()))
    assert (view.badge.word, view.checks) == ("not checked", ())
    assert view.agreement is not None


def test_a_judge_without_checks_is_usable():
    [view] = judges_of(factory.candidate(health=(JudgeHealth(judge="pairwise", checks=()),)))
    assert view.sentence == "It may contribute to a GO: no check failed."


def test_where_verdicts_are_shown_people_are_never_far():
    assert agreement_in_short(factory.thorough(), "pairwise") == (
        "People say the same on 71.20% of 240 labelled pairs, kappa 0.561."
    )
    assert agreement_in_short(factory.failing(), "pairwise").startswith("Nobody has labelled pairs that it scored")
    assert agreement_in_short(factory.thorough(), "other").startswith("Nobody")


def test_labels_say_what_they_do():
    view = people_of(factory.full(), factory.thorough())
    assert {fact.label: (fact.value, fact.note) for fact in view.facts} == {
        "Pairs labelled": ("252", "of 1,182 pairs"),
        "Labellers": ("3", ""),
        "Drawn at random": ("240", "uniform, seed 0"),
    }
    assert view.sentences == (
        "12 labelled pairs came by no known random plan: they show agreement and correct nothing.",
        "These labels stand in the win rate that decides.",
    )
    assert [part.text for part in view.parts] == ["96 (38.10%)", "85 (33.73%)", "71 (28.17%)"]


@pytest.mark.parametrize(
    ("drawn", "said"),
    [
        (252, "from 1,000 labels on they decide in its place."),
        (12, "38 more labels of drawn pairs and they can correct"),
    ],
)
def test_labels_that_do_not_decide_yet_say_how_many_would(drawn, said):
    people = replace(rich.people(), drawn=drawn, labelled=252)
    view = people_of(factory.full(), factory.failing(people=people))
    assert said in view.sentences[-1]


def test_without_labels_the_page_says_how_to_label_and_what_for():
    view = people_of(factory.full(), factory.failing())
    assert view.command == "harness label support-3fa9c1d2"
    assert view.parts == view.facts == ()
    assert "agree with judge pairwise. From 50 pairs on" in view.sentences[1]


def test_candidate_and_replica_stand_beside_each_other():
    table = noise_of(factory.full(), factory.thorough())
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert rows["Similarity"] == ["0.951", "0.947", "0.004", "1,182"]
    assert rows["Very different answers"] == ["2.70%", "3.10%", "-0.40 points", "1,182"]
    assert rows["Win rate"] == ["57.10%", "49.90%", "+7.20 points", "1,168"], "the judge's own, not the corrected one"
    assert rows["95th percentile latency, ratio"] == ["0.83x", "0.91x", "0.91x", "1,182"]
    assert rows["Error rate, difference"][2] == "–"
    assert list(rows)[-1] == "Error rate, difference", "what has a distance comes first"
    assert table.rows[0][4].sub == "120 asked again"
    assert table.rows[0][3].sub == "-0.006 to 0.014\nas decided on"


def test_without_a_replica_there_is_nothing_to_stand_beside():
    view = view_of(factory.full(noise_floor=None), factory.thorough(), "c1")
    assert view.noise is None
    assert "A `replica:` section in the experiment measures it." in view.noise_note
    nothing = NoiseFloor(n=0, share=0.1, estimates=(estimate("similarity", None),))
    assert noise_of(factory.full(noise_floor=nothing), factory.thorough()) is None


def test_flagged_slices_come_first_and_the_number_tested_is_said():
    view = slices_of(factory.full(), factory.thorough())
    assert [cell.text for cell in view.tests.rows[0]] == ["metadata.plan: team", "Win rate", "39.00%", "402", "412"]
    assert view.tests.rows[0][0].badge.word == "flagged"
    assert [row[4].text for row in view.tests.rows[1:]] == ["3.20", "1.70", "0.31", "under 0.01", "under 0.01"]
    assert view.notes == (
        "6 combinations of slice and criterion tested, on slices of at least 200 pairs: 1 flagged. Of what is flagged, "
        "at most 10% are expected to be false alarms.",
        "2 slices are too small for a test.",
        "No slice could be tested on: 95th percentile latency, ratio, Similarity, from the noise floor.",
        "Intervals in the tables by attribute are for one look at one slice, and corrected for nothing.",
    )


def test_a_slice_says_when_it_is_too_small_and_when_it_is_flagged():
    plan, _ = slices_of(factory.full(), factory.thorough()).tables
    assert [(row[0].text, row[0].sub) for row in plan.rows] == [
        ("team", ""), ("enterprise", "too small for a test"), ("free", ""), ("trial", "too small for a rate"),
    ]  # fmt: skip
    assert plan.rows[0][2].badge.word == "flagged"
    assert plan.rows[1][2].badge is None, "a slice that was not tested is not flagged by its own interval"


def test_one_look_gives_adjusted_p_values():
    candidate = factory.thorough()
    decision = replace(candidate.decision, terms=rich.terms(looks="one"))
    tests = (replace(rich.slice_tests()[0], evidence=0.2), replace(rich.slice_tests()[1], evidence=0.00001))
    view = slices_of(factory.full(), replace(candidate, decision=decision, slice_tests=tests))
    assert view.tests.columns[4].title == "Adjusted p"
    assert [row[4].text for row in view.tests.rows] == ["under 0.0001", "0.2000"]
    assert "share of false alarms" in view.tests.note


def test_many_tests_are_cut_and_none_that_is_flagged():
    [first, *_] = rich.slice_tests()
    many = tuple(replace(first, value=f"v{i}", flagged=i < 45, evidence=1e9 if i < 45 else 0.5) for i in range(60))
    view = slices_of(factory.full(), factory.thorough(slice_tests=many))
    assert len(view.tests.rows) == 45
    assert view.tests.rows[0][4].text == "over 10,000"
    assert "15 more tests are in report.json, none of them flagged." in view.tests.note


def test_without_a_slice_that_is_large_enough_nothing_was_tested():
    view = slices_of(
        factory.full(), factory.thorough(slice_tests=(), slice_plan=SlicePlan(min_pairs=5000, false_discoveries=0.1))
    )
    assert view.tests is None
    assert view.notes[0].startswith("No slice of at least 5,000 pairs was there to be tested")


def test_the_month_follows_the_bounds_that_decide():
    decided = rich.at_any_look("cost_per_1k", 0.61, 0.5, 0.7)
    candidate = factory.thorough()
    cost = replace(candidate.decision.results[0].criterion, metric="cost_per_1k")
    result = replace(candidate.decision.results[0], criterion=cost, estimate=decided, strict=None)
    decision = replace(candidate.decision, results=(result,))
    note = cost_of(factory.full(), replace(candidate, decision=decision), "c1").facts[0].note
    assert note == "$625.00 to $875.00, production $5,150"
    assert cost_of(factory.full(), candidate, "c1").facts[0].note == "$725.00 to $800.00, production $5,150"


def test_every_metric_of_the_decision_layer_has_a_title():
    assert {item.metric for item in rich.estimates()} <= set(METRICS)


def test_the_exact_sign_test_stands_beside_the_rate_where_it_was_made():
    candidate = factory.failing()
    results = tuple(
        replace(item, estimate=replace(item.estimate, extra={"log_e_more_wins": 3.0, "log_e_more_losses": -9.0}),
                strict=None)
        for item in candidate.decision.results
    )  # fmt: skip
    rows = rates(replace(candidate, decision=replace(candidate.decision, results=results)))
    assert rows["As judged"].notes == (
        "exact sign test without ties: e-value 20 for more wins than losses, under 0.01 for fewer",
    )


def test_an_overwhelming_e_value_is_no_number_too_many():
    decided = rich.at_any_look(
        "win_rate", 0.9, 0.8, 0.95, extra={"log_e_more_wins": 9000.0, "log_e_more_losses": -math.inf}
    )
    candidate = factory.failing(estimates=(decided,))
    plain = replace(candidate, decision=replace(candidate.decision, results=()))
    assert (
        rates(plain)["As judged"]
        .notes[0]
        .endswith("e-value over 10,000 for more wins than losses, under 0.01 for fewer")
    )
