import numpy as np
import pytest

from harness.stats import proportions
from harness.stats.looks import AnyLook

CAVO = np.array([6, 16, 161])  # candidate only, production only, pairs: Cavo et al. 2012


def test_wilson_reference():
    low, high = proportions.wilson(7, 100)
    assert (low, high) == (pytest.approx(0.034319, abs=1e-6), pytest.approx(0.137495, abs=1e-6))


@pytest.mark.parametrize(("k", "n", "low", "high"), [(0, 0, 0.0, 1.0), (0, 10, 0.0, 0.27753), (10, 10, 0.72247, 1.0)])
def test_wilson_edges(k, n, low, high):
    assert proportions.wilson(k, n) == (pytest.approx(low, abs=1e-5), pytest.approx(high, abs=1e-5))


@pytest.mark.parametrize(
    ("b", "c", "n", "low", "high"),
    [
        (6, 16, 161, -0.1240, -0.0054),  # Fagerland, Lydersen and Laake 2014
        (1, 7, 21, -0.5172, -0.0260),
        (40, 20, 160, 0.0309, 0.2181),
        (0, 0, 100, -0.03699, 0.03699),  # z^2 / (n + z^2)
    ],
)
def test_tango_reference(b, c, n, low, high):
    assert proportions.tango(b, c, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_tango_edges_stay_inside_the_range():
    assert proportions.tango(21, 0, 21)[1] == 1.0
    assert proportions.tango(0, 21, 21)[0] == -1.0
    assert proportions.tango(0, 0, 0) == (-1.0, 1.0)


def test_mcnemar_reference():
    exact, mid = proportions.mcnemar(6, 16)
    assert (exact, mid) == (pytest.approx(0.052479, abs=1e-6), pytest.approx(0.034690, abs=1e-6))
    assert proportions.mcnemar(0, 0) == (1.0, 1.0)
    assert proportions.mcnemar(5, 5)[0] == 1.0


def paired(b: int, c: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    candidate, production = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    candidate[:b] = True
    production[b : b + c] = True
    return candidate, production


def test_paired_difference_of_single_rows_is_tango():
    estimate = proportions.paired_difference(*paired(*CAVO), np.arange(161))
    assert (estimate.low, estimate.high) == proportions.tango(6, 16, 161)
    assert estimate.value == pytest.approx(-10 / 161)
    assert (estimate.candidate, estimate.production) == (pytest.approx(6 / 161), pytest.approx(16 / 161))
    assert (estimate.extra["only_candidate"], estimate.extra["only_production"]) == (6, 16)
    assert estimate.extra["mcnemar_mid_p"] == pytest.approx(0.034690, abs=1e-6)
    assert estimate.method == "tango"


def test_no_discordant_pair_leaves_width_also_in_clusters():
    nothing = np.zeros(500, dtype=bool)
    single = proportions.paired_difference(nothing, nothing, np.arange(500))
    clustered = proportions.paired_difference(nothing, nothing, np.repeat(np.arange(100), 5))
    assert single.low < 0 < single.high
    assert clustered.high == pytest.approx(proportions.tango(0, 0, 100)[1])
    assert clustered.high > single.high
    assert "mcnemar_exact_p" not in clustered.extra
    assert clustered.method == "tango-effective-n"


def test_correlated_errors_widen_the_interval():
    rng = np.random.default_rng(4)
    bad = rng.random(100) < 0.2
    candidate, production = np.repeat(bad, 5), np.zeros(500, dtype=bool)
    single = proportions.paired_difference(candidate, production, np.arange(500))
    clustered = proportions.paired_difference(candidate, production, np.repeat(np.arange(100), 5))
    assert clustered.high - clustered.low > 1.9 * (single.high - single.low)


def test_no_pairs_no_value():
    empty = np.array([], dtype=bool)
    assert proportions.paired_difference(empty, empty, np.array([])).value is None


def test_proportion_is_wilson_and_counts_missing():
    x = np.array([1.0] * 7 + [0.0] * 93 + [float("nan")])
    estimate = proportions.proportion(x, np.arange(101))
    assert (estimate.low, estimate.high) == proportions.wilson(7, 100)
    assert (estimate.n, estimate.n_missing, estimate.method) == (100, 1, "wilson")


def test_proportion_in_clusters_uses_the_effective_sample():
    x = np.repeat(np.array([1.0] * 30 + [0.0] * 70), 4)
    estimate = proportions.proportion(x, np.repeat(np.arange(100), 4))
    assert (estimate.low, estimate.high) == (
        pytest.approx(proportions.wilson(30, 100)[0]),
        pytest.approx(proportions.wilson(30, 100)[1]),
    )
    assert estimate.method == "wilson-effective-n"


def test_proportion_without_data_and_of_one_row():
    assert proportions.proportion(np.array([float("nan")]), np.arange(1)).value is None
    assert proportions.proportion(np.array([1.0]), np.arange(1)).std_error is None


@pytest.mark.parametrize(("conversations", "method"), [(9, "betting-cs"), (10, "asymptotic-cs")])
def test_surprises_are_counted_in_conversations(conversations, method):
    failed, codes = np.zeros(1200, dtype=bool), np.repeat(np.arange(600), 2)
    failed[: 2 * conversations] = True
    found = proportions.paired_difference(failed, np.zeros(1200, dtype=bool), codes, looks=AnyLook())
    assert found.method == method


def test_one_more_discordant_conversation_is_as_large_as_those_that_were_seen():
    failed, nothing = np.arange(1000) < 20, np.zeros(1000, dtype=bool)
    rows = np.repeat(np.arange(1000), 3)
    single = proportions.paired_difference(failed, nothing, np.arange(1000), looks=AnyLook())
    tripled = proportions.paired_difference(failed[rows], nothing[rows], rows, looks=AnyLook())
    half = AnyLook().multiplier(0.95, 1000) * np.sqrt(single.std_error**2 + 1 / 1000**2)
    assert single.high - single.value == pytest.approx(half)
    assert (tripled.low, tripled.high) == (pytest.approx(single.low), pytest.approx(single.high))


def test_discordant_pairs_that_cancel_within_conversations_are_not_certain():
    codes = np.repeat(np.arange(600), 2)
    first, second = np.arange(1200) % 2 == 0, np.arange(1200) % 2 == 1
    found = proportions.paired_difference(first, second, codes, looks=AnyLook())
    assert found.low < found.value == 0.0 < found.high
