"""Laws of whole decisions, on simulated traffic."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.config import PROFILES
from harness.decision import metrics
from harness.decision.reaching import reach
from harness.domain.decision import Verdict
from harness.stats.looks import ONE_LOOK, AnyLook, PlannedLooks
from tests.benchmarks.worlds import JUDGES, World, simulate
from tests.unit.decision.factory import rule, rulebook, swapped

EXAMPLES = settings(max_examples=30, deadline=None, derandomize=True)
NON_INFERIOR = tuple(section.criterion() for section in PROFILES["non_inferiority"])
WAYS = (ONE_LOOK, AnyLook(), PlannedLooks((0.5, 1.0)))
RATIOS = ("latency_p50_ratio", "latency_p95_ratio", "cost_ratio")
REFLECTED = ("win_rate", "win_rate_given_answer", "win_rate_length_controlled")
NEGATED = ("error_rate_difference", "error_rate_server_error_difference", "length_difference")
OF_MEANS = (*REFLECTED[:2], "similarity", "similarity_from_floor", "error_rate_difference", "length_difference")

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(8, 700)
looks = st.sampled_from(WAYS)


def traffic(seed: int, n: int):
    """A candidate of some kind beside a replica on a part of the requests, with lengths and costs."""
    rng = np.random.default_rng(seed)
    world = World(
        ratio=rng.uniform(0.8, 1.5),
        win=rng.uniform(0.4, 0.6),
        errors=rng.choice([0.01, 0.03, 0.1]),
        production_errors=rng.choice([0.002, 0.02, 0.1]),
        share=rng.choice([0.3, 1.0]),
        conversation=int(rng.choice([1, 1, 4])),
        icc=0.2,
    )
    data, floor = simulate(world, n, rng)
    production, candidate = (
        replace(arm, answer_chars=np.ceil(50 * np.exp(rng.normal(size=n))), cost_usd=np.exp(rng.normal(size=n)))
        for arm in (data.production, data.candidate)
    )
    return replace(data, production=production, candidate=candidate), replace(floor, production=production)


def measured(data, floor=None, *, way=ONE_LOOK, alpha=0.05, only=None):
    return metrics.estimates(data, level=1 - 2 * alpha, judge_metrics=JUDGES, looks=way, floor=floor, only=only)


def span(item) -> tuple[float, float]:
    """The interval with its open ends at infinity; a ratio's at zero and infinity."""
    lowest = 0.0 if item.metric in RATIOS else -math.inf
    return lowest if item.low is None else item.low, math.inf if item.high is None else item.high


def close(found, expected) -> bool:
    return found == pytest.approx(expected, rel=1e-7, abs=1e-9)


