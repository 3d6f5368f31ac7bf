"""What the first screen says beside the verdict: the biggest risk, and what a month costs."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class RiskView:
    """The one thing to worry about most, if the candidate took over."""

    title: str
    """What kind of worry it is, in a few words."""
    sentence: str
    """What was seen, with the numbers."""
    section: str
    """Section of the candidate's part that shows it, without its prefix."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MonthView:
    """What a month of production's traffic costs on either side."""

    candidate: str
    """On the candidate; ``unknown`` when it is not known."""
    interval: str
    """From what to what; empty without an interval."""
    production: str
    """On production; ``unknown`` when it is not known."""
    assumption: str
    """What the month assumes, or why there is no figure."""
