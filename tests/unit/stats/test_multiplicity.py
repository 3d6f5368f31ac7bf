import math

import numpy as np
import pytest

from harness.stats import multiplicity

NAN = float("nan")

PUBLISHED = np.array([0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719,
                      0.6528, 0.7590, 1.0])  # fmt: skip
"""Benjamini and Hochberg 1995, section 3.2."""


def test_benjamini_hochberg_reference():
    found = multiplicity.benjamini_hochberg(PUBLISHED, q=0.05)
    assert found.p[:5] == pytest.approx([0.0015, 0.0030, 0.0095, 0.035625, 0.0603], abs=1e-6)
    assert found.rejected.sum() == 4


def test_holm_by_hand():
    found = multiplicity.holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert found.p == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert found.rejected.tolist() == [True, False, False, True]
    assert multiplicity.holm(PUBLISHED).rejected.sum() == 3
    assert multiplicity.holm(np.array([0.6, 0.9])).p.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("correct", [multiplicity.benjamini_hochberg, multiplicity.holm])
def test_questions_without_data_do_not_count(correct):
    asked = np.array([0.04, 0.001, 0.3])
    found = correct(np.array([NAN, 0.04, 0.001, NAN, 0.3]))
    assert found.p.tolist() == pytest.approx([NAN, *correct(asked).p[:2], NAN, correct(asked).p[2]], nan_ok=True)
    assert found.rejected.tolist() == [False, *correct(asked).rejected[:2], False, False]
    assert correct(np.array([])).p.size == 0
    assert not correct(np.array([NAN])).rejected.any()


@pytest.mark.parametrize(
    ("e", "rejected"),
    [
        ([40.0, 1, 1, 1], [True, False, False, False]),  # 40 / 4 >= 10
        ([39.0, 1, 1, 1], [False] * 4),
        ([25.0, 20, 1, 1], [True, True, False, False]),  # 2 x 20 / 4 >= 10 although 25 alone is not enough
        ([math.inf, 0, NAN, 19], [True, False, False, True]),  # three questions: 15 is enough for two
        ([], []),
        ([10.0], [True]),
    ],
)
def test_e_values_are_rejected_together(e, rejected):
    assert multiplicity.e_benjamini_hochberg(np.array(e), q=0.1).tolist() == rejected


def test_all_attempts_together_spend_alpha():
    assert multiplicity.spent(1) == pytest.approx(0.030396, abs=1e-6)
    assert multiplicity.spent(3, alpha=0.1) == pytest.approx(0.1 * 6 / (9 * math.pi**2))
    total = sum(multiplicity.spent(j) for j in range(1, 20_001))
    assert 0.0499 < total < 0.05
    with pytest.raises(ValueError, match="from 1, not 0"):
        multiplicity.spent(0)
