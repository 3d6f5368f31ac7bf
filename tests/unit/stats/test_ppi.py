import math

import numpy as np
import pytest

from harness.stats import means, ppi

NAN = float("nan")


def draw(rng, n, labels, *, sensitivity=0.8, specificity=0.8, rate=0.5):
    """People's labels on some rows only, the judge's verdicts, and people's on all."""
    truth = (rng.random(n) < rate).astype(float)
    judge = np.where(truth == 1, rng.random(n) < sensitivity, rng.random(n) >= specificity).astype(float)
    people = np.full(n, NAN)
    chosen = rng.choice(n, labels, replace=False)
    people[chosen] = truth[chosen]
    return people, judge, truth


def test_the_estimate_by_hand():
    people, judge, _ = draw(np.random.default_rng(0), 2000, 150)
    labelled = np.isfinite(people)
    y, f, u = people[labelled], judge[labelled], judge[~labelled]
    lam = np.cov(y, f, ddof=0)[0, 1] / ((1 + 150 / 1850) * np.var(judge))
    found = ppi.ppi_mean(people, judge, np.arange(2000))
    assert found.extra["lambda"] == pytest.approx(lam)
    assert found.value == pytest.approx(np.mean(y - lam * f) + lam * np.mean(u))
    error = math.sqrt(np.var(y - lam * f, ddof=1) / 150 + lam**2 * np.var(u, ddof=1) / 1850)
    assert found.std_error == pytest.approx(error)
    assert found.high - found.value == pytest.approx(1.959964 * error)
    rho = np.corrcoef(y, f)[0, 1]
    assert found.extra["effective_labels"] == pytest.approx(150 * 2000 / (150 + (1 - rho**2) * 1850))
    assert (found.extra["labels_only"], found.extra["judge_only"]) == (
        pytest.approx(y.mean()),
        pytest.approx(judge.mean()),
    )
    assert (found.n, found.extra["n_labels"], found.method, found.notes) == (2000, 150, "ppi", ())


def test_below_a_hundred_labels_the_quantile_is_that_of_t():
    people, judge, _ = draw(np.random.default_rng(1), 1000, 60)
    found = ppi.ppi_mean(people, judge, np.arange(1000))
    assert (found.high - found.value) / found.std_error == pytest.approx(2.000995, abs=1e-5)


def test_few_labels_are_said_to_be_few():
    people, judge, _ = draw(np.random.default_rng(2), 1000, 49)
    assert ppi.ppi_mean(people, judge, np.arange(1000)).notes == ("fewer than 50 labels",)


def test_a_useless_judge_leaves_the_labels_alone():
    # ppi_py's forest example in small: a judge of no correlation would widen the interval if it were not tuned away.
    rng = np.random.default_rng(3)
    people, _, _ = draw(rng, 1596, 90)
    labelled = np.isfinite(people)
    judge = rng.random(1596)
    judge[labelled] -= 0.3 * people[labelled]
    found = ppi.ppi_mean(people, judge, np.arange(1596), level=0.9)
    alone = means.mean(people, np.arange(1596), level=0.9, bounds=(0.0, 1.0))
    assert (found.extra["lambda"], found.extra["effective_labels"]) == (0.0, 90)
    assert (found.value, found.low, found.high) == pytest.approx((alone.value, alone.low, alone.high))


@pytest.mark.parametrize("judge", [np.full(300, 0.5), np.where(np.arange(300) < 80, 1.0, NAN)])
def test_a_constant_judge_or_no_unlabelled_row_leaves_the_labels_alone(judge):
    people = np.where(np.arange(300) < 80, (np.arange(300) % 3 == 0).astype(float), NAN)
    found = ppi.ppi_mean(people, judge, np.arange(300))
    alone = means.mean(people, np.arange(300), bounds=(0.0, 1.0))
    assert (found.value, found.low, found.high) == pytest.approx((alone.value, alone.low, alone.high))
    assert found.extra["lambda"] == 0.0


def test_a_good_judge_narrows_the_interval_by_what_theory_says():
    people, judge, _ = draw(np.random.default_rng(4), 10_000, 300)
    found = ppi.ppi_mean(people, judge, np.arange(10_000))
    alone = means.mean(people, np.arange(10_000))
    expected = math.sqrt(alone.n / found.extra["effective_labels"])
    assert (found.high - found.low) / (alone.high - alone.low) == pytest.approx(expected, rel=0.03)


def test_unanimous_labels_and_a_judge_that_was_never_seen_to_err_keep_a_width():
    unanimous = np.where(np.arange(500) < 60, 1.0, NAN)
    found = ppi.ppi_mean(unanimous, np.ones(500), np.arange(500))
    assert found.low == pytest.approx(means.mean(unanimous, np.arange(500), bounds=(0.0, 1.0)).low)
    judge = np.tile([0.0, 1.0], 250)
    unerring = ppi.ppi_mean(np.where(np.arange(500) < 60, judge, NAN), judge, np.arange(500))
    assert unerring.high - unerring.low > 2 * (1 - 0.025 ** (1 / 60)) * unerring.extra["lambda"]
    assert unerring.method == "ppi+exact"
    assert "effective_labels" not in unerring.extra


