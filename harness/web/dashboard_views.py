"""What the dashboard's pages are given; templates compute nothing.

Every field is documented, and a test holds that. Text in the fields is still untrusted: the template environment makes
it visible and escapes it.
"""

from dataclasses import dataclass

from markupsafe import Markup

from reports.views import Badge, Fact, FunnelStep, Table
from reports.views_examples import ExampleView
from reports.views_page import CriterionView
from reports.views_sequence import SequenceView


@dataclass(frozen=True, kw_only=True, slots=True)
class PartView:
    """One part of a page, which is renewed by itself."""

    name: str
    """Unique within the page."""
    html: Markup
    """One element, already written by its own template."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NavItem:
    """One entry of the contents."""

    title: str
    """What it says."""
    href: str
    """Where it leads: an anchor of the page."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionView:
    """One thing somebody with the token may do."""

    value: str
    """What is sent."""
    title: str
    """What the button says."""
    what: str
    """What comes of it."""
    is_final: bool
    """Whether it cannot be undone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FormView:
    """A form of somebody who has shown the token."""

    title: str
    """Heading."""
    action: str
    """Where it is sent."""
    csrf: str
    """Proof that the form is ours."""
    subject: str
    """Which rollout or live experiment it is about."""
    buttons: tuple[ActionView, ...]
    """What can be done."""
    asks_reason: bool
    """Whether a name and a reason are asked for, and recorded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameView:
    """What every page has around its parts."""

    title: str
    """Title of the window."""
    page: str
    """The page's own address, by which it is told what is new; empty where nothing is told."""
    version: str
    """Which version of it this is."""
    parts: tuple[PartView, ...]
    """In order."""
    contents: tuple[NavItem, ...]
    """Leads to the parts."""
    announced: str
    """The verdicts in a few words, for those who do not look."""
    at: str
    """When it last changed."""
    problem: str
    """Why it is not up to date; empty when it is."""
    store: str
    """The store it is read from, without a password."""
    is_home: bool
    """Whether it is the overview."""
    can_log_in: bool
    """Whether there is a token to show."""
    is_in: bool
    """Whether it was shown."""
    login_url: str
    """Where it can be shown."""
    csrf: str
    """Proof that the form for leaving is ours; empty when nobody is in."""
    said: str
    """What came of what was done last; may be empty."""
    forms: tuple[FormView, ...]
    """What can be done here; empty for those who may only read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunCard:
    """One run on the overview."""

    href: str
    """Its page."""
    id: str
    """Its id."""
    badges: tuple[tuple[str, Badge], ...]
    """Candidate and what its decision says so far."""
    undecided: str
    """What stands in place of them; empty when something was decided."""
    sentence: str
    """The decision in a sentence, of the only candidate; may be empty."""
    facts: tuple[Fact, ...]
    """Kind, stage, requests, when."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutCard:
    """One rollout on the overview."""

    href: str
    """Its page."""
    title: str
    """Whose rollout on which live experiment."""
    badge: Badge
    """The status."""
    sentence: str
    """Where it stands."""
    next: str
    """What it waits for; may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OverviewView:
    """All runs and rollouts."""

    rollouts: tuple[RolloutCard, ...]
    """By live experiment."""
    runs: tuple[RunCard, ...]
    """Worked on last comes first."""
    note: str
    """How many there are."""
    alerts: tuple["AlertView", ...]
    """What holds now, of live experiments whose files were given."""
    alerts_note: str
    """What is known of alerts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateHead:
    """One candidate's decision so far."""

    arm: str
    """Its name."""
    anchor: str
    """Id to link to."""
    model: str
    """What answers."""
    badge: Badge
    """The verdict."""
    sentence: str
    """The decision in a sentence."""
    reasons: tuple[str, ...]
    """Most decisive first."""
    needed: str
    """What it still needs; may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunHead:
    """The first part of a run's page."""

    title: str
    """Name of the experiment."""
    overline: str
    """What kind of run, and its id."""
    candidates: tuple[CandidateHead, ...]
    """In the order of the experiment."""
    undecided: str
    """What is said while nothing was decided; empty otherwise."""
    facts: tuple[Fact, ...]
    """Stage, counts, times."""
    notices: tuple[str, ...]
    """What a reader must not miss."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CriteriaView:
    """One candidate's criteria: now, and over time."""

    arm: str
    """The candidate."""
    anchor: str
    """Id to link to."""
    criteria: tuple[CriterionView, ...]
    """As decided last."""
    criteria_note: str
    """How to read the drawings."""
    sequences: tuple[SequenceView, ...]
    """One per criterion with at least two looks."""
    sequences_note: str
    """How to read them, or why there are none."""
    looks: Table | None
    """The newest looks as a table; ``None`` without any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FunnelView:
    """One arm's way from the request to the scored pair."""

    title: str
    """Whose."""
    funnel: tuple[FunnelStep, ...]
    """Stages in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CoverageView:
    """Where the requests went."""

    shared: FunnelView | None
    """From the gateway to the store; ``None`` for an export, or where it is not known."""
    arms: tuple[FunnelView, ...]
    """By arm."""
    note: str
    """What is not known; may be empty."""
    problems: tuple[str, ...]
    """Sums that do not add up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpendView:
    """Money spent against what may be spent."""

    facts: tuple[Fact, ...]
    """Totals."""
    table: Table
    """By purse: spent, limit, share."""
    note: str
    """What is not in the sums; may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertView:
    """A condition that needs a person."""

    kind: str
    """Which, in words."""
    subject: str
    """Whom it is about; may be empty."""
    text: str
    """What was seen, and what to do."""
    since: str
    """Since when it is known to hold; may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessView:
    """Gateway, worker and the breakers of the candidates."""

    facts: tuple[Fact, ...]
    """What each process says of itself, or that it is not known."""
    breakers: Table | None
    """By candidate; ``None`` where the worker is not known."""
    alerts: tuple[AlertView, ...]
    """What holds now."""
    alerts_note: str
    """What is known of alerts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairLine:
    """One pair on the way in."""

    key: str
    """Stable name of the line, which says nothing about the exchange."""
    at: str
    """When its candidate's ending was stored."""
    arm: str
    """Whose answer."""
    href: str
    """The pair in full; empty for readers who may not."""
    title: str
    """What was asked, or the line's name for those who may not read it."""
    status: Badge
    """How the candidate's call ended."""
    why: str
    """Why it is not completed; may be empty."""
    latency: str
    """The candidate's and production's."""
    verdicts: tuple[tuple[str, Badge], ...]
    """Judge, and what it said in one order."""
    unjudged: str
    """What stands in place of them; empty where there is nothing to judge."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairsView:
    """Pairs as they arrive."""

    lines: tuple[PairLine, ...]
    """Newest first."""
    note: str
    """What is shown, and who may read more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ControllerView:
    """What the controller of a rollout says."""

    facts: tuple[Fact, ...]
    """Its role, its claim, its problems."""
    checks: Table | None
    """The questions at its last look, with their answers; ``None`` where they are not known."""
    note: str
    """What is known; may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairPage:
    """One pair in full."""

    title: str
    """Title of the page."""
    back_url: str
    """The run's page."""
    back: str
    """What it is called."""
    pair: ExampleView
    """The pair as reports show it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoginPage:
    """Asks for the token."""

    title: str
    """Title of the window."""
    problem: str
    """What was wrong with the one given; may be empty."""
    next: str
    """Where to go on: an address of this server."""
    csrf: str
    """Proof that the form is ours."""
    can_log_in: bool
    """Whether there is a token to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NoticePage:
    """Something could not be done."""

    title: str
    """What, in a few words."""
    text: str
    """What happened and what to do."""
    back_url: str
    """Where to go on."""
    back: str
    """What is there."""
