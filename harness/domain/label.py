"""What people say about pairs, and by which plan they were asked."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from harness.domain.judgment import Label

Side = Literal["production", "candidate"]


class LabelSource(StrEnum):
    """How a label came in."""

    PAGE = "page"
    IMPORT = "import"


@dataclass(frozen=True, kw_only=True, slots=True)
class HumanLabel:
    """One person's verdict on one pair."""

    exchange_id: str
    arm: str
    observation_fingerprint: str
    """Fingerprint of the labelled Observation: a new answer needs a new label."""
    labeller: str
    """Who said so, by a name of their own choice."""
    label: Label | None
    """From the candidate's side; ``None`` when the person skipped the pair."""
    recorded_at: datetime
    shown_first: Side | None = None
    """Whose answer stood left; ``None`` when that is not known."""
    probability: float | None = None
    """Chance this pair had to be labelled, where the file it came from says so; the plan's own is in the plan."""
    source: LabelSource = LabelSource.PAGE
    note: str | None = None
    seconds: float | None = None
    """From being shown to being labelled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedLabel:
    """A pair that was drawn to be labelled, before anybody saw it."""

    exchange_id: str
    rank: int
    """Place in the random order in which pairs are shown, from 0: any beginning of it is itself a random draw."""
    probability: float
    """Chance the pair had to be drawn, 0 to 1."""
    design: str
    """How it was drawn, in words that name the seed: ``uniform, seed 0``."""