def test_a_correction_that_overshoots_ends_at_the_bound():
    # 58 of 60 labels are wins where the judge gave 54; among the rows nobody labelled it gave nothing but wins.
    judge = np.ones(1000)
    judge[:6] = 0.0
    people = np.where(np.arange(1000) < 60, 1.0, NAN)
    people[:2] = 0.0
    found = ppi.ppi_mean(people, judge, np.arange(1000))
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low < 1


def test_labels_of_whole_conversations_widen_the_interval():
    rng = np.random.default_rng(5)
    clusters = np.repeat(np.arange(400), 5)
    truth = (rng.random(2000) < np.repeat(rng.beta(1, 1, 400), 5)).astype(float)
    judge = np.where(rng.random(2000) < 0.8, truth, 1 - truth)
    people = np.where(clusters < 60, truth, NAN)
    single, clustered = ppi.ppi_mean(people, judge, np.arange(2000)), ppi.ppi_mean(people, judge, clusters)
    assert clustered.value == single.value
    assert clustered.std_error > 1.2 * single.std_error


def test_the_same_chance_for_all_is_the_unweighted_estimate():
    people, judge, _ = draw(np.random.default_rng(6), 3000, 200, specificity=0.6)
    plain = ppi.ppi_mean(people, judge, np.arange(3000))
    weighted = ppi.ppi_mean(people, judge, np.arange(3000), propensity=np.full(3000, 200 / 3000))
    assert weighted.value == pytest.approx(plain.value, abs=2e-3)
    assert weighted.std_error == pytest.approx(plain.std_error, rel=0.02)
    assert weighted.method == "ppi-weighted"


def test_weights_undo_a_design_that_asks_people_about_the_judges_wins():
    rng = np.random.default_rng(7)
    truth = (rng.random(20_000) < 0.5).astype(float)
    judge = np.where(rng.random(20_000) < 0.7, truth, 1 - truth)
    chance = np.where(judge == 1, 0.2, 0.05)
    people = np.where(rng.random(20_000) < chance, truth, NAN)
    rows = np.arange(20_000)
    weighted = ppi.ppi_mean(people, judge, rows, propensity=chance)
    assert weighted.low < 0.5 < weighted.high
    assert weighted.extra["labels_only"] == pytest.approx(0.5, abs=0.04)
    assert np.nanmean(people) > 0.58
    bias = ppi.rectifier(people, judge, rows, propensity=chance)
    assert bias.low < 0 < bias.high
    assert bias.method == "rectifier-weighted"


def test_a_chance_of_zero_is_refused():
    people, judge = np.array([1.0, NAN, 0.0]), np.array([1.0, 1.0, 0.0])
    for chance in (0.0, 1.5, NAN):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            ppi.ppi_mean(people, judge, np.arange(3), propensity=np.array([0.5, 0.5, chance]))
    unlabelled_is_not_read = ppi.ppi_mean(people, judge, np.arange(3), propensity=np.array([0.5, NAN, 0.5]))
    assert unlabelled_is_not_read.value is not None


def test_the_multiplier_replaces_the_quantile():
    people, judge, _ = draw(np.random.default_rng(8), 2000, 150)
    fixed = ppi.ppi_mean(people, judge, np.arange(2000), multiplier=3.0)
    assert (fixed.high - fixed.value) / fixed.std_error == pytest.approx(3.0)
    asked = []
    found = ppi.rectifier(people, judge, np.arange(2000), multiplier=lambda n: asked.append(n) or 2.8)
    assert (found.high - found.value) / found.std_error == pytest.approx(2.8)
    assert asked == [150.0]


def test_a_stricter_multiplier_also_widens_what_was_not_seen():
    unanimous = np.where(np.arange(500) < 60, 1.0, NAN)
    usual, strict = (ppi.ppi_mean(unanimous, np.ones(500), np.arange(500), multiplier=m) for m in (1.959964, 3.0))
    assert usual.low == pytest.approx(ppi.ppi_mean(unanimous, np.ones(500), np.arange(500)).low)
    assert strict.low < usual.low


def test_rectifier_is_the_paired_difference_and_names_both_sides():
    people, judge, _ = draw(np.random.default_rng(9), 500, 90, sensitivity=0.9, specificity=0.6)
    found = ppi.rectifier(people, judge, np.arange(500))
    paired = means.paired_difference(people, judge, np.arange(500), bounds=(-1.0, 1.0))
    assert (found.value, found.low, found.high) == pytest.approx((paired.value, paired.low, paired.high))
    assert (found.extra["people"], found.extra["judge"]) == (paired.candidate, paired.production)
    assert found.high < 0


def test_without_labels_there_is_no_value():
    for estimator in (ppi.ppi_mean, ppi.rectifier):
        found = estimator(np.full(3, NAN), np.ones(3), np.arange(3))
        assert (found.value, found.notes) == (None, ("no scored row is labelled by people",))
        assert estimator(np.array([1.0]), np.array([NAN]), np.arange(1)).n_missing == 1


