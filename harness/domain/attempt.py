"""The ledger that keeps retrying from being a way to a wrong GO."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One try of a candidate family at a GO; every try spends a part of the family's alpha."""

    family: str
    fingerprint: str
    """Of the candidate: what was asked."""
    sequence: str
    """Of the traffic: going on with a larger sample of the same export is the same attempt."""
    number: int
    """From 1, in the order in which attempts began."""
    arm: str
    run_id: str
    alpha: float
    """One-sided chance of a wrong PASS this attempt may spend."""
    begun_at: datetime
    decided_at: datetime | None = None
    verdict: str | None = None
    n_pairs: int | None = None
