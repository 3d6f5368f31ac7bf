"""Reaching into nested records by dotted names."""

from collections.abc import Iterator, Mapping
from typing import Final

from harness.domain.json import Json


class Nothing:
    """There is no such place; unlike null, which is a value."""


NOTHING: Final = Nothing()


def value_at(record: Json, place: str) -> Json | Nothing:
    """What stands at ``place`` in a record: ``results.-1.winner``.

    Parts are keys of objects, or positions in lists, from 0 or, negative, from the end. Keys may hold anything, dots
    too: the shortest key that leads on is taken.
    """
    if isinstance(record, Mapping):
        if place in record:
            return record[place]
        for key, rest in _splits(place):
            if key in record and not isinstance(found := value_at(record[key], rest), Nothing):
                return found
        return NOTHING
    if isinstance(record, list):
        position, dot, rest = place.partition(".")
        try:
            item = record[int(position)]
        except (ValueError, IndexError):
            return NOTHING
        return value_at(item, rest) if dot else item
    return NOTHING


def _splits(place: str) -> Iterator[tuple[str, str]]:
    at = place.find(".")
    while at != -1:
        yield place[:at], place[at + 1 :]
        at = place.find(".", at + 1)
