import sys

from hypothesis import given
from hypothesis import strategies as st

from harness.ingest.hashes import HashSet

HASHES = st.integers(min_value=0, max_value=2**64 - 1)


@given(st.lists(HASHES | st.integers(2, 50)))
def test_it_remembers_what_a_set_remembers(values):
    found, expected = HashSet(), set()
    for value in values:
        assert found.add(value) == (value not in expected)
        expected.add(value)

    assert len(found) == len(expected)
    assert all(value in found for value in values)


def test_it_grows_and_keeps_everything():
    found = HashSet()
    values = [(i * 0x9E3779B97F4A7C15) % 2**64 for i in range(1, 50_000)]
    assert sum(found.add(value) for value in values) == len(values)

    assert len(found) == len(values)
    assert sum(found.add(value) for value in values) == 0
    assert 12345 not in found


def test_zero_is_a_hash_like_any_other():
    found = HashSet()

    assert 0 not in found
    assert found.add(0)
    assert not found.add(0)


def test_it_is_much_smaller_than_a_set():
    values = [(i * 0x9E3779B97F4A7C15) % 2**64 for i in range(100_000)]
    found, plain = HashSet(), set(values)
    for value in values:
        found.add(value)

    size = sys.getsizeof(plain) + sum(sys.getsizeof(value) for value in plain)
    assert sys.getsizeof(found._slots) < size / 3
