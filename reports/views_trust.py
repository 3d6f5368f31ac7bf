"""What the page shows of how far its figures can be believed: bounds, objections, judges, people, attempts."""

from dataclasses import dataclass

from reports.views import Badge, Fact, Table
from reports.views_charts import StackPart
from reports.views_strips import RateStrip


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectionView:
    """Why figures that would pass are not believed."""

    title: str
    """What the objection is about, in a few words."""
    sentence: str
    """What speaks against them; empty when it has just been said."""
    remedy: str
    """What to do about it; may be empty."""
    section: str
    """Key of the section that shows it; empty when none does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SureView:
    """How sure a decision is, in plain words, and the terms it was reached by."""

    sentences: tuple[str, ...]
    """The chance of being wrong, and what it covers."""
    terms: tuple[Fact, ...]
    """Profile, alpha, attempt, looks and horizon."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RateView:
    """A win rate counted in one of several ways."""

    title: str
    """The way, in a few words."""
    help: str
    """What it answers."""
    value: str
    """Its value."""
    interval: str
    """Its interval and how sure it is; empty when there is none."""
    sample: str
    """What it rests on."""
    notes: tuple[str, ...]
    """What the estimator remarked, or why there is no value."""
    badge: Badge | None
    """Whether this is the one that decides, or one that does not count."""
    strip: RateStrip | None
    """The drawing; ``None`` without a value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RatesView:
    """The win rate by one judge, counted in every way."""

    caption: str
    """What is shown, and how to read the drawings."""
    rows: tuple[RateView, ...]
    """The ways, the judge's own first."""
    length: str
    """What length does to this judge's verdicts; may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckView:
    """One check of a judge."""

    badge: Badge
    """What it says."""
    title: str
    """What was checked."""
    sentence: str
    """What was seen."""
    remedy: str
    """What to do about it; may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BandView:
    """Flips on pairs of a certain likeness."""

    band: str
    """Similarity of the two answers, in words."""
    pairs: str
    """Pairs read in both orders."""
    flips: str
    """Flips, with their share."""
    width: float
    """Share of flips in percent of the bar."""
    first: str
    """How often the answer shown first was preferred."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AgreementView:
    """One judge beside people on the same pairs."""

    sentence: str
    """How often they agree, and what that is worth."""
    facts: tuple[Fact, ...]
    """Accuracy, kappa and bias with their intervals."""
    confusion: Table | None
    """People's verdicts by row, the judge's by column."""
    bias: str
    """What the bias does to the judge's own rate; empty when it is not known."""
    is_void: bool
    """Whether the judge's own rate is void."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeHealthView:
    """Everything known about how far one judge can be believed."""

    judge: str
    """Its name."""
    model: str
    """The models it asks; empty when it asks none."""
    badge: Badge
    """Usable or not."""
    sentence: str
    """Why."""
    checks: tuple[CheckView, ...]
    """What was checked; what fails first."""
    bands: tuple[BandView, ...]
    """Flips by similarity, most different answers first; empty when not known."""
    agreement: AgreementView | None
    """The judge beside people; ``None`` when nobody labelled a pair it scored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PeopleView:
    """What people said about this candidate's pairs."""

    facts: tuple[Fact, ...]
    """Pairs labelled, labellers, how the pairs were drawn; empty when nobody labelled."""
    parts: tuple[StackPart, ...]
    """Wins, ties and losses; empty when nobody labelled."""
    title: str
    """The bar's accessible name."""
    sentences: tuple[str, ...]
    """What the labels do, or would do."""
    command: str
    """What to type to label more."""
