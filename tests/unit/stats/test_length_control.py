import math

import numpy as np
import pytest

from harness.stats import length_control, means, proportions

NAN = float("nan")


def draw(rng, n, *, rate=0.5, slope=1.5, shift=0.2):
    """Scores of a judge that likes length, the candidate's and production's lengths, and single clusters."""
    base = np.exp(6 + 0.5 * rng.normal(size=n))
    longer = base * (shift + 0.5 * rng.normal(size=n))
    spread = longer.std()
    chance = 1 / (1 + np.exp(-(math.log(rate / (1 - rate)) + slope * np.tanh(longer / spread))))
    scores = ((rng.random(n) < chance).astype(float) + (rng.random(n) < chance)) / 2
    return scores, base + longer, base, np.arange(n)


def test_a_judge_that_only_likes_length_is_seen_through():
    found = length_control.length_controlled(*draw(np.random.default_rng(0), 2000, slope=3, shift=0.5))
    assert found.extra["raw_low"] > 0.65
    assert found.low < 0.5 < found.high
    assert found.extra["length_coefficient_low"] < 3 < found.extra["length_coefficient_high"]


def test_without_any_effect_of_length_nothing_is_corrected():
    found = length_control.length_controlled(*draw(np.random.default_rng(1), 4000, rate=0.6, slope=0))
    assert found.value == pytest.approx(found.extra["raw"], abs=0.01)
    assert found.extra["length_coefficient_low"] < 0 < found.extra["length_coefficient_high"]


def test_the_fit_solves_the_score_equations():
    scores, candidate, production, rows = draw(np.random.default_rng(2), 400)
    found = length_control.length_controlled(scores, candidate, production, rows)
    x = np.tanh((candidate - production) / np.std(candidate - production))
    theta = math.log(found.value / (1 - found.value))
    residual = scores - 1 / (1 + np.exp(-(theta + found.extra["length_coefficient"] * x)))
    assert residual.sum() == pytest.approx(0, abs=1e-8)
    assert (residual * x).sum() == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("seed", [335, 700, 1198])
def test_a_few_extreme_lengths_do_not_throw_the_fit_off(seed):
    # Plain Newton steps overshoot on these and never come back.
    rng = np.random.default_rng(seed)
    longer = rng.normal(size=40) * rng.choice([1, 1, 30], 40)
    x = np.tanh(longer / np.std(longer))
    chance = 1 / (1 + np.exp(-(rng.choice([-2, 2, 4]) + x * rng.choice([4, 8, 12]))))
    scores = (rng.random(40) < chance).astype(float)
    found = length_control.length_controlled(scores, 1000 + longer, np.full(40, 1000.0), np.arange(40))
    theta = math.log(found.value / (1 - found.value))
    residual = scores - 1 / (1 + np.exp(-(theta + found.extra["length_coefficient"] * x)))
    assert [residual.sum(), (residual * x).sum()] == pytest.approx([0, 0], abs=1e-6)


@pytest.mark.parametrize("per_conversation", [1, 4])
def test_the_standard_error_is_what_the_bootstrap_gives(per_conversation):
    rng = np.random.default_rng(3)
    conversations = 800 // per_conversation
    scores, candidate, production, _ = draw(rng, 800, rate=0.3, slope=2)
    shared = np.repeat(rng.random(conversations) < 0.3, per_conversation)
    scores = np.where(shared, np.repeat(rng.random(conversations) < 0.3, per_conversation), scores).astype(float)
    clusters = np.repeat(np.arange(conversations), per_conversation)
    found = length_control.length_controlled(scores, candidate, production, clusters)
    rows = np.arange(800).reshape(conversations, per_conversation)
    values = []
    for _ in range(300):
        drawn = rows[rng.integers(0, conversations, conversations)].ravel()
        resampled = length_control.length_controlled(scores[drawn], candidate[drawn], production[drawn], np.arange(800))
        values.append(resampled.value)
    assert found.std_error == pytest.approx(np.std(values, ddof=1), rel=0.12)


