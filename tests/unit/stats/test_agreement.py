import math

import numpy as np
import pytest

from harness.stats import agreement, proportions
from harness.stats.agreement import MENU, Weights

NAN = float("nan")


def columns(table: list[list[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Judge, people and single clusters that give ``table``: people's label by row, the judge's by column."""
    counts = np.array(table)
    people, judge = (np.repeat(x.ravel(), counts.ravel()).astype(float) for x in np.indices(counts.shape))
    return judge, people, np.arange(counts.sum())


FLEISS = [[75, 1, 4], [5, 4, 1], [0, 0, 10]]  # Fleiss, Levin and Paik, Statistical Methods for Rates and Proportions
EVERITT = [[106, 10, 4], [22, 28, 10], [2, 12, 6]]  # Fleiss, Cohen and Everitt 1969


@pytest.mark.parametrize(
    ("table", "weights", "value", "error"),
    [
        ([[20, 5], [10, 15]], Weights.NONE, 0.4, 0.1270),
        ([[45, 15], [25, 15]], Weights.NONE, 0.1304, 0.0987),
        ([[25, 35], [5, 35]], Weights.NONE, 0.2593, 0.0772),
        (FLEISS, Weights.NONE, 0.6765, 0.0877),
        (FLEISS, Weights.LINEAR, 0.7222, 0.0843),
        (EVERITT, Weights.NONE, 0.4286, 0.0537),
        (EVERITT, Weights.LINEAR, 0.4923, 0.0507),
    ],
)
def test_kappa_and_its_published_standard_error(table, weights, value, error):
    first, second, rows = columns(table)
    found = agreement.kappa(first, second, rows, weights=weights)
    n = len(rows)
    assert found.value == pytest.approx(value, abs=5e-5)
    assert found.std_error * math.sqrt((n - 1) / n) == pytest.approx(error, abs=5e-5)
    assert found.low < found.value < found.high
    assert found.method == "cohen-kappa"


def test_kappa_against_the_definition():
    rng = np.random.default_rng(0)
    first, second = rng.choice(MENU, (2, 300))
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / 300
    expected = sum((first == x).mean() * (second == x).mean() for x in MENU)
    found = agreement.kappa(first, second, np.arange(300))
    assert found.value == pytest.approx((observed - expected) / (1 - expected))
    assert found.extra == {"observed": pytest.approx(observed), "expected": pytest.approx(expected)}


def test_the_standard_error_of_clustered_kappa_is_what_resampling_conversations_gives():
    rng = np.random.default_rng(1)
    clusters = np.repeat(np.arange(150), 4)
    hard = np.repeat(rng.random(150) < 0.3, 4)
    people = rng.choice(MENU, 600)
    judge = np.where(rng.random(600) < np.where(hard, 0.7, 0.05), rng.choice(MENU, 600), people)
    found = agreement.kappa(judge, people, clusters)
    rows = np.arange(600).reshape(150, 4)
    values = []
    for _ in range(400):
        drawn = rows[rng.integers(0, 150, 150)].ravel()
        values.append(agreement.kappa(judge[drawn], people[drawn], np.arange(600)).value)
    assert found.std_error == pytest.approx(np.std(values, ddof=1), rel=0.1)
    assert found.std_error > 1.2 * agreement.kappa(judge, people, np.arange(600)).std_error


def test_linear_weights_take_distances_from_the_menu_given():
    first, second = np.array([0.0, 0.5, 0.5, 0.0]), np.array([0.5, 0.5, 0.0, 0.0])
    narrow = agreement.kappa(first, second, np.arange(4), weights=Weights.LINEAR)
    wide = agreement.kappa(first, second, np.arange(4), weights=Weights.LINEAR, labels=MENU)
    assert (narrow.extra["observed"], wide.extra["observed"]) == (0.5, 0.75)


def test_perfect_agreement_keeps_a_width():
    labels = np.tile([0.0, 1.0], 25)
    found = agreement.kappa(labels, labels, np.arange(50))
    unseen = 1 - 0.025 ** (1 / 50)
    assert (found.value, found.high, found.method) == (1.0, 1.0, "cohen-kappa+exact")
    assert found.low == pytest.approx(1 - unseen / 0.5)


def test_disagreeing_always_has_a_value_below_zero():
    labels = np.tile([0.0, 1.0], 25)
    found = agreement.kappa(labels, 1 - labels, np.arange(50))
    assert (found.value, found.low) == (-1.0, -1.0)
    assert agreement.accuracy(labels, 1 - labels, np.arange(50)).value == 0.0


@pytest.mark.parametrize(
    ("first", "second", "value", "note"),
    [
        ([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], None, "all labels are the same: kappa is not defined"),
        ([1.0, 1.0, 1.0], [1.0, 0.0, 1.0], 0.0, "one side always gives the same label: kappa is 0 by construction"),
        ([], [], None, "no row is labelled by both"),
        ([NAN, 1.0], [1.0, NAN], None, "no row is labelled by both"),
    ],
)
def test_where_kappa_says_nothing_it_says_why(first, second, value, note):
    found = agreement.kappa(np.array(first), np.array(second), np.arange(len(first)))
    assert (found.value, found.low, found.high, found.notes) == (value, None, None, (note,))


def test_kappa_of_one_conversation_has_no_interval():
    found = agreement.kappa(np.array([0.0, 1, 1]), np.array([0.0, 1, 0]), np.zeros(3, dtype=np.int64))
    assert found.value == pytest.approx(0.4)
    assert (found.low, found.notes) == (None, ("one cluster has no interval",))


def test_accuracy_stands_beside_the_best_constant_answer():
    people = np.array([1.0] * 90 + [0.0] * 10)
    found = agreement.agreement(np.ones(100), people, np.arange(100))
    assert (found.accuracy.value, found.accuracy.extra["baseline"], found.accuracy.extra["baseline_label"]) == (
        0.9,
        0.9,
        1,
    )
    assert (found.accuracy.low, found.accuracy.high) == proportions.wilson(90, 100)
    assert found.kappa.value == 0.0
    assert (found.by_label[1].recall, found.by_label[1].specificity, found.by_label[0].recall) == (1.0, 0.0, 0.0)
    assert found.by_label[0].precision is None
    assert found.notes == ("never given by the judge or by people, counted as 0: label 0",)


def test_macro_scores_against_a_naive_count():
    rng = np.random.default_rng(2)
    judge, people = rng.choice(MENU, (2, 200), p=[0.3, 0.2, 0.5])
    found = agreement.agreement(judge, people, np.arange(200))
    precisions, recalls, f1s = [], [], []
    for label in MENU:
        hits = sum(1 for j, p in zip(judge, people, strict=True) if j == p == label)
        precisions.append(hits / sum(1 for j in judge if j == label))
        recalls.append(hits / sum(1 for p in people if p == label))
        f1s.append(2 * precisions[-1] * recalls[-1] / (precisions[-1] + recalls[-1]))
    assert found.precision == pytest.approx(np.mean(precisions))
    assert found.recall == pytest.approx(np.mean(recalls))
    assert found.f1 == pytest.approx(np.mean(f1s))
    assert found.confusion.sum() == 200
    assert found.confusion[0, 2] == np.sum((people == 0) & (judge == 1))
    assert found.notes == ()


def test_a_reply_off_the_menu_is_wrong_everywhere_and_averaged_nowhere():
    people = np.array([0.0, 0, 1, 1, 2, 2])
    judge = np.array([0.0, -1, 1, 1, 2, -1])
    found = agreement.agreement(judge, people, np.arange(6), menu=(0, 1, 2))
    assert found.labels == (-1, 0, 1, 2)
    assert found.accuracy.value == pytest.approx(4 / 6)
    assert found.precision == 1.0
    assert found.recall == pytest.approx(2 / 3)


def test_missing_labels_are_left_out_and_counted():
    found = agreement.agreement(np.array([1.0, NAN, 0.0]), np.array([1.0, 1.0, NAN]), np.arange(3), menu=MENU)
    assert (found.accuracy.value, found.accuracy.n, found.accuracy.n_missing, found.kappa.n_missing) == (1.0, 1, 2, 2)


def test_nothing_labelled_gives_no_numbers():
    found = agreement.agreement(np.array([NAN]), np.array([1.0]), np.arange(1), menu=MENU)
    assert (found.accuracy.value, found.kappa.value, found.precision, found.recall, found.f1) == (None,) * 5
    assert found.accuracy.notes == ("no row is labelled by both",)
    assert found.by_label[0].specificity is None
    assert agreement.agreement(np.array([NAN]), np.array([1.0]), np.arange(1)).precision is None


def test_confusion_refuses_a_label_it_was_not_told_of():
    with pytest.raises(ValueError, match=r"label 2 is not among 0, 0\.5, 1"):
        agreement.confusion(np.array([2.0]), np.array([1.0]), labels=MENU)


def test_a_judge_that_takes_the_first_answer_is_caught():
    first, second = np.ones(60), np.zeros(60)
    found = agreement.orders(first, second, np.arange(60), people=np.tile([0.0, 1.0], 30))
    assert (found.consistency.value, found.first_pick.value, found.position_effect.value) == (0.0, 1.0, 1.0)
    assert found.first_pick.low > 0.9
    assert found.position_effect.low > 0.8
    assert [item.value for item in found.correct] == [0.5, 0.5, 0.0]


def test_a_consistent_judge_picks_each_position_equally_often():
    scores = np.random.default_rng(3).choice(MENU, 80)
    found = agreement.orders(scores, scores, np.arange(80))
    assert (found.consistency.value, found.kappa.value, found.first_pick.value) == (1.0, 1.0, 0.5)
    assert (found.position_effect.value, found.correct) == (0.0, None)
    assert found.first_pick.n == 2 * np.sum(scores != 0.5)
    assert found.first_pick.n_missing == 0


def test_a_lost_verdict_is_missing_in_what_compares_the_orders():
    found = agreement.orders(
        np.array([1.0, NAN, 0.0, 0.5]), np.array([1.0, 1.0, NAN, 0.5]), np.arange(4), people=np.array([1.0, 1, 0, NAN])
    )
    assert (found.consistency.n, found.consistency.n_missing) == (2, 2)
    assert (found.first_pick.n, found.first_pick.n_missing) == (4, 2)
    assert [item.n for item in found.correct] == [2, 2, 1]


def test_majority_needs_a_single_winner():
    ratings = np.array([[1.0, 1, 0], [0, 0.5, 1], [NAN, 1, NAN], [NAN, NAN, NAN], [1, 0, NAN]])
    assert agreement.majority(ratings).tolist() == pytest.approx([1.0, NAN, 1.0, NAN, NAN], nan_ok=True)
    assert np.isnan(agreement.majority(np.full((2, 3), NAN))).all()


def test_kappa_matrix_is_each_pair_of_raters():
    rng = np.random.default_rng(4)
    ratings = rng.choice(MENU, (100, 3))
    ratings[:10, 2] = NAN
    matrix = agreement.kappa_matrix(ratings)
    assert [matrix[i][i] for i in range(3)] == [1.0, 1.0, 1.0]
    assert matrix[0][2] == matrix[2][0] == agreement.kappa(ratings[:, 0], ratings[:, 2], np.arange(100)).value
    constant = agreement.kappa_matrix(np.column_stack([np.ones(5), np.ones(5)]))
    assert constant == ((None, None), (None, None))


def test_effective_votes_of_copies_and_of_strangers():
    rng = np.random.default_rng(5)
    people, one = rng.random((2, 4000))
    copies = agreement.effective_votes(np.column_stack([one] * 5), people)
    assert copies.value == pytest.approx(1.0)
    strangers = agreement.effective_votes(people[:, None] + rng.normal(size=(4000, 5)), people)
    assert strangers.value == pytest.approx(5.0, abs=0.35)


def test_effective_votes_follow_the_mean_correlation():
    rng = np.random.default_rng(6)
    shared = rng.normal(size=(200_000, 1))
    raters = math.sqrt(0.4) * shared + math.sqrt(0.6) * rng.normal(size=(200_000, 9))
    found = agreement.effective_votes(raters)
    assert found.value == pytest.approx(9 / (1 + 8 * 0.4), rel=0.02)
    assert found.extra["mean_correlation"] == pytest.approx(0.4, abs=0.01)


def test_effective_votes_are_at_most_the_raters_and_need_rows():
    opposite = np.column_stack([np.arange(10.0), -np.arange(10.0)])
    assert agreement.effective_votes(opposite).value == 2.0
    assert agreement.effective_votes(np.arange(10.0)[:, None]).value == 1.0
    few = agreement.effective_votes(np.array([[1.0, NAN], [1.0, 0.0]]))
    assert (few.value, few.n_missing, few.notes) == (None, 1, ("fewer than two rows are labelled by everyone",))
    assert agreement.effective_votes(np.ones((5, 2))).notes == ("no rater ever varies",)
