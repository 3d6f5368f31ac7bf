"""Laws of the estimators about judges, people, length and multiplicity, on generated data."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.stats import agreement, length_control, means, multiplicity, planning, ppi
from harness.stats.agreement import MENU, Weights

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(12, 120)
EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)


def verdicts(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    people = rng.choice(MENU, n, p=rng.dirichlet([2, 1, 2]))
    judge = np.where(rng.random(n) < rng.random(), people, rng.choice(MENU, n))
    return judge, people, rng.integers(0, max(n // 3, 3), n)


def labels(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """People's labels on some rows, the judge's score, clusters, and each row's chance of a label."""
    judge, people, clusters = verdicts(seed, n)
    rng = np.random.default_rng(seed + 1)
    chance = rng.uniform(0.2, 1.0, n)
    drawn = rng.random(n) < chance
    drawn[:2] = True
    return np.where(drawn, people, np.nan), judge, clusters, chance


def lengths(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.random.default_rng(seed + 2).gamma(3, 200, (2, n)))


def numbers(estimate) -> list[float | None]:
    return [estimate.value, estimate.low, estimate.high]


def same(left, right) -> bool:
    return numbers(left) == [None if x is None else pytest.approx(x, rel=1e-6, abs=1e-9) for x in numbers(right)]


def reflected(estimate, about: float):
    """The estimate of the mirrored quantity."""
    value, low, high = (None if x is None else about - x for x in numbers(estimate))
    return replace(estimate, value=value, low=high, high=low)


@EXAMPLES
@given(seed=seeds, n=sizes, weights=st.sampled_from(Weights))
def test_kappa_does_not_care_who_is_first_nor_which_arm_is_the_candidate(seed, n, weights):
    judge, people, clusters = verdicts(seed, n)
    there = agreement.kappa(judge, people, clusters, weights=weights)
    assert same(there, agreement.kappa(people, judge, clusters, weights=weights))
    assert same(there, agreement.kappa(1 - judge, 1 - people, clusters, weights=weights))
    assert there.value is None or -1 <= there.value <= 1


@EXAMPLES
@given(seed=seeds, n=sizes)
def test_swapping_arms_mirrors_what_is_counted_from_the_candidates_side(seed, n):
    people, judge, clusters, chance = labels(seed, n)
    candidate, production = lengths(seed, n)
    for there, back, about in (
        (ppi.ppi_mean(people, judge, clusters), ppi.ppi_mean(1 - people, 1 - judge, clusters), 1),
        (
            ppi.ppi_mean(people, judge, clusters, propensity=chance),
            ppi.ppi_mean(1 - people, 1 - judge, clusters, propensity=chance),
            1,
        ),
        (ppi.rectifier(people, judge, clusters), ppi.rectifier(1 - people, 1 - judge, clusters), 0),
        (
            length_control.length_controlled(judge, candidate, production, clusters),
            length_control.length_controlled(1 - judge, production, candidate, clusters),
            1,
        ),
    ):
        assert same(back, reflected(there, about))
    phi = ppi.pseudo_outcomes(people, judge, chance)
    assert ppi.pseudo_outcomes(1 - people, 1 - judge, chance) == pytest.approx(1 - phi)


@EXAMPLES
@given(seed=seeds, n=sizes)
def test_swapping_arms_leaves_agreement_and_length_effect(seed, n):
    judge, people, clusters = verdicts(seed, n)
    candidate, production = lengths(seed, n)
    there, back = agreement.agreement(judge, people, clusters), agreement.agreement(1 - judge, 1 - people, clusters)
    assert same(there.accuracy, back.accuracy)
    assert (there.precision, there.recall, there.f1) == pytest.approx((back.precision, back.recall, back.f1))
    assert same(
        length_control.length_effect(judge, candidate, production, clusters),
        length_control.length_effect(1 - judge, production, candidate, clusters),
    )


@EXAMPLES
@given(seed=seeds, n=sizes)
def test_ppi_is_the_mean_of_the_labels_when_the_judge_is_useless(seed, n):
    people, judge, clusters, _ = labels(seed, n)
    alone = means.mean(people, clusters, bounds=(0.0, 1.0))
    for useless in (np.full(n, 0.5), np.where(np.isfinite(people), 1 - people, judge)):
        assert same(ppi.ppi_mean(people, useless, clusters), alone)


@EXAMPLES
@given(seed=seeds, n=sizes)
def test_ppi_stays_inside_its_limits(seed, n):
    people, judge, clusters, _ = labels(seed, n)
    found = ppi.ppi_mean(people, judge, clusters)
    assert 0 <= found.extra["lambda"] <= 1
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.extra.get("effective_labels", math.inf) >= found.extra["n_labels"]