def test_the_standard_error_by_hand():
    scores, candidate, production, _ = draw(np.random.default_rng(13), 24)
    clusters = np.repeat(np.arange(8), 3)
    found = length_control.length_controlled(scores, candidate, production, clusters)
    x = np.column_stack([np.ones(24), np.tanh((candidate - production) / np.std(candidate - production))])
    theta = [math.log(found.value / (1 - found.value)), found.extra["length_coefficient"]]
    mean = 1 / (1 + np.exp(-x @ theta))
    bread = np.linalg.inv(sum(m * (1 - m) * np.outer(row, row) for m, row in zip(mean, x, strict=True)))
    totals = [sum(x[i] * (scores[i] - mean[i]) for i in range(24) if clusters[i] == j) for j in range(8)]
    covariance = 8 / 6 * bread @ sum(np.outer(total, total) for total in totals) @ bread
    assert found.std_error == pytest.approx(found.value * (1 - found.value) * math.sqrt(covariance[0, 0]))


def test_the_interval_is_that_of_the_logit():
    found = length_control.length_controlled(*draw(np.random.default_rng(4), 60, rate=0.9))
    logit = [math.log(x / (1 - x)) for x in (found.low, found.value, found.high)]
    half = 2.0017 * found.std_error / (found.value * (1 - found.value))  # t with 58 degrees of freedom
    assert logit == pytest.approx([logit[1] - half, logit[1], logit[1] + half], abs=1e-3)
    assert found.value - found.low > found.high - found.value


def test_a_style_that_decides_is_taken_out_too():
    rng = np.random.default_rng(5)
    _, candidate, production, rows = draw(rng, 3000)
    bold = rng.uniform(-0.2, 1, 3000)
    scores = (rng.random(3000) < 1 / (1 + np.exp(-3 * bold))).astype(float)
    plain = length_control.length_controlled(scores, candidate, production, rows)
    styled = length_control.length_controlled(scores, candidate, production, rows, style=bold)
    assert plain.low > 0.6
    assert styled.low < 0.5 < styled.high


def test_wins_are_shown_apart_for_longer_and_shorter_answers():
    scores = np.array([1.0, 1, 0.5, 0, 0, 1, 0.5, 1])
    longer = np.array([10.0, 20, 30, 5, -10, -20, -5, 0])
    found = length_control.length_controlled(scores, 100 + longer, np.full(8, 100.0), np.arange(8))
    assert (found.extra["n_longer"], found.extra["win_longer"]) == (4, 0.5)
    assert (found.extra["n_shorter"], found.extra["win_shorter"]) == (3, pytest.approx(1 / 3))


def test_a_candidate_that_is_never_shorter_is_extrapolated_and_says_so():
    scores, candidate, production, rows = draw(np.random.default_rng(6), 300, shift=3)
    found = length_control.length_controlled(scores, candidate, production, rows)
    assert found.notes == (
        "the candidate's answer is hardly ever shorter: the rate at equal length is an extrapolation",
    )
    assert found.high - found.low > 2 * (found.extra["raw_high"] - found.extra["raw_low"])


def test_scores_that_length_predicts_perfectly_have_no_controlled_rate():
    longer = np.linspace(-100, 100, 200)
    found = length_control.length_controlled(
        (longer > 10).astype(float), 500 + longer, np.full(200, 500.0), np.arange(200)
    )
    assert (found.value, found.low, found.high, found.std_error) == (None, None, None, None)
    assert found.notes == ("length or style predict every score, or each other: not to be told apart",)
    assert found.extra["raw"] == pytest.approx(0.45)


def test_a_style_that_copies_length_cannot_be_told_from_it():
    scores, candidate, production, rows = draw(np.random.default_rng(7), 100)
    copy = np.tanh((candidate - production) / np.std(candidate - production))
    assert length_control.length_controlled(scores, candidate, production, rows, style=copy).value is None


