"""A plan's chances are those by which pairs are drawn, over seeds; and what was planned stays planned."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.pipeline.label_plan import Design, DesignKind, Population, draw

IDS = tuple(f"exchange-{i}" for i in range(30))
WEIGHTS = np.linspace(0.2, 3.0, len(IDS))
SEEDS = 3_000


def design(kind: DesignKind, seed: int, size: int) -> Design:
    return Design(kind=kind, seed=seed, size=size)


@pytest.mark.parametrize("kind", list(DesignKind))
def test_pairs_are_drawn_as_often_as_their_chance_says(kind):
    population = Population(ids=IDS, weights=WEIGHTS)
    counts, chances = dict.fromkeys(IDS, 0), {}
    for seed in range(SEEDS):
        for item in draw(design(kind, seed, 12), population):
            counts[item.exchange_id] += 1
            chances[item.exchange_id] = item.probability
    assert sum(chances.values()) == pytest.approx(12)
    for item, chance in chances.items():
        error = np.sqrt(chance * (1 - chance) / SEEDS)
        assert abs(counts[item] / SEEDS - chance) < 4.5 * error + 1e-12, item


@pytest.mark.parametrize("kind", list(DesignKind))
def test_the_first_place_goes_to_every_drawn_pair_alike(kind):
    """Any beginning of the order is a draw of the same kind: the order depends on nothing that was drawn by."""
    population = Population(ids=IDS, weights=WEIGHTS)
    places = []
    for seed in range(SEEDS):
        drawn = draw(design(kind, seed, 12), population)
        places += [(item.rank + 0.5) / len(drawn) for item in drawn if item.exchange_id == IDS[-1]]
    assert np.mean(places) == pytest.approx(0.5, abs=4.5 * np.sqrt(1 / 12 / len(places)))


@given(
    kind=st.sampled_from(list(DesignKind)),
    seed=st.integers(-(2**40), 2**40),
    sizes=st.lists(st.integers(1, 60), min_size=2, max_size=2),
    ids=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=40, unique=True),
    data=st.data(),
)
def test_a_larger_plan_holds_the_smaller_one(kind, seed, sizes, ids, data):
    weights = np.array(data.draw(st.lists(st.floats(0.05, 20.0), min_size=len(ids), max_size=len(ids))))
    population = Population(ids=tuple(ids), weights=weights)
    small, large = (draw(design(kind, seed, size), population) for size in sorted(sizes))

    before, after = [[item.exchange_id for item in plan] for plan in (small, large)]

    assert set(before) <= set(after)
    assert [item for item in after if item in set(before)] == before
    if kind is DesignKind.UNIFORM:
        assert after[: len(before)] == before
    chances = {item.exchange_id: item.probability for item in large}
    assert all(item.probability <= chances[item.exchange_id] + 1e-12 for item in small)


@given(seed=st.integers(0, 1000), order=st.permutations(IDS))
def test_the_order_in_which_pairs_are_stored_does_not_matter(seed, order):
    weights = dict(zip(IDS, WEIGHTS, strict=True))
    shuffled = Population(ids=tuple(order), weights=np.array([weights[item] for item in order]))
    for kind in DesignKind:
        one = draw(design(kind, seed, 9), Population(ids=IDS, weights=WEIGHTS))
        other = draw(design(kind, seed, 9), shuffled)
        assert [item.exchange_id for item in one] == [item.exchange_id for item in other]