@EXAMPLES
@given(seed=seeds, n=sizes)
def test_tripling_every_row_inside_its_conversation_changes_no_interval(seed, n):
    judge, verdict, clusters = verdicts(seed, n)
    people, score, _, chance = labels(seed, n)
    candidate, production = lengths(seed, n)
    rows, single = np.repeat(np.arange(n), 3), np.arange(n)
    for estimator, groups in (
        (lambda r, g: agreement.kappa(judge[r], verdict[r], g), clusters),
        (lambda r, g: agreement.accuracy(judge[r], verdict[r], g), single),
        (lambda r, g: agreement.orders(judge[r], verdict[r], g).position_effect, clusters),
        (lambda r, g: ppi.ppi_mean(people[r], score[r], g), clusters),
        (lambda r, g: ppi.ppi_mean(people[r], score[r], g, propensity=chance[r]), clusters),
        (lambda r, g: ppi.rectifier(people[r], score[r], g), clusters),
        (lambda r, g: length_control.length_controlled(judge[r], candidate[r], production[r], g), clusters),
        (lambda r, g: length_control.length_effect(judge[r], candidate[r], production[r], g), single),
    ):
        assert same(estimator(np.arange(n), groups), estimator(rows, groups[rows]))


@EXAMPLES
@given(seed=seeds, n=sizes)
def test_order_of_rows_does_not_matter(seed, n):
    judge, verdict, clusters = verdicts(seed, n)
    people, score, _, chance = labels(seed, n)
    candidate, production = lengths(seed, n)
    shuffled = np.random.default_rng(seed + 3).permutation(n)
    for estimator in (
        lambda r: agreement.kappa(judge[r], verdict[r], clusters[r]),
        lambda r: ppi.ppi_mean(people[r], score[r], clusters[r]),
        lambda r: ppi.ppi_mean(people[r], score[r], clusters[r], propensity=chance[r]),
        lambda r: length_control.length_controlled(judge[r], candidate[r], production[r], clusters[r]),
    ):
        assert same(estimator(np.arange(n)), estimator(shuffled))


@EXAMPLES
@given(seed=seeds, n=sizes)
def test_a_higher_level_or_a_larger_multiplier_contains_a_lower_one(seed, n):
    judge, verdict, clusters = verdicts(seed, n)
    people, score, _, chance = labels(seed, n)
    candidate, production = lengths(seed, n)

    def by_multiplier(times):
        return ppi.ppi_mean(people, score, clusters, multiplier=times)

    for estimator, steps in (
        (lambda level: agreement.kappa(judge, verdict, clusters, level=level), (0.8, 0.95, 0.99)),
        (lambda level: ppi.ppi_mean(people, score, clusters, propensity=chance, level=level), (0.8, 0.95, 0.99)),
        (
            lambda level: length_control.length_controlled(judge, candidate, production, clusters, level=level),
            (0.8, 0.99),
        ),
        (by_multiplier, (1.0, 2.0, 3.3)),
    ):
        found = [estimator(step) for step in steps]
        for narrow, wide in pairwise(found):
            assert (narrow.low is None) == (wide.low is None)
            assert narrow.low is None or wide.low <= narrow.low + 1e-12
            assert narrow.high is None or wide.high >= narrow.high - 1e-12


p_values = st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=30).map(np.array)


@EXAMPLES
@given(p=p_values)
def test_holm_is_never_kinder_than_benjamini_hochberg_nor_either_than_nothing(p):
    kind, strict = multiplicity.benjamini_hochberg(p).p, multiplicity.holm(p).p
    assert np.all(p <= kind + 1e-12)
    assert np.all(kind <= strict + 1e-12)
    assert np.all(strict <= 1)
    for adjusted in (kind, strict):
        assert np.all(np.diff(adjusted[np.argsort(p, kind="stable")]) >= -1e-12)


@EXAMPLES
@given(p=p_values, q=st.sampled_from([0.05, 0.1, 0.3]))
def test_e_values_that_are_inverse_p_values_are_rejected_as_those_are(p, q):
    by_definition = np.zeros(len(p), dtype=bool)
    order = np.argsort(p, kind="stable")
    k = max((i + 1 for i in range(len(p)) if (i + 1) / p[order[i]] >= len(p) / q), default=0)
    by_definition[order[:k]] = True
    assert multiplicity.e_benjamini_hochberg(1 / p, q=q).sum() == k
    assert multiplicity.benjamini_hochberg(p, q=q).rejected.tolist() == by_definition.tolist()


@EXAMPLES
@given(
    distance=st.floats(0.01, 0.5),
    sd=st.floats(0.05, 1.0),
    power=st.sampled_from([0.5, 0.8, 0.9]),
    side=st.sampled_from([-1, 1]),
)
def test_the_planned_number_is_the_first_that_suffices(distance, sd, power, side):
    n = planning.pairs_needed(effect=0.5 + side * distance, margin=0.5, sd=sd, level=0.9, power=power)
    closed = ((1.6448536 + {0.5: 0.0, 0.8: 0.8416212, 0.9: 1.2815516}[power]) * sd / distance) ** 2
    assert n == pytest.approx(max(math.ceil(closed), 1), abs=1 if abs(closed - round(closed)) < 1e-3 else 0)
