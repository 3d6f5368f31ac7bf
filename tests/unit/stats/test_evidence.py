import numpy as np
import pytest

from harness.stats.evidence import ScoreColumn

NAN = float("nan")


def column(production_first, candidate_first, tied=None) -> ScoreColumn:
    both = np.array([production_first, candidate_first], dtype=float)
    known = np.isfinite(both).sum(axis=0)
    mean = np.divide(np.nansum(both, axis=0), known, out=np.full(both.shape[1], NAN), where=known > 0)
    return ScoreColumn(
        metric="win_rate",
        value=mean,
        missing_order=known == 1,
        production_first=both[0],
        candidate_first=both[1],
        tied=None if tied is None else np.array(tied),
    )


def test_probabilities_come_to_the_side_they_lean_to_and_words_stay():
    found = column([0.02, 0.98, 0.5, 1.0, NAN, 0.4], [0.97, 0.01, 0.5, 0.5, NAN, NAN]).as_verdicts().value
    np.testing.assert_array_equal(found, [0.0, 0.0, 0.5, 0.75, NAN, 0.0])


def test_a_tie_in_every_order_is_a_tie_whichever_way_the_rest_leans():
    found = column([0.52, 0.52], [0.51, 0.51], tied=[True, False]).as_verdicts()
    assert found.value.tolist() == [0.5, 1.0]
    assert found.take(np.array([1])).tied.tolist() == [False]


def test_a_candidate_that_is_worse_on_every_pair_by_a_hair_loses_every_pair():
    shares = column([0.01] * 50, [0.97] * 50)
    assert shares.value.mean() == pytest.approx(0.49)
    assert shares.as_verdicts().value.mean() == 0.0


def test_scores_without_an_order_stay_as_they_are():
    recorded = ScoreColumn.unordered("win_rate", np.array([0.03, 0.9, NAN]))
    np.testing.assert_array_equal(recorded.as_verdicts().value, [0.03, 0.9, NAN])
