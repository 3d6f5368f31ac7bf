import numpy as np
import pytest

from harness.stats import means, two_phase
from harness.stats.looks import AnyLook

NAN = float("nan")


def sample(rng, n=400, share=0.3, clusters=None, correlation=0.7):
    """Candidate's scores on all rows and production's on a random part; the true difference is 0.05."""
    codes = np.arange(n) if clusters is None else np.repeat(np.arange(n // clusters), clusters)
    shared = rng.normal(size=n) if clusters is None else rng.normal(size=n // clusters)[codes]
    full, part = (np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.normal(size=n) for _ in range(2))
    asked = rng.random(n) < share if clusters is None else (rng.random(n // clusters) < share)[codes]
    return full + 0.05, np.where(asked, part, NAN), codes


def test_with_everything_asked_twice_it_is_the_paired_difference():
    full, part, codes = sample(np.random.default_rng(1), share=1.0)
    found, plain = two_phase.difference(full, part, codes), means.paired_difference(full, part, codes)
    for name in ("value", "low", "high", "std_error", "production", "candidate", "n_clusters"):
        assert getattr(found, name) == pytest.approx(getattr(plain, name))


def test_the_error_is_that_of_a_naive_bootstrap():
    rng = np.random.default_rng(2)
    full, part, codes = sample(rng, n=600)
    found = two_phase.difference(full, part, codes)
    values = [
        two_phase.difference(full[rows], part[rows], np.arange(600)).value
        for rows in rng.integers(0, 600, size=(600, 600))
    ]
    assert found.std_error == pytest.approx(np.std(values), rel=0.12)
    assert found.value == pytest.approx(np.mean(values), abs=3 * np.std(values) / np.sqrt(600))


@pytest.mark.parametrize(("correlation", "clusters"), [(0.7, None), (0.0, None), (0.5, 5)])
def test_the_interval_covers_as_often_as_it_says(correlation, clusters):
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(600):
        full, part, codes = sample(rng, n=1000, correlation=correlation, clusters=clusters)
        found = two_phase.difference(full, part, codes)
        covered += found.low < 0.05 < found.high
    assert covered / 600 == pytest.approx(0.95, abs=0.03)


def test_the_rows_asked_once_sharpen_it():
    rng = np.random.default_rng(4)
    full, part, codes = sample(rng, n=4000, share=0.1, correlation=0.0)
    whole, asked = two_phase.difference(full, part, codes), np.isfinite(part)
    alone = two_phase.difference(full[asked], part[asked], codes[asked])
    assert whole.std_error < 0.8 * alone.std_error


def test_missing_values_are_counted_and_not_used():
    full = np.array([1.0, NAN, 0.5, 0.25, NAN])
    part = np.array([0.5, 0.5, NAN, 0.25, NAN])
    found = two_phase.difference(full, part, np.arange(5))
    assert (found.n, found.n_clusters, found.n_missing) == (3, 2, 1)
    assert found.extra["n_part"] == 2


@pytest.mark.parametrize(("full", "part"), [([], []), ([1.0, 2.0], [NAN, NAN]), ([NAN, 1.0], [1.0, NAN])])
def test_without_a_common_row_there_is_no_difference(full, part):
    found = two_phase.difference(np.array(full), np.array(part), np.arange(len(full)))
    assert (found.value, found.low, found.high) == (None, None, None)


def test_one_common_row_has_a_value_and_no_interval():
    found = two_phase.difference(np.array([1.0, 0.5]), np.array([0.5, NAN]), np.arange(2))
    assert (found.value, found.low, found.notes) == (0.5, None, ("one cluster has no interval",))


def test_constant_differences_are_bounded_by_what_was_not_seen():
    bounded = two_phase.difference(np.ones(200), np.ones(200), np.arange(200), bounds=(-1.0, 1.0))
    assert bounded.value == 0.0
    assert bounded.low == pytest.approx(-0.0183, abs=2e-4)
    assert bounded.high == -bounded.low
    assert two_phase.difference(np.ones(200), np.ones(200), np.arange(200)).low is None


def test_few_repeated_conversations_are_bet_on_and_not_adjusted():
    full, part, codes = sample(np.random.default_rng(5), n=200)
    scores = np.clip(full / 10 + 0.5, 0, 1), np.clip(part / 10 + 0.5, 0, 1)
    few = two_phase.difference(*scores, codes, bounds=(-1.0, 1.0), looks=AnyLook())
    assert (few.method, few.extra["slope"]) == ("betting-cs", 0.0)
    assert few.low < few.value < few.high
