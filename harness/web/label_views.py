"""What the label pages are given; templates compute nothing."""

from dataclasses import dataclass

from reports.views import Fact, MessageView


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgressView:
    """How far a person has come."""

    labeller: str
    """Whose progress it is."""
    done: int
    """Pairs labelled or skipped."""
    planned: int
    """Pairs in all."""
    text: str
    """The same in words."""
    name_url: str
    """Where to give another name; empty when the name is fixed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerColumn:
    """One of the two answers, without a word about who gave it."""

    side: str
    """``left`` or ``right``."""
    title: str
    """Heading."""
    text: str
    """What the user read."""
    refusal: str
    """The refusal; may be empty."""
    empty: str
    """What stands in place of a missing text; empty when there is one."""
    calls: tuple[Fact, ...]
    """Tools called: name and arguments."""
    note: str
    """What was cut; may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceButton:
    """One way to answer."""

    value: str
    """What is sent."""
    title: str
    """What the button says."""
    key: str
    """The key that is shown on it."""
    shortcuts: str
    """All its keys, as assistive technology is told them."""
    is_current: bool
    """Whether this is what the person said before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairPage:
    """One pair to label, or to label again."""

    title: str
    """Title of the window."""
    progress: ProgressView
    """How far the person has come."""
    criteria: str
    """What makes an answer better."""
    place: str
    """Which pair this is, in words."""
    status: str
    """What was said before, about this pair or the one before it; may be empty."""
    is_correction: bool
    """Whether this pair has a label already."""
    back_url: str
    """The pair before; empty when there is none."""
    earlier: tuple[MessageView, ...]
    """The conversation up to the last question."""
    earlier_title: str
    """What is in it, in words."""
    earlier_open: bool
    """Whether it is short enough to be shown unfolded."""
    latest: tuple[MessageView, ...]
    """The last question and what followed it."""
    tools: str
    """Names of the tools the assistant could call; may be empty."""
    answers: tuple[AnswerColumn, AnswerColumn]
    """Left and right."""
    equal: str
    """A word on two answers that are the same; empty otherwise."""
    choices: tuple[ChoiceButton, ...]
    """Left, tie, right."""
    skip: ChoiceButton
    """The way past it."""
    note: str
    """The note kept with the label before; may be empty."""
    note_limit: int
    """Characters a note may have."""
    pair: str
    """Which pair the form is about."""
    shown_at: str
    """When the page was made, Unix seconds."""
    csrf: str
    """Proof that the form is ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedPage:
    """Nothing is left to label."""

    title: str
    """Title of the window."""
    progress: ProgressView
    """How far the person has come."""
    lead: str
    """What is done, in a sentence."""
    back_url: str
    """The last pair, to correct it; empty when there is none."""
    skipped_url: str
    """The pair skipped longest ago; empty when none was."""
    skipped: str
    """How many were skipped, in words."""
    commands: tuple[Fact, ...]
    """What to run next, and what for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NamePage:
    """Asks who is labelling."""

    title: str
    """Title of the window."""
    problem: str
    """What was wrong with the name given; may be empty."""
    name: str
    """The name given before; may be empty."""
    limit: int
    """Characters a name may have."""
    csrf: str
    """Proof that the form is ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MessagePage:
    """Something could not be done."""

    title: str
    """Title of the window, and heading."""
    text: str
    """What happened and what to do."""
