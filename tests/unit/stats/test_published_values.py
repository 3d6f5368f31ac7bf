"""Published values of neighbouring methods, and what the product's own methods say about the same data."""

import numpy as np
import pytest

from harness.stats import means, proportions
from tests.reference import kayenta, paired_binary

CAVO = (59, 6, 16, 80)  # response before and after: Cavo et al. 2012
B, C, N = 6, 16, 161


def test_wald_and_newcombe_reference():
    assert paired_binary.wald(B, C, N) == pytest.approx((-0.1184, -0.0058), abs=5e-5)
    assert paired_binary.newcombe(*CAVO) == pytest.approx((-0.1186, -0.0046), abs=5e-5)


def test_mcnemar_reference():
    exact, mid = proportions.mcnemar(B, C)
    asymptotic = paired_binary.mcnemar_asymptotic(B, C)
    corrected = paired_binary.mcnemar_asymptotic(B, C, correction=1)
    assert (asymptotic, corrected) == (pytest.approx(0.033006, abs=1e-6), pytest.approx(0.055009, abs=1e-6))
    assert asymptotic < mid < exact < corrected  # 0.0330 < 0.0347 < 0.0525 < 0.0550


def test_tango_lies_with_its_neighbours():
    """It reaches further than Wald's, which ignores that the difference is bounded, on the side away from zero."""
    low, high = proportions.tango(B, C, N)
    assert low < paired_binary.newcombe(*CAVO)[0] < paired_binary.wald(B, C, N)[0]
    for other in (paired_binary.newcombe(*CAVO), paired_binary.wald(B, C, N)):
        assert (low, high) == pytest.approx(other, abs=0.006)


@pytest.mark.parametrize("scale", [10, 100])
def test_tango_becomes_wald_in_large_samples(scale):
    ours, wald = proportions.tango(B * scale, C * scale, N * scale), paired_binary.wald(B * scale, C * scale, N * scale)
    assert ours == pytest.approx(wald, abs=0.006 / scale)


def test_kayenta_mann_whitney_reference():
    low, high, estimate = kayenta.mann_whitney([10, 20, 30, 40], [1, 2, 3, 4], level=0.95)
    assert (low, high, estimate) == pytest.approx((6, 39, 22.5), abs=1e-3)


SLOW, FAST = [20, 22, 21, 25, 30], [1, 2.2, 1.1, 2.5, 3]


@pytest.mark.parametrize(
    ("experiment", "control", "label"), [(SLOW, FAST, "High"), (FAST, SLOW, "Low"), (SLOW, SLOW[::-1], "Pass")]
)
def test_what_kayenta_classifies_our_interval_shows_too(experiment, control, label):
    assert kayenta.classify(experiment, control) == label
    estimate = means.paired_difference(np.array(experiment, float), np.array(control, float), np.arange(5), level=0.98)
    assert (estimate.low > 0, estimate.high < 0) == (label == "High", label == "Low")


def test_kayenta_passes_a_regression_that_it_cannot_see():
    """Absence of evidence is Pass there; here the interval straddles zero, which is INCONCLUSIVE."""
    rng = np.random.default_rng(7)
    control, experiment = np.exp(rng.normal(size=20)), 1.2 * np.exp(rng.normal(size=20))
    estimate = means.paired_difference(experiment, control, np.arange(20), level=0.98)
    assert kayenta.classify(experiment, control) == "Pass"
    assert estimate.low < 0 < estimate.high
