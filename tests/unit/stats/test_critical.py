import pytest

from harness.stats import critical


@pytest.mark.parametrize(("multiplier", "level"), [(1.959964, 0.95), (2.575829, 0.99), (0.0, 0.0)])
def test_the_level_of_a_multiplier_is_the_inverse_of_its_quantile(multiplier, level):
    assert critical.level_of(multiplier) == pytest.approx(level, abs=1e-6)
    assert critical.normal(level) == pytest.approx(multiplier, abs=1e-6)
