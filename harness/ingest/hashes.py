"""A set of 64-bit hashes at a third of the memory of Python's own: what remembering millions of records takes."""

from array import array

_FIRST_SLOTS = 1 << 12
_EMPTY = 0


class HashSet:
    """Open addressing in one flat array, at most two thirds full: 12 to 24 bytes per member instead of 60 to 100."""

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * _FIRST_SLOTS))
        self._mask = _FIRST_SLOTS - 1
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, value: int) -> bool:
        """Put a hash in, 0 to 2**64 - 1; whether it was new."""
        # Zero marks an empty slot; the hash 0 is kept as 1, which costs one collision in 2**64.
        value = value or 1
        slots, mask = self._slots, self._mask
        at = value & mask
        while (found := slots[at]) != _EMPTY:
            if found == value:
                return False
            at = (at + 1) & mask
        slots[at] = value
        self._count += 1
        if 3 * self._count > 2 * len(slots):
            self._grow()
        return True

    def __contains__(self, value: int) -> bool:
        value = value or 1
        slots, mask = self._slots, self._mask
        at = value & mask
        while (found := slots[at]) != _EMPTY:
            if found == value:
                return True
            at = (at + 1) & mask
        return False

    def _grow(self) -> None:
        old = self._slots
        slots = array("Q", bytes(16 * len(old)))
        mask = len(slots) - 1
        for value in old:
            if value != _EMPTY:
                at = value & mask
                while slots[at] != _EMPTY:
                    at = (at + 1) & mask
                slots[at] = value
        self._slots, self._mask = slots, mask