@EXAMPLES
@given(seed=seeds, n=sizes, way=looks)
def test_the_order_of_requests_within_a_look_does_not_matter(seed, n, way):
    data, floor = traffic(seed, n)
    size = np.bincount(data.clusters)[0]
    conversations = np.random.default_rng(seed).permutation(n // size)
    rows, mixed = np.arange(n // size * size), (conversations[:, None] * size + np.arange(size)).ravel()
    book = rulebook(*NON_INFERIOR, looks=way.name, planned_looks=1, judges=JUDGES)
    plain, shuffled = (reach(data.take(x), book, floor=floor.take(x)).decision for x in (rows, mixed))
    assert shuffled.verdict is plain.verdict or size > 1
    for one, other in zip(plain.results, shuffled.results, strict=True):
        # Bets learn how large conversations are in the order in which they come.
        if size == 1 or one.estimate.method != "betting-cs":
            assert other.outcome is one.outcome
            assert close(span(other.estimate), span(one.estimate))


@EXAMPLES
@given(seed=seeds, n=sizes, way=looks, factor=st.floats(0.01, 100))
def test_a_faster_clock_leaves_the_ratios_unchanged(seed, n, way, factor):
    data, _ = traffic(seed, n)
    production, candidate = (
        replace(arm, latency_ms=factor * arm.latency_ms) for arm in (data.production, data.candidate)
    )
    plain = measured(data, way=way, only=RATIOS)
    scaled = measured(replace(data, production=production, candidate=candidate), way=way, only=RATIOS)
    for name in RATIOS:
        assert scaled[name].value == pytest.approx(plain[name].value)
        assert close(span(scaled[name]), span(plain[name]))


@EXAMPLES
@given(seed=seeds, n=sizes, way=looks)
def test_swapping_the_arms_turns_every_interval_round(seed, n, way):
    data, _ = traffic(seed, n)
    there, back = measured(data, way=way), measured(swapped(data), way=way)
    turned = {
        **dict.fromkeys(REFLECTED, lambda x: 1 - x),
        **dict.fromkeys(NEGATED, lambda x: -x),
        **dict.fromkeys(RATIOS, lambda x: 1 / x if x else math.inf),
    }
    for name, turn in turned.items():
        one, other = there[name], back[name]
        assert (one.value is None) == (other.value is None)
        if one.value is not None:
            assert other.value == pytest.approx(turn(one.value), rel=1e-7, abs=1e-9)
            low, high = span(one)
            assert close(span(other), (turn(high), turn(low)))


@EXAMPLES
@given(seed=seeds, n=sizes, way=looks)
def test_a_smaller_alpha_contains_a_larger_one(seed, n, way):
    data, floor = traffic(seed, n)
    # The ratio of percentiles is nested at usual sizes only: test_stats_intervals.py.
    names = {*OF_MEANS, "cost_ratio", "error_rate", "win_rate_length_controlled", "latency_p95"}
    levels = [measured(data, floor, way=way, alpha=alpha, only=names) for alpha in (0.05, 0.03, 0.0125, 0.001)]
    for name in names:
        lows, highs = zip(*(span(found[name]) for found in levels), strict=True)
        assert all(wide <= narrow + 1e-9 for narrow, wide in itertools.pairwise(lows)), name
        assert all(wide >= narrow - 1e-9 for narrow, wide in itertools.pairwise(highs)), name


@EXAMPLES
@given(seed=seeds, n=sizes, way=looks, data=st.data())
def test_a_timeout_can_only_speak_against_the_candidate(seed, n, way, data):
    before, _ = traffic(seed, n)
    failed = data.draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=n))
    status, kinds = before.candidate.status.copy(), before.candidate.error_kind.copy()
    status[sorted(failed)], kinds[sorted(failed)] = "failed", "timeout"
    after = replace(before, candidate=replace(before.candidate, status=status, error_kind=kinds))
    plain, late = (measured(item, way=way, only={*RATIOS[:2], *NEGATED[:1]}) for item in (before, after))
    for name, one in plain.items():
        if one.value is not None and late[name].value is not None:
            assert late[name].value >= one.value
    assert late["error_rate_difference"].value >= plain["error_rate_difference"].value


@EXAMPLES
@given(seed=seeds, n=st.integers(520, 900), way=looks)
def test_repeating_rows_within_their_conversation_says_nothing_new(seed, n, way):
    data, floor = traffic(seed, n)
    plain, copied = measured(data, floor, way=way, only=OF_MEANS), np.repeat(np.arange(n), 3)
    tripled = measured(data.take(copied), floor.take(copied), way=way, only=OF_MEANS)
    for name in OF_MEANS:
        one, other = plain[name], tripled[name]
        assert other.value == pytest.approx(one.value)
        # Betting knows of the largest conversation only, and Tango's interval of the effective number of pairs.
        if not {one.method, other.method} & {"betting-cs", "tango-effective-n", "tango"}:
            assert close(span(other), span(one)), name


@pytest.mark.parametrize("criteria", [NON_INFERIOR, (rule("win_rate", "above", 0.5),
                                      rule("error_rate_difference", "below", 0.0))],
                         ids=["non_inferior", "superior"])  # fmt: skip
def test_production_against_itself_hardly_ever_fails(criteria):
    """Looked at every 200 requests: at a threshold that production just does not reach the chance is alpha at most."""
    failed = 0
    for seed in range(200):
        data, floor = simulate(World(share=0.3), 600, np.random.default_rng((11, seed)))
        for n in range(200, 601, 200):
            rows = np.arange(n)
            found = reach(data.take(rows), rulebook(*criteria, judges=JUDGES), floor=floor.take(rows))
            if found.decision.verdict is Verdict.NO_GO:
                failed += 1
                break
    assert failed / 200 <= 0.05