def test_one_label_has_no_interval():
    for estimator in (ppi.ppi_mean, ppi.rectifier):
        found = estimator(np.array([1.0, NAN, NAN]), np.array([1.0, 0.0, 1.0]), np.arange(3))
        assert found.value is not None
        assert (found.low, found.high, found.notes[-1]) == (None, None, "one labelled cluster has no interval")


def naive_outcomes(people, judge, chance, start=0.5):
    """The definition, row after row."""
    made = []
    for i in range(len(people)):
        past = [j for j in range(i) if not math.isnan(people[j])]
        total = sum(1 / chance[j] for j in past)
        guess = (start + sum(people[j] / chance[j] for j in past)) / (1 + total)
        both = [j for j in past if not math.isnan(judge[j])]
        scores = [judge[j] for j in range(i) if not math.isnan(judge[j])]
        if both and scores and not math.isnan(judge[i]):
            weights = [1 / chance[j] for j in both]
            y, f = (np.array([column[j] for j in both]) for column in (people, judge))
            covariance = np.atleast_2d(np.cov(np.vstack([y, f]), aweights=weights, ddof=0))
            if covariance[1, 1] > 1e-12:
                slope = min(max(covariance[0, 1] / covariance[1, 1], 0.0), 1.0)
                guess += slope * (judge[i] - np.mean(scores))
        made.append(guess if math.isnan(people[i]) else guess + (people[i] - guess) / chance[i])
    return np.array(made)


@pytest.mark.parametrize("sensitivity", [0.8, 0.1])  # a judge that is usually wrong helps no guess
def test_pseudo_outcomes_against_the_definition(sensitivity):
    rng = np.random.default_rng(10)
    people, judge, _ = draw(rng, 200, 40, sensitivity=sensitivity, specificity=sensitivity)
    judge[[3, 50, 51]] = NAN
    chance = rng.uniform(0.1, 0.9, 200)
    assert ppi.pseudo_outcomes(people, judge, chance) == pytest.approx(naive_outcomes(people, judge, chance))


def test_pseudo_outcomes_never_look_ahead():
    people, judge, _ = draw(np.random.default_rng(11), 300, 60)
    chance = np.full(300, 0.2)
    whole = ppi.pseudo_outcomes(people, judge, chance)
    assert ppi.pseudo_outcomes(people[:170], judge[:170], chance[:170]).tolist() == whole[:170].tolist()
    assert ppi.pseudo_outcomes(people[:0], judge[:0], chance[:0]).size == 0


def test_the_mean_of_pseudo_outcomes_is_peoples_whatever_the_judge_does():
    rng = np.random.default_rng(12)
    found = []
    for _ in range(200):
        truth = (rng.random(1500) < 0.4).astype(float)
        judge = np.where(rng.random(1500) < 0.3, 1.0, truth)
        chance = np.where(judge == 1, 0.3, 0.1)
        people = np.where(rng.random(1500) < chance, truth, NAN)
        found.append(ppi.pseudo_outcomes(people, judge, chance).mean())
    assert np.mean(found) == pytest.approx(0.4, abs=3.5 * np.std(found) / math.sqrt(200))


@pytest.mark.parametrize(
    ("correlation", "costs", "goal", "labels", "others", "effective", "cost"),
    [  # ppi_py's notebook on power, and its function for the rest
        (0.9, (1, 0.1, 0), {"budget": 1000}, 605, 3345, 1926, 1000.0),
        (0.9, (1, 0.1, 0), {"effective_labels": 3000}, 942, 5210, 3000, 1557.2),
        (0.6, (1, 0.001, 0), {"budget": 300}, 293, 6657, 447, 299.95),
        (0.8, (1, 0.1, 0.05), {"budget": 500}, 330, 805, 604, 500.25),
        (0.8, (2, 0.1, 0.05), {"effective_labels": 700}, 344, 1331, 700, 939.25),
        (0.3, (1, 0.5, 0), {"budget": 300}, 300, 0, 300, 300.0),  # the judge does not pay for itself
        (0.3, (1, 0.5, 0), {"effective_labels": 250}, 250, 0, 250, 250.0),
        (0.0, (1, 0.1, 0), {"budget": 300}, 300, 0, 300, 300.0),  # nor is it paid, unlike in ppi_py
    ],
)
def test_power_reference(correlation, costs, goal, labels, others, effective, cost):
    label, judge, row = costs
    plan = ppi.power(correlation, cost_label=label, cost_judge=judge, cost_row=row, **goal)
    assert (plan.n_labels, plan.n_judged_only, plan.effective_labels) == (labels, others, effective)
    assert plan.cost == pytest.approx(cost)


def test_power_refuses_what_has_no_answer():
    with pytest.raises(ValueError, match="strictly between"):
        ppi.power(1.0, cost_label=1, cost_judge=0.1, budget=10)
    for goals in ({}, {"budget": 10, "effective_labels": 10}):
        with pytest.raises(ValueError, match="either a budget or"):
            ppi.power(0.5, cost_label=1, cost_judge=0.1, **goals)
