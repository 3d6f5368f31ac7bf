import subprocess
import sys

import pytest
from scipy.stats import binom

from harness.stats import critical


@pytest.mark.parametrize(("multiplier", "level"), [(1.959964, 0.95), (2.575829, 0.99), (0.0, 0.0)])
def test_the_level_of_a_multiplier_is_the_inverse_of_its_quantile(multiplier, level):
    assert critical.level_of(multiplier) == pytest.approx(level, abs=1e-6)
    assert critical.normal(level) == pytest.approx(multiplier, abs=1e-6)


@pytest.mark.parametrize("n", [1, 10, 365, 20_000, 1_000_000])
@pytest.mark.parametrize("probability", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("level", [1e-6, 0.0152, 0.025, 0.3, 0.975, 0.9848, 1 - 1e-6])
def test_a_binomial_quantile_is_the_one_of_the_long_way(n, probability, level):
    assert critical.binomial_quantile(level, n, probability) == int(binom.ppf(level, n, probability))


@pytest.mark.parametrize(
    ("successes", "n"), [(0, 1), (1, 1), (3, 10), (180, 365), (9_900, 20_000), (499_000, 1_000_000)]
)
def test_the_tail_of_a_fair_coin_is_the_one_of_the_long_way(successes, n):
    tail, point = critical.fair_tail(successes, n)
    assert tail == pytest.approx(binom.cdf(successes, n, 0.5), rel=1e-8)
    assert point == pytest.approx(binom.pmf(successes, n, 0.5), rel=1e-8)


def test_no_latency_or_share_needs_the_large_part_of_scipy():
    code = """
import sys
import numpy as np
from harness.stats.proportions import mcnemar
from harness.stats.quantiles import quantile_ratio
values = np.arange(1.0, 2001.0)
quantile_ratio(values, values, np.arange(2000), probability=0.95)
mcnemar(3, 9)
assert "scipy.special" in sys.modules and "scipy.stats" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
