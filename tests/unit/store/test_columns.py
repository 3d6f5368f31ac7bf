"""Finding the row of an exchange without a table of all of them."""

import random
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.store.columns import Rows

IDS = sorted({f"id-{number:x}\N{LATIN SMALL LETTER E WITH ACUTE}" for number in range(0, 40_000, 3)} | {"", "z\ud7ff"})


KNOWN = frozenset(IDS)


@cache
def rows() -> Rows:
    places = np.arange(len(IDS))
    random.Random(4).shuffle(places)
    return Rows(IDS, places)


@pytest.mark.parametrize(
    "wanted",
    [
        IDS,
        IDS[::2],
        IDS[::-1],
        IDS[::997],
        [each for number, each in enumerate(IDS) if number % 100 != 7],
        [*IDS[:50], "unknown", *IDS[50:]],
        [IDS[-1], IDS[0]],
        [],
        sorted(2 * IDS),
        sorted(2 * IDS)[1:],
        sorted(3 * IDS),
    ],
)
def test_every_id_is_found_in_any_order_and_density(wanted):
    found = rows()
    expected = [-1 if (place := found.get(each)) is None else place for each in wanted]
    assert found.places(wanted).tolist() == expected
    assert [place for at in range(0, len(wanted), 50) for place in found.places(wanted[at : at + 50])] == expected
    assert sorted(found.places(IDS).tolist()) == list(range(len(IDS)))


@settings(deadline=None)
@given(st.lists(st.sampled_from(IDS) | st.text(max_size=6), max_size=30))
def test_what_is_not_sampled_has_no_row(wanted):
    known = {exchange_id: rows().get(exchange_id) for exchange_id in wanted}
    assert rows().places(wanted).tolist() == [-1 if known[each] is None else known[each] for each in wanted]
    assert all((place is not None) == (exchange_id in KNOWN) for exchange_id, place in known.items())


def test_without_rows_nothing_is_found():
    nothing = Rows([], np.array([], dtype=np.int64))
    assert nothing.places(["a", "b"]).tolist() == [-1, -1]
    assert nothing.get("a") is None


PLAIN = sorted(f"id-{number:x}" for number in range(0, 40_000, 3))


@pytest.mark.parametrize(
    "wanted",
    [PLAIN, PLAIN[::2], PLAIN[1::7], sorted(2 * PLAIN[::5]), sorted([*PLAIN[::3], "id-", "idx", ""]), PLAIN[:3], IDS],
)
@pytest.mark.parametrize("known", [PLAIN, IDS, [*PLAIN, "z" * 100]])
def test_ids_of_one_value_are_found_as_any_others(wanted, known):
    places = np.arange(len(known))[::-1].copy()
    apart, together = Rows(known, places), Rows(known, places)
    assert apart.places_apart(wanted).tolist() == [
        -1 if together.get(each) is None else together.get(each) for each in wanted
    ]
    assert apart.again().places(known).tolist() == places.tolist()
