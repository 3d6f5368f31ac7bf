"""Pairs in full, as values: templates compute nothing.

Every field is documented, and a test holds that. Text in the fields is still untrusted: the template environment makes
it visible and escapes it.
"""

from dataclasses import dataclass

from reports.diff import Run
from reports.marked import Piece
from reports.views import Badge, Fact, MessageView, Table


@dataclass(frozen=True, kw_only=True, slots=True)
class CallView:
    """One tool that an answer calls, held against the other side's."""

    name: str
    """The tool."""
    badge: Badge | None
    """How it compares; ``None`` where the other side gave no answer to compare with."""
    runs: tuple[Run, ...]
    """Its arguments, keys sorted; what the other side does not have is marked."""
    note: str
    """What differs, or was cut; may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerView:
    """One side of an example."""

    side: str
    """``production`` or ``candidate``."""
    label: str
    """Heading."""
    kind: str
    """``prose``, ``json`` or ``markdown``: as what the text is shown."""
    runs: tuple[Run, ...]
    """The text as prose or JSON; what the other side does not have is marked."""
    pieces: tuple[Piece, ...]
    """The text as Markdown, marked alike; empty for other kinds."""
    source: str
    """The text as it came, where it is shown as something else; empty otherwise."""
    empty: str
    """What stands in place of a missing text; empty when there is one."""
    error: str
    """The failure; empty when it completed."""
    refusal: str
    """The refusal; may be empty."""
    calls: tuple[CallView, ...]
    """Tools called: name and arguments."""
    facts: tuple[Fact, ...]
    """Latency, tokens, cost."""
    note: str
    """What was cut; may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExampleView:
    """One pair in full."""

    anchor: str
    """Id to link to: of the pair, whatever it is shown for."""
    title: str
    """What was asked, on one line."""
    id: str
    """The exchange."""
    why: Badge
    """The reason it is shown for."""
    score: str
    """The score it is sorted by; may be empty."""
    tags: tuple[str, ...]
    """Slices it belongs to, or its tags."""
    messages: tuple[MessageView, ...]
    """The conversation."""
    conversation: str
    """Heading of the conversation."""
    messages_note: str
    """What was left out of it; may be empty."""
    answers: tuple[AnswerView, ...]
    """Production, then the candidate."""
    notes: tuple[str, ...]
    """How the answers compare where marks alone do not tell."""
    judgments: Table | None
    """What every judge said in each order."""
    is_open: bool
    """Whether it is unfolded at first."""
    is_same: bool
    """Whether both sides answered the same."""
    has_source: bool
    """Whether an answer is shown as something else than its characters."""
    slices: str
    """Numbers of its slices among the filter's, separated by spaces."""
    verdicts: str
    """``judge:label`` by the filter's numbers of judges, separated by spaces; ``-:failed`` for a failure."""
    rank: int
    """Its place by regression, from 0."""
    slower: int
    """Milliseconds the candidate took longer, negative when it was faster, 0 when unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OptionView:
    """One choice of a filter."""

    value: str
    """Its number, or the label."""
    key: str
    """Its name in the address of a filtered view."""
    title: str
    """How it is called, with its number of examples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OptionGroup:
    """Choices that belong together."""

    title: str
    """The attribute."""
    options: tuple[OptionView, ...]
    """Its values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExamplesView:
    """The pairs of one candidate, and what they can be filtered by."""

    intro: str
    """How many are shown out of how many, and how they were chosen; empty without any."""
    beside: str
    """Where the other pairs are; empty without any."""
    left_out: str
    """Why fewer are shown than were chosen; may be empty."""
    empty: str
    """What stands in place of examples; empty when there are some."""
    slices: tuple[OptionGroup, ...]
    """Choices of the filter by slice."""
    judges: tuple[OptionView, ...]
    """Choices of the filter by judge."""
    labels: tuple[OptionView, ...]
    """Choices of the filter by label."""
    different: tuple[ExampleView, ...]
    """Pairs whose answers differ, the worst for the candidate first."""
    same: tuple[ExampleView, ...]
    """Pairs whose answers are the same."""
    same_title: str
    """Heading over them; empty when there are none."""

    @property
    def shown(self) -> tuple[ExampleView, ...]:
        """All of them in order."""
        return self.different + self.same
