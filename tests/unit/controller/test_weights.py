"""Weights that give a share, written in the order in which the candidate gets the least meanwhile."""

import itertools

import pytest

from harness.controller.litellm_weights import Weights, steps, weights_for
from harness.errors import ConfigurationError


@pytest.mark.parametrize(
    ("share", "production", "candidate", "blocked"),
    [
        (0.0, 10_000, 0, True),
        (0.05, 9_500, 500, False),
        (0.333333, 6_667, 3_333, False),
        (0.000001, 9_999, 1, False),  # something, however little
        (0.999999, 1, 9_999, False),  # production keeps something
        (1.0, 0, 10_000, False),
    ],
)
def test_a_share_is_two_whole_numbers_out_of_ten_thousand(share, production, candidate, blocked):
    assert weights_for(share, block=True) == Weights(production=production, candidate=candidate, blocked=blocked)
    assert not weights_for(share, block=False).blocked


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_what_is_no_share_is_refused(share):
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        weights_for(share, block=True)


LEVELS = [weights_for(share, block=True) for share in (0, 0.05, 0.25, 0.5, 0.95, 1)]
FOUND = [
    *LEVELS,
    *(Weights(production=p, candidate=c) for p, c in itertools.product((None, 0, 1, 100, 10_000), repeat=2)),
]


@pytest.mark.parametrize("want", LEVELS, ids=lambda one: f"to {one.share:g}")
@pytest.mark.parametrize("found", FOUND, ids=lambda one: f"from {one.production}-{one.candidate}")
def test_between_the_two_writes_the_candidate_gets_no_more_than_before_or_after(found, want):
    """Up to what the change of production's weight alone makes of the weight the candidate has."""
    order = steps(found, want)
    if len(order) < 2:
        return
    first, between = order[0], {}
    for name in ("candidate", "production"):
        production = want.production if name == "production" else found.production
        mine, blocked = (want.candidate, want.blocked) if name == "candidate" else (found.candidate, found.blocked)
        between[name] = Weights(production=production, candidate=mine, blocked=blocked).share
    assert between[first] == min(between.values())
    if want.share == 0:
        assert between[first] == 0


@pytest.mark.parametrize(
    ("found", "order"),
    [
        (Weights(production=None, candidate=None), ("production", "candidate")),
        (Weights(production=1, candidate=0), ("production", "candidate")),  # 500 to 1 would be nearly everybody
        (Weights(production=7_500, candidate=2_500), ("candidate", "production")),
        (Weights(production=9_500, candidate=500), ()),
        (Weights(production=9_500, candidate=400), ("candidate",)),
        (None, ("candidate", "production")),
    ],
)
def test_only_what_differs_is_written(found, order):
    assert steps(found, weights_for(0.05, block=True)) == order
