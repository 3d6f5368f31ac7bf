import numpy as np

from harness.pipeline.side_by_side import Pick, pick

NAN = float("nan")
IDS = [f"e{i}" for i in range(6)]


def picked(scores, *, failed=None, wanted=1, arms=("a", "b", "c"), ids=IDS):
    scores = np.array(scores, dtype=np.float64)
    failed = np.zeros(scores.shape, dtype=bool) if failed is None else np.array(failed, dtype=bool)
    return [(ids[item.row], item.why, item.about) for item in pick(arms, scores, failed, ids, wanted=wanted)]


def test_where_they_differ_then_each_ones_worst_and_best_then_where_all_failed():
    found = picked(
        [
            [1.0, 0.0, 0.5, 0.5, 0.6, NAN],
            [0.0, 0.5, 1.0, 0.5, 0.5, NAN],
            [0.5, 0.6, 0.5, 0.5, 0.4, NAN],
        ],
        failed=[[False] * 5 + [True]] * 3,
    )
    assert found == [
        ("e0", "disagree", ""),
        ("e1", "worst", "a"),
        ("e2", "worst", "c"),
        ("e4", "best", "a"),
        ("e5", "all_failed", ""),
    ]


def test_nobody_is_ahead_or_behind_where_all_score_the_same():
    assert picked([[0.5] * 6] * 3, wanted=5) == []


def test_equal_requests_are_taken_in_the_order_of_their_ids_whatever_their_rows():
    scores = [[1.0] * 4, [0.0] * 4]
    ids = ["d", "b", "a", "c"]
    found = picked(scores, wanted=2, arms=("x", "y"), ids=ids)
    assert [id for id, why, _ in found if why == "disagree"] == ["a", "b"]
    # What is left: the worst of the one that loses, the best of the one that wins; none is shown twice.
    assert found[2:] == [("c", "worst", "y"), ("d", "best", "x")]


def test_a_score_alone_is_compared_with_nobody():
    assert picked([[1.0, NAN], [NAN, 0.0]], arms=("x", "y"), ids=["a", "b"]) == []


def test_the_pick_stays_bounded_with_many_candidates():
    rng = np.random.default_rng(1)
    arms = [f"arm-{i}" for i in range(12)]
    ids = [f"e{i:04}" for i in range(500)]
    found = pick(arms, rng.random((12, 500)), np.zeros((12, 500), dtype=bool), ids, wanted=200)
    assert len(found) == 3 + 2 * 12
    assert {item.about for item in found if item.why == "worst"} == set(arms)
    assert len({item.row for item in found}) == len(found)


def test_without_scores_only_common_failures_are_shown():
    failed = np.array([[True, True, False], [True, False, True]])
    found = pick(("x", "y"), np.full((2, 3), NAN), failed, ["a", "b", "c"], wanted=5)
    assert found == [Pick(row=0, why="all_failed")]