def test_a_difference_that_never_varies_cannot_be_controlled():
    scores = np.tile([0.0, 1.0], 20)
    found = length_control.length_controlled(scores, np.full(40, 30.0), np.full(40, 20.0), np.arange(40))
    assert (found.value, found.notes) == (None, ("the difference in length never varies: nothing to control by",))


def test_answers_of_equal_length_leave_the_raw_rate():
    scores = np.tile([0.0, 1.0, 1.0], 20)
    found = length_control.length_controlled(scores, np.full(60, 30.0), np.full(60, 30.0), np.arange(60))
    raw = means.mean(scores, np.arange(60), bounds=(0.0, 1.0))
    assert (found.value, found.low, found.high, found.method) == (raw.value, raw.low, raw.high, raw.method)
    assert found.notes == ("all answers are of equal length",)


def test_equal_scores_are_their_own_value_and_keep_a_width():
    longer = np.random.default_rng(8).normal(size=90)
    found = length_control.length_controlled(np.full(90, 0.5), 100 + longer, np.full(90, 100.0), np.arange(90))
    assert found.value == 0.5
    assert 0.45 < found.low < 0.5 < found.high < 0.55
    assert found.method == "length-controlled+exact"


def test_a_handful_of_losses_is_covered_by_the_exact_bound():
    rng = np.random.default_rng(9)
    _, candidate, production, rows = draw(rng, 400)
    scores = np.ones(400)
    scores[[5, 100, 250]] = 0.0
    found = length_control.length_controlled(scores, candidate, production, rows)
    raw = means.mean(scores, rows, bounds=(0.0, 1.0))
    assert found.low <= raw.low
    assert found.method == "length-controlled+exact"


def test_one_conversation_has_no_interval():
    scores, candidate, production, rows = draw(np.random.default_rng(10), 50)
    found = length_control.length_controlled(scores, candidate, production, np.zeros_like(rows))
    assert found.value is not None
    assert (found.low, found.notes) == (None, ("too few clusters for an interval",))


def test_unknown_scores_and_lengths_are_missing():
    found = length_control.length_controlled(np.array([1.0, NAN]), np.array([NAN, 2.0]), np.ones(2), np.arange(2))
    assert (found.value, found.n_missing, found.method) == (None, 2, "length-controlled")
    scores, candidate, production, rows = draw(np.random.default_rng(11), 100)
    scores[:10], candidate[90:] = NAN, NAN
    found = length_control.length_controlled(scores, candidate, production, rows)
    assert (found.n, found.n_missing) == (80, 20)


def test_as_many_pairs_as_coefficients_fit_exactly_and_tell_nothing():
    found = length_control.length_controlled(np.array([0.25, 0.75]), np.array([0.0, 2.0]), np.ones(2), np.arange(2))
    assert (found.value, found.low) == (pytest.approx(0.5), None)
    assert found.notes[-1] == "too few clusters for an interval"


def test_length_effect_counts_decisive_verdicts_of_unequal_answers():
    scores = np.array([1.0, 1, 0, 0, 0.5, 1, NAN, 0.75])
    longer = np.array([5.0, -5, 5, -5, 5, 0, 5, 5])
    found = length_control.length_effect(scores, 100 + longer, np.full(8, 100.0), np.arange(8))
    assert (found.value, found.n, found.n_missing, found.extra["n_undecided"]) == (0.6, 5, 1, 2)
    assert (found.low, found.high) == proportions.wilson(3, 5)


def test_length_effect_is_the_same_from_either_side():
    scores, candidate, production, rows = draw(np.random.default_rng(12), 300)
    there = length_control.length_effect(scores, candidate, production, rows)
    back = length_control.length_effect(1 - scores, production, candidate, rows)
    assert (there.value, there.low, there.high) == (back.value, back.low, back.high)


def test_length_effect_without_a_decision_has_no_value():
    found = length_control.length_effect(np.full(3, 0.5), np.arange(3.0), np.zeros(3), np.arange(3))
    assert (found.value, found.n_missing, found.extra["n_undecided"]) == (None, 0, 3)
