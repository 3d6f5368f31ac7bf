import pytest

from harness.decision.policy import decide
from harness.domain.decision import Bound, Criterion, Objection, Outcome, Terms, Verdict
from harness.domain.estimate import Direction, Estimate, Metric, Unit
from harness.errors import ConfigurationError

WIN = Criterion(metric="win_rate", bound=Bound.ABOVE, threshold=0.5)
SIMILAR = Criterion(metric="similarity", bound=Bound.ABOVE, threshold=0.95)
LATENCY = Criterion(metric="latency_p95_ratio", bound=Bound.BELOW, threshold=1.2)


def item(metric: str, low: float, value: float, high: float) -> Estimate:
    return Estimate(metric=metric, value=value, low=low, high=high, n=400, n_clusters=400)


GOOD = {"win_rate": item("win_rate", 0.52, 0.55, 0.58), "similarity": item("similarity", 0.96, 0.97, 0.98)}
BAD = {"win_rate": item("win_rate", 0.42, 0.45, 0.48)}
OPEN = {"win_rate": item("win_rate", 0.48, 0.52, 0.56)}
COUNT = {"coverage": Estimate(metric="coverage", value=812.0, n=812, method="count")}


def test_go_when_all_required_criteria_pass():
    decision = decide("mini", GOOD | COUNT, [WIN, SIMILAR])
    assert decision.verdict is Verdict.GO
    assert decision.sentence == "mini may take over: it meets all 2 required criteria on 812 compared pairs."
    assert (decision.n_needed, decision.binding) == (None, None)


def test_no_go_when_any_required_criterion_fails_whatever_else_is_open():
    decision = decide("mini", GOOD | BAD | COUNT, [SIMILAR, LATENCY, WIN])
    assert decision.verdict is Verdict.NO_GO
    assert decision.sentence == (
        "mini should not take over: it fails 1 of 3 required criteria on 812 compared pairs (Win rate above 50%)."
    )
    assert [reason.split(" ")[0] for reason in decision.reasons] == ["Win", "95th", "Similarity"]
    assert decision.n_needed is None


def test_inconclusive_names_what_is_open_and_how_many_pairs_it_needs():
    decision = decide("mini", GOOD | OPEN, [WIN, SIMILAR])
    assert decision.verdict is Verdict.INCONCLUSIVE
    assert (decision.n_needed, decision.binding) == (1600, "win_rate")
    assert decision.sentence == (
        "mini cannot be decided yet: 1 of 2 required criteria is not settled (Win rate above 50%); "
        "about 1,600 pairs in all would probably settle it."
    )


def test_the_binding_criterion_needs_most():
    coverage = Criterion(metric="coverage", bound=Bound.ABOVE, threshold=10_000)
    decision = decide("mini", OPEN | COUNT, [WIN, coverage])
    assert (decision.n_needed, decision.binding) == (10_001, "coverage")
    assert decision.sentence.endswith("about 10,001 pairs in all would probably settle them.")
    assert decision.reasons[0].startswith("Pairs compared")


def test_missing_data_is_never_go_and_has_no_projection():
    decision = decide("mini", OPEN, [WIN, SIMILAR])
    assert decision.verdict is Verdict.INCONCLUSIVE
    assert (decision.n_needed, decision.binding) == (None, "similarity")
    assert decision.reasons[0] == "Similarity could not be measured: no judge of this experiment measures it."


@pytest.mark.parametrize(
    "criteria", [[], [Criterion(metric="win_rate", bound=Bound.ABOVE, threshold=0.5, required=False)]]
)
def test_without_a_required_criterion_nothing_is_decided(criteria):
    decision = decide("mini", GOOD, criteria)
    assert decision.verdict is Verdict.INCONCLUSIVE
    assert decision.sentence == "mini cannot be decided: no required criterion is set."
    assert decision.reasons[0] == "No required criterion is set, so nothing can be decided."
    assert len(decision.reasons) == 1 + len(criteria)


def test_an_advisory_criterion_is_shown_and_never_decides():
    advisory = Criterion(metric="win_rate", bound=Bound.ABOVE, threshold=0.5, required=False)
    decision = decide("mini", GOOD | BAD, [advisory, SIMILAR])
    assert decision.verdict is Verdict.GO
    assert decision.reasons[-1].startswith("Advisory: Win rate is 45.00%")
    assert decision.sentence == "mini may take over: it meets the required criterion."


def test_one_required_criterion_reads_well():
    assert decide("mini", BAD, [WIN]).sentence == (
        "mini should not take over: it fails the required criterion (Win rate above 50%)."
    )
    assert decide("mini", OPEN, [WIN]).sentence.startswith(
        "mini cannot be decided yet: the required criterion is not settled"
    )


def test_an_unknown_metric_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match="unknown metric 'charm'"):
        decide("mini", GOOD, [Criterion(metric="charm", bound=Bound.ABOVE, threshold=0.5)])


