"""The page of a rollout as a value: the template gets one RolloutView and computes nothing.

Every field is documented, and a test holds that. Text in the fields is still untrusted: the template environment makes
it visible and escapes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from reports.views import Badge, Fact, Table
from reports.views_ramp import RampView


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkView:
    """Something to follow."""

    text: str
    """What it says."""
    href: str
    """Where it leads; checked to be harmless."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HashView:
    """A hash, short enough to read."""

    label: str
    """Of what."""
    short: str
    """Its beginning."""
    full: str
    """All of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseRow:
    """One phase as planned and as it went."""

    number: str
    """Its place, from 1."""
    name: str
    """Its name."""
    what: str
    """Whose requests the candidate gets in it."""
    plan: tuple[str, ...]
    """Least evidence, bake, limit, gate, approval: one line each."""
    reached: str
    """When it began; empty when it has not."""
    went: tuple[str, ...]
    """How long it ran, stood still, and what evidence it had: one line each."""
    badge: Badge
    """What became of it."""
    sentence: str
    """What let it pass, ended it or keeps it; may be empty."""
    by: LinkView | None
    """The event it ended with; ``None`` when it has not, or the event is not on the page."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckView:
    """One question and its answer."""

    name: str
    """Its name in the history."""
    title: str
    """The same in words."""
    badge: Badge
    """Whether it objected, and what it called for."""
    sentence: str
    """The answer."""
    figures: str
    """The numbers behind it; may be empty."""
    decided: bool
    """Whether it is the one that the event came of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EventView:
    """One entry of the timeline."""

    anchor: str
    """Id to link to."""
    number: str
    """Its number in the history."""
    badge: Badge
    """What happened."""
    where: str
    """The phase, or from which to which."""
    at: str
    """When, to the second."""
    actor: str
    """Who did it."""
    reason: str
    """Why."""
    notes: tuple[str, ...]
    """What follows from it, and what is odd about it."""
    decision: str
    """The decision on the shadow pairs at that time; may be empty."""
    run: LinkView | None
    """The report of the run it was made in."""
    checks: tuple[CheckView, ...]
    """What was asked of the evidence, in order."""
    checks_title: str
    """How many there were, and how many objected."""
    hashes: tuple[HashView, ...]
    """Of evidence and configuration, as recorded."""
    is_open: bool
    """Whether its checks are unfolded at first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunView:
    """The report of a run, and pairs in it."""

    title: str
    """Which run."""
    link: LinkView | None
    """Its report; ``None`` when its address cannot be followed safely."""
    pairs: tuple[LinkView, ...]
    """Pairs shown in it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutProvenance:
    """How to check the page."""

    facts: tuple[Fact, ...]
    """Ids, hashes, dates."""
    configuration: str
    """The configuration the rollout was started with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutView:
    """One page."""

    title: str
    """Whom it is about."""
    overline: str
    """What kind of page, which rollout, when it was looked at."""
    badge: Badge
    """The status."""
    sentence: str
    """Where it stands and why, in plain words."""
    next: str
    """What it waits for or what follows; may be empty."""
    warnings: tuple[str, ...]
    """What a reader must not miss."""
    facts: tuple[Fact, ...]
    """Numbers of the first screen."""
    ramps: tuple[RampView, ...]
    """The same picture for a wide and a narrow page; empty when no time has passed."""
    ramp_note: str
    """How to read it."""
    ramp_table: Table
    """The same as a table."""
    phases: tuple[PhaseRow, ...]
    """In order."""
    events: tuple[EventView, ...]
    """Newest first."""
    events_note: str
    """How many there are, and what is left out of the page."""
    approvals: Table | None
    """Who was asked and who agreed; ``None`` when nobody was."""
    approvals_note: str
    """Who may agree and for how long that holds."""
    affected: Table | None
    """Conversations by phase and arm; ``None`` when none is recorded."""
    affected_note: str
    """What is counted, or that nothing is recorded."""
    spend: Table | None
    """By phase; ``None`` when nothing is recorded."""
    spend_facts: tuple[Fact, ...]
    """Spent and budget."""
    alpha_facts: tuple[Fact, ...]
    """The attempt and what it may spend."""
    alpha: Table
    """By test."""
    alpha_note: str
    """What the amounts mean."""
    actions: Table | None
    """Hooks, actuators and alerts; ``None`` when none is recorded."""
    actions_open: bool
    """Whether they are unfolded at first."""
    actions_note: str
    """How many there are, or that none is recorded."""
    runs: tuple[RunView, ...]
    """Reports of runs that decisions were made in."""
    glossary: tuple[tuple[str, Fact], ...]
    """Anchor, and word with its meaning."""
    terms: Mapping[str, tuple[LinkView, ...]]
    """By section: the words it uses, as links into the glossary."""
    provenance: RolloutProvenance
    """How to check the page."""
    footer: str
    """Version and schema."""
