"""Times of the store as numbers."""

import numpy as np

from harness.store.evidence import _moments


def test_times_are_seconds_and_unknown_ones_nan():
    found = _moments(["2026-09-01 00:00:01.500000", None, "1970-01-01 00:00:00.000000"])
    assert found[0] == 1_788_220_801.5
    assert np.isnan(found[1])
    assert found[2] == 0.0
