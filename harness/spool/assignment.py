"""Who serves a conversation during a rollout: a small file beside the spool, so that no gateway needs the store.

It holds for a lease only: gateways that nobody tells anything any more let production serve everybody.
"""

import fcntl
import math
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from harness.domain.served import Arm
from harness.spool.sampling import fraction

FILE = "assignment.json"
VERSION = 1
LARGEST_BYTES = 64 << 10
"""A file above this size is not one of ours."""
_TAG = b"canary"
"""Keeps the arms independent of the mirror's sample, which is drawn with the same key and perhaps the same salt."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """How conversations are shared out, as of one event of one rollout.

    Raises:
        ValueError: a share is outside 0 to 1, the two are more than everything, or a number makes no sense.
    """

    rollout_id: str
    number: int
    """Of the last event that is taken into account."""
    candidate: str
    share: float
    """Of the conversations, served by the candidate; 0 to 1."""
    control_share: float
    """Of the conversations, served by production as the candidate's control; 0 to 1."""
    mirror_rate: float
    """Of the requests, mirrored where no rule says otherwise; below 0 stands for the configured rate."""
    salt: str
    written_at: float
    """When what it says was known to be true, seconds since the epoch."""
    valid_until: float
    """From when on production serves everybody, seconds since the epoch."""

    def __post_init__(self) -> None:
        if not (0 <= self.share <= 1 and 0 <= self.control_share <= 1 - self.share):
            raise ValueError(f"shares {self.share} and {self.control_share} are not parts of a whole")
        if not self.mirror_rate <= 1:
            raise ValueError(f"{self.mirror_rate} is no rate")
        if self.number < 0 or not (math.isfinite(self.written_at) and math.isfinite(self.valid_until)):
            raise ValueError("an assignment has a number from 0 and finite times")

    def holds(self, now: float) -> bool:
        """Whether it is in force; ``now`` in seconds since the epoch.

        A clock that was set back must not lengthen it: it is not believed from more than a lease before it was written.
        """
        lease = self.valid_until - self.written_at
        return self.written_at - lease <= now < self.valid_until


PRODUCTION = Assignment(
    rollout_id="",
    number=0,
    candidate="",
    share=0.0,
    control_share=0.0,
    mirror_rate=-1.0,
    salt="",
    written_at=0.0,
    valid_until=0.0,
)
"""The safe answer: production serves everybody, and nobody is evidence."""


def control_beside(share: float) -> float:
    """The share of a control of the candidate's size, or of what is left where that is less."""
    return min(share, 1 - share)


def arm_of(assignment: Assignment, key: str) -> Arm:
    """The arm of a conversation: always the same one while the shares are.

    Raising the share only adds conversations to the candidate. The control comes from the other end, so that it stays
    as it is while there is room; 0 and 1 are exact.
    """
    share, control = assignment.share, assignment.control_share
    if share >= 1:
        return Arm.CANDIDATE
    if share <= 0 and control <= 0:
        return Arm.NEITHER
    place = fraction(assignment.salt, "conversation", key, tag=_TAG)
    if place < share:
        return Arm.CANDIDATE
    return Arm.CONTROL if control > 0 and place >= 1 - control else Arm.NEITHER


def read(folder: Path, now: float) -> Assignment:
    """What is in force at this time (seconds since the epoch); never raises.

    :data:`PRODUCTION` when the file is missing, damaged, of an unknown version or past its time.
    """
    found = stored(folder)
    return found if found is not None and found.holds(now) else PRODUCTION


def stored(folder: Path) -> Assignment | None:
    """What the file says, whether or not it holds; ``None`` when it says nothing that can be understood."""
    try:
        with (folder / FILE).open("rb") as file:
            data = file.read(LARGEST_BYTES + 1)
        return _understood(orjson.loads(data)) if len(data) <= LARGEST_BYTES else None
    except (OSError, ValueError, TypeError, OverflowError):
        return None


def write(folder: Path, assignment: Assignment) -> bool:
    """Replace the file as a whole; whether it was: never by an older event of the rollout that it is about.

    Nor by another rollout that was looked at before the one in force, nor by a larger share that was. Several writers
    take turns.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(folder / f"{FILE}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_newer(stored(folder), assignment):
            return False
        _replace(folder, orjson.dumps({"version": VERSION, **asdict(assignment)}))
        return True
    finally:
        os.close(lock)


def _is_newer(there: Assignment | None, assignment: Assignment) -> bool:
    if there is None:
        return False
    looked_later = there.written_at > assignment.written_at and there.holds(assignment.written_at)
    if there.rollout_id != assignment.rollout_id:
        return looked_later
    if there.number != assignment.number:
        return there.number > assignment.number
    # A halt takes the candidate away without an event, and whoever looked before it must not give it back.
    return looked_later and there.share < assignment.share


def _replace(folder: Path, data: bytes) -> None:
    draft = folder / f"{FILE}.new"
    # The salt is in it, which tells who will be served by whom.
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:  # noqa: PTH123
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / FILE)
    # Otherwise a power cut could bring back what was rolled back.
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _understood(raw: Any) -> Assignment | None:
    if not isinstance(raw, dict) or raw.get("version") != VERSION or isinstance(raw["version"], bool):
        return None
    values: dict[str, Any] = {}
    for field in fields(Assignment):
        value = raw.get(field.name)
        kinds = {float: (int, float), int: (int,), str: (str,)}[field.type]  # type: ignore[index]
        if not isinstance(value, kinds) or isinstance(value, bool):
            return None
        values[field.name] = value
    return Assignment(**values)
