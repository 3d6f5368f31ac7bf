"""The one-pass sampler against the plain definition, on generated traffic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import Sampling
from harness.domain.exchange import ChatRequest
from harness.ingest import sampling
from harness.ingest.sampling import Admission, Sampler, equal_share, priority_of
from harness.testing import exchange

traffic = st.lists(st.sampled_from("abcdefghijklmnop"), max_size=120)


def plain(strata, size, seed):
    """Sort each stratum, give everyone the equal share, then the rest by priority."""
    groups = {}
    for index, name in enumerate(strata):
        groups.setdefault(name, []).append((priority_of(seed, f"e{index}"), f"e{index}"))
    share = equal_share([len(group) for group in groups.values()], size)
    groups = {name: sorted(group) for name, group in groups.items()}
    taken = [member for group in groups.values() for member in group[:share]]
    following = sorted(group[share] for group in groups.values() if len(group) > share)
    return {identity for _, identity in taken + following[: size - len(taken)]}


@given(traffic, st.integers(1, 60), st.integers(0, 3), st.randoms(use_true_random=False))
def test_one_pass_equals_the_plain_definition_in_any_order(strata, size, seed, random):
    exchanges = [
        exchange(id=f"e{i}", request=ChatRequest(model=name, messages=({"role": "user", "content": str(i)},)))
        for i, name in enumerate(strata)
    ]
    random.shuffle(exchanges)
    sampler = Sampler(Sampling(size=size, seed=seed, stratify_by=["model"]))
    kept = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "_SLACK", 0)  # prune on the way even on this little traffic
        for item in exchanges:
            offer = sampler.offer(item)
            assert kept.issuperset(offer.evicted)
            kept -= set(offer.evicted)
            if offer.admission is Admission.ADMITTED:
                kept.add(item.id)
            assert len(kept) <= 3 * size
    leaving = set(sampler.finish())
    assert leaving <= kept
    assert kept - leaving == plain(strata, size, seed)
    assert len(kept - leaving) == min(size, len(strata))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 300))
def test_the_equal_share_fills_the_size_and_one_more_each_would_not_fit(counts, size):
    share = equal_share(counts, size)
    assert sum(min(count, share) for count in counts) <= size
    if sum(counts) > size:
        assert sum(min(count, share + 1) for count in counts) > size
