"""One pass, deterministic, fair: which exchanges are used."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from harness.config import Sampling
from harness.domain.exchange import ChatRequest
from harness.domain.observation import CallError, ErrorKind
from harness.errors import ConfigurationError
from harness.ingest.sampling import Admission, Sampler, equal_share, priority_of, request_digest, stratum_of
from harness.testing import exchange, observation

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def numbered(n, **fields):
    return [exchange(id=f"e{i}", prompt=f"question {i}", **fields) for i in range(n)]


def sample(exchanges, **config):
    sampler = Sampler(Sampling(**config))
    kept = set()
    for item in exchanges:
        offer = sampler.offer(item)
        kept -= set(offer.evicted)
        if offer.admission is Admission.ADMITTED:
            kept.add(item.id)
    return kept - set(sampler.finish())


def test_priorities_are_fixed_by_seed_and_id_and_uniform():
    values = [priority_of(7, f"e{i}") for i in range(4000)]
    assert values == [priority_of(7, f"e{i}") for i in range(4000)]
    assert values != [priority_of(8, f"e{i}") for i in range(4000)]
    assert all(0 <= value < 1 for value in values)
    assert abs(sum(values) / 4000 - 0.5) < 0.02
    assert all(350 <= count <= 450 for count in Counter(int(value * 10) for value in values).values())


def test_a_size_keeps_the_smallest_priorities_in_any_order_and_nests():
    exchanges = numbered(500)
    expected = set(sorted((item.id for item in exchanges), key=lambda i: priority_of(3, i))[:40])
    assert sample(exchanges, size=40, seed=3) == expected
    assert sample(reversed(exchanges), size=40, seed=3) == expected
    assert sample(exchanges, size=40, seed=4) != expected
    assert sample(exchanges, size=20, seed=3) < expected
    assert len(sample(exchanges, size=900)) == 500


def test_a_rate_keeps_what_lies_below_it():
    exchanges = numbered(2000)
    kept = sample(exchanges, rate=0.25, seed=1)
    assert kept == {item.id for item in exchanges if priority_of(1, item.id) < 0.25}
    assert 420 < len(kept) < 580


@pytest.mark.parametrize(
    ("counts", "size", "share"),
    [
        ([10, 10], 10, 5),
        ([2, 100], 10, 8),
        ([1, 3, 100], 10, 6),
        ([5, 5, 5], 10, 3),
        ([1] * 20, 10, 0),
        ([3, 3], 10, 10),
    ],
)
def test_equal_share_gives_what_small_strata_leave_to_the_others(counts, size, share):
    assert equal_share(counts, size) == share


def of_models(**counts):
    return [
        exchange(
            id=f"{model}{i}", request=ChatRequest(model=model, messages=({"role": "user", "content": f"{model} {i}"},))
        )
        for model, n in counts.items()
        for i in range(n)
    ]


def test_strata_get_equal_places_and_the_rest_goes_by_priority():
    exchanges = of_models(a=400, b=7, c=60)
    kept = sample(exchanges, size=50, seed=5, stratify_by=["model"])
    counts = Counter(identity[0] for identity in kept)
    assert len(kept) == 50
    assert counts["b"] == 7
    assert {counts["a"], counts["c"]} == {21, 22}
    for model, count in counts.items():
        members = sorted((e.id for e in exchanges if e.id[0] == model), key=lambda i: priority_of(5, i))
        assert {i for i in kept if i[0] == model} == set(members[:count])
    assert sample(exchanges[::-1], size=50, seed=5, stratify_by=["model"]) == kept


def test_more_strata_than_places_keeps_one_each_of_the_luckiest_strata_and_little_memory():
    exchanges = [exchange(id=f"e{i}", prompt=f"q{i}", user=f"u{i % 900}") for i in range(3000)]
    best = {}
    for item in exchanges:
        best[item.user] = min(best.get(item.user, (2.0, "")), (priority_of(0, item.id), item.id))
    expected = {identity for _, identity in sorted(best.values())[:10]}
    sampler = Sampler(Sampling(size=10, stratify_by=["user"]))
    held = 0
    kept = set()
    for item in exchanges:
        offer = sampler.offer(item)
        kept -= set(offer.evicted)
        if offer.admission is Admission.ADMITTED:
            kept.add(item.id)
        held = max(held, len(kept))
    assert kept - set(sampler.finish()) == expected
    assert held <= 3 * 10 + 100 + 1


def test_the_window_includes_its_start_and_not_its_end_and_counts_the_undated():
    sampler = Sampler(Sampling(since=NOON, until=NOON + timedelta(hours=1)))
    moments = [NOON - timedelta(seconds=1), NOON, NOON.replace(tzinfo=None), NOON + timedelta(hours=1), None]
    answers = [
        sampler.offer(exchange(id=f"e{i}", prompt=str(i), timestamp=moment)).admission
        for i, moment in enumerate(moments)
    ]
    assert answers == [
        Admission.OUT_OF_WINDOW,
        Admission.ADMITTED,
        Admission.ADMITTED,
        Admission.OUT_OF_WINDOW,
        Admission.OUT_OF_WINDOW,
    ]
    assert sampler.undated == 1


def test_duplicates_are_told_by_id_and_by_request_and_only_what_is_in_the_window_counts():
    sampler = Sampler(Sampling(since=NOON))
    first = exchange(id="a", timestamp=NOON)
    offers = [
        sampler.offer(exchange(id="old", timestamp=NOON - timedelta(days=1))),
        sampler.offer(first),
        sampler.offer(replace(first, id="b")),
        sampler.offer(exchange(id="a", prompt="other", timestamp=NOON)),
        sampler.offer(exchange(id="c", prompt="other", timestamp=NOON)),
    ]
    assert [offer.admission.value for offer in offers] == [
        "out_of_window",
        "admitted",
        "duplicate",
        "duplicate",
        "admitted",
    ]
    keeping = Sampler(Sampling(deduplicate=False))
    assert [keeping.offer(replace(first, id=i)).admission.value for i in "aab"] == ["admitted", "duplicate", "admitted"]


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"params": {"temperature": 0.5}},
        {"tools": ({"type": "function", "function": {"name": "f"}},)},
        {"messages": ({"role": "user", "content": "Capital of Spain?"},)},
    ],
)
def test_everything_that_was_asked_makes_a_request_different(change):
    request = exchange().request
    assert request_digest(replace(request, **change)) != request_digest(request)


def test_the_request_digest_ignores_key_order_and_takes_odd_values():
    one = ChatRequest(model="m", messages=({"role": "user", "content": "x"},), params={"a": 1, "b": 2})
    assert request_digest(one) == request_digest(replace(one, params={"b": 2, "a": 1}))
    assert len(request_digest(replace(one, params={"seed": 10**30}))) == 16


def test_every_field_to_stratify_by_has_a_value():
    value = exchange(
        request=ChatRequest(model="m", messages=({"role": "user", "content": "x"},) * 3, tools=({"type": "function"},)),
        production=observation(error=CallError(kind=ErrorKind.TIMEOUT, message="x")),
        user="u",
        tags=("b", "a"),
        metadata={"tier": "gold"},
    )
    fields = ["model", "user", "session", "has_tools", "turns", "error", "tag", "metadata.tier", "metadata.none"]
    assert Sampler(Sampling(stratify_by=fields)).offer(value).admission is Admission.ADMITTED
    assert stratum_of(value, fields) == (
        "model=m, user=u, session=(none), has_tools=yes, turns=2-3, error=timeout, tag=a+b, metadata.tier=gold, "
        "metadata.none=(none)"
    )


@pytest.mark.parametrize("name", ["colour", "metadata.", "Model"])
def test_an_unknown_field_is_refused_with_the_known_ones(name):
    with pytest.raises(ConfigurationError, match=r"is not known; available: model, .*metadata\.<key>"):
        Sampler(Sampling(stratify_by=[name]))
