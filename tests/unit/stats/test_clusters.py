import math

import numpy as np
import pytest

from harness.stats import clusters as cl


def test_design_effect_is_one_for_single_rows_and_m_for_m_copies():
    values = np.array([1.0, 4.0, 2.0, 8.0])
    assert cl.design_effect(values, np.arange(4)) == pytest.approx(1.0)
    assert cl.design_effect(np.repeat(values, 3), np.repeat(np.arange(4), 3)) == pytest.approx(3.0)


def test_design_effect_of_equal_values_is_unknown():
    assert math.isnan(cl.design_effect(np.ones(5), np.arange(5)))
    assert math.isnan(cl.design_effect(np.array([]), np.array([], dtype=np.int64)))


def test_encode_takes_names_and_keeps_equal_ones_together():
    assert cl.encode(["b", "a", "b"]).tolist() == [1, 0, 1]
    assert cl.count(cl.encode(["b", "a", "b"])) == 2
    assert cl.count(np.array([], dtype=np.int64)) == 0


def test_covariance_of_means_equals_the_ordinary_one_with_one_row_per_cluster():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 40))
    assert cl.covariance_of_means(x, y, np.arange(40)) == pytest.approx(np.cov(x, y)[0, 1] / 40)


def test_covariance_of_one_cluster_is_unknown():
    assert math.isnan(cl.covariance_of_means(np.arange(3.0), np.arange(3.0), np.zeros(3, dtype=np.int64)))


def test_deviating_counts_clusters_that_differ_from_the_common_value():
    values = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 1.0])
    assert cl.deviating(values, np.array([0, 0, 1, 1, 1, 2])) == 1
    assert cl.deviating(np.ones(3), np.arange(3)) == 0


def test_effective_n_assumes_the_worst_when_few_clusters_say_anything():
    values, codes = np.zeros(100), np.repeat(np.arange(20), 5)
    values[:3] = 1
    assert cl.effective_n(values, codes, level=0.95) == pytest.approx(20.0)


def test_effective_n_lies_between_worst_case_and_rows():
    rng = np.random.default_rng(2)
    codes = np.repeat(np.arange(200), 5)
    values = (rng.random(1000) < 0.3).astype(float)
    assert 200 < cl.effective_n(values, codes, level=0.95) <= 1000
    same_inside = np.repeat((rng.random(200) < 0.3).astype(float), 5)
    assert cl.effective_n(same_inside, codes, level=0.95) == pytest.approx(200.0)


def test_effective_n_of_few_clusters_is_discounted():
    rng = np.random.default_rng(3)
    values = (rng.random(1200) < 0.5).astype(float)
    many = cl.effective_n(values, np.repeat(np.arange(300), 4), level=0.95)
    few = cl.effective_n(values, np.repeat(np.arange(12), 100), level=0.95)
    assert few < many


def test_one_cluster_is_worth_one_row():
    assert cl.effective_n(np.array([0.0, 1.0, 0.0]), np.zeros(3, dtype=np.int64), level=0.95) == 1.0