def test_metrics_of_third_parties_are_described_by_the_caller():
    tone = Metric(name="tone", title="Tone", unit=Unit.SHARE, direction=Direction.HIGHER_IS_BETTER)
    criterion = Criterion(metric="tone", bound=Bound.ABOVE, threshold=0.5)
    decision = decide("mini", {"tone": item("tone", 0.6, 0.7, 0.8)}, [criterion], metrics={"tone": tone})
    assert decision.reasons == ("Tone is 70.00%, above 60.00% with 97.5% confidence: above 50% as required.",)
    undescribed = decide("mini", {"tone": item("tone", 0.6, 0.7, 0.8)}, [criterion])
    assert undescribed.verdict is Verdict.GO


def test_an_identical_model_is_not_go_under_strict_rules():
    # No pair is discordant and every score is a tie: superiority is not shown, and that is not a failure either.
    import numpy as np

    from harness.stats import means, proportions

    nothing, rows = np.zeros(1000, dtype=bool), np.arange(1000)
    same = {
        "win_rate": means.mean_with_failures(np.full(1000, 0.5), nothing, rows, metric="win_rate"),
        "error_rate_difference": proportions.paired_difference(nothing, nothing, rows, metric="error_rate_difference"),
    }
    errors = Criterion(metric="error_rate_difference", bound=Bound.BELOW, threshold=0.0)
    assert decide("same", same, [WIN, errors]).verdict is Verdict.INCONCLUSIVE
    margin = [
        Criterion(metric="win_rate", bound=Bound.ABOVE, threshold=0.48),
        Criterion(metric="error_rate_difference", bound=Bound.BELOW, threshold=0.005),
    ]
    assert decide("same", same, margin).verdict is Verdict.GO


def objection(kind: str, *, metric: str | None = None) -> Objection:
    return Objection(kind=kind, sentence=f"1 {kind} speaks against it.", remedy=f"Mend the {kind}.", metric=metric)


def test_an_objection_to_the_whole_keeps_a_go_back():
    decision = decide("mini", GOOD | COUNT, [WIN, SIMILAR], objections=[objection("slice")])
    assert decision.verdict is Verdict.INCONCLUSIVE
    assert decision.objections == (objection("slice"),)
    assert decision.reasons[0] == "1 slice speaks against it. Mend the slice."
    assert decision.sentence == (
        "mini cannot be decided yet: it meets all 2 required criteria on 812 compared pairs, but "
        "1 slice speaks against it."
    )
    assert (decision.n_needed, decision.binding) == (None, None)


def test_an_objection_does_not_save_a_candidate_that_fails():
    decision = decide("mini", GOOD | BAD, [WIN, SIMILAR], objections=[objection("slice")])
    assert decision.verdict is Verdict.NO_GO
    assert [reason.split(" ")[0] for reason in decision.reasons] == ["Win", "1", "Similarity"]


def test_an_objection_to_one_criterion_holds_that_one_alone():
    held = [objection("judge", metric="win_rate"), objection("length", metric="win_rate")]
    decision = decide("mini", GOOD, [WIN, SIMILAR], objections=held)
    assert [result.outcome for result in decision.results] == [Outcome.INCONCLUSIVE, Outcome.PASS]
    assert (decision.verdict, decision.binding, decision.objections) == (Verdict.INCONCLUSIVE, "win_rate", ())
    assert decision.results[0].objection == held[0], "the first one said counts"
    assert decide("mini", GOOD, [SIMILAR], objections=held).verdict is Verdict.GO
    assert decide("mini", BAD, [WIN], objections=held).verdict is Verdict.INCONCLUSIVE


def test_an_advisory_criterion_with_an_objection_still_never_decides():
    advisory = Criterion(metric="win_rate", bound=Bound.ABOVE, threshold=0.5, required=False)
    held = [objection("judge", metric="win_rate")]
    assert decide("mini", GOOD, [advisory, SIMILAR], objections=held).verdict is Verdict.GO


def test_what_production_does_not_reach_is_inconclusive_and_comes_before_what_is_open():
    floor = {"similarity": item("similarity", 0.88, 0.9, 0.92)}
    below = {"similarity": item("similarity", 0.85, 0.87, 0.89)}
    decision = decide("mini", OPEN | below, [WIN, SIMILAR], floor=floor)
    assert decision.verdict is Verdict.INCONCLUSIVE
    assert [result.outcome for result in decision.results] == [Outcome.INCONCLUSIVE, Outcome.UNATTAINABLE]
    assert decision.reasons[0].startswith("Similarity is 0.870, but production itself does not reach above 0.95")
    assert (decision.n_needed, decision.binding) == (None, "similarity")
    assert decide("mini", OPEN | below, [WIN, SIMILAR]).verdict is Verdict.NO_GO


def test_a_fail_needs_the_strict_bounds():
    wide = {"win_rate": item("win_rate", 0.40, 0.45, 0.50)}
    just = {"win_rate": item("win_rate", 0.43, 0.45, 0.47)}
    assert decide("mini", just, [WIN], strict={"win_rate": item("win_rate", 0.39, 0.45, 0.51)}).verdict is (
        Verdict.INCONCLUSIVE
    )
    assert decide("mini", just, [WIN], strict=wide).verdict is Verdict.NO_GO


def test_the_terms_stay_with_the_decision():
    terms = Terms(profile="superiority", looks="any", alpha=0.05)
    assert decide("mini", GOOD, [WIN], terms=terms).terms is terms
