"""People's labels as they are made: which pair comes next, which side stands left, what a choice means."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from harness.config import Experiment
from harness.domain.judgment import Label
from harness.domain.label import HumanLabel, LabelSource, PlannedLabel, Side
from harness.domain.pair import Pair
from harness.errors import ConfigurationError
from harness.ingest.redaction import Redactor
from harness.judging.transcript import model_names
from harness.pipeline.arms import Arm, arms_of
from harness.pipeline.label_plan import LabelPlan, fraction
from harness.pipeline.session import Session
from harness.store import Store
from judges.pairwise import PairwiseJudge

NAME_LIMIT = 60
NOTE_LIMIT = 2_000


class Choice(StrEnum):
    """What a person says who does not know whose answer stands where."""

    LEFT = "left"
    TIE = "tie"
    RIGHT = "right"
    SKIP = "skip"

    def label(self, left: Side) -> Label | None:
        """The verdict from the candidate's side when ``left`` stood left; ``None`` for a skipped pair."""
        if self is Choice.SKIP:
            return None
        if self is Choice.TIE:
            return Label.TIE
        return Label.WIN if (self is Choice.LEFT) == (left == "candidate") else Label.LOSS

    @classmethod
    def of(cls, label: Label | None, left: Side) -> "Choice":
        """The choice that means ``label``."""
        return next(choice for choice in cls if choice.label(left) is label)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far one person has come with the plan."""

    planned: Sequence[PlannedLabel]
    """What is asked, in order."""
    labels: Mapping[str, HumanLabel]
    """What this person said, by exchange."""

    @property
    def labelled(self) -> int:
        """Planned pairs with a verdict."""
        return sum(item is not None and item.label is not None for item in self._said())

    @property
    def skipped(self) -> int:
        """Planned pairs that were passed over."""
        return sum(item is not None and item.label is None for item in self._said())

    @property
    def is_finished(self) -> bool:
        """Whether every planned pair was labelled or skipped."""
        return self.next is None

    @property
    def next(self) -> PlannedLabel | None:
        """The first pair this person has said nothing about."""
        return next((item for item in self.planned if item.exchange_id not in self.labels), None)

    @property
    def oldest_skipped(self) -> PlannedLabel | None:
        """The pair that was skipped longest ago."""
        skipped = [item for item in self.planned if self._is_skipped(item)]
        return min(skipped, key=lambda item: self.labels[item.exchange_id].recorded_at, default=None)

    def place(self, exchange_id: str) -> int | None:
        """Where the pair stands in the plan, from 0; ``None`` when it is not in it."""
        return next((index for index, item in enumerate(self.planned) if item.exchange_id == exchange_id), None)

    def before(self, place: int) -> PlannedLabel | None:
        """The nearest earlier pair this person has said something about."""
        return next((item for item in reversed(self.planned[:place]) if item.exchange_id in self.labels), None)

    def _said(self) -> list[HumanLabel | None]:
        return [self.labels.get(item.exchange_id) for item in self.planned]

    def _is_skipped(self, item: PlannedLabel) -> bool:
        said = self.labels.get(item.exchange_id)
        return said is not None and said.label is None


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """One arm's pairs, as people are asked about them; safe to share between threads."""

    store: Store
    run_id: str
    arm: Arm
    plan: LabelPlan
    criteria: str
    """What makes an answer better, in words: the same as the pairwise judge was told."""
    redactor: Redactor

    @classmethod
    def of(cls, session: Session, arm: Arm, plan: LabelPlan) -> "Labelling":
        """Labelling of an arm whose plan is drawn."""
        return cls(
            store=session.store,
            run_id=session.run_id,
            arm=arm,
            plan=plan,
            criteria=_criteria(session.experiment),
            redactor=Redactor(session.experiment.traffic.redaction),
        )

    def standing(self, labeller: str) -> Standing:
        """Where the person is now, from the store: another process may have made the plan larger."""
        planned = self.store.label_plan(self.run_id, self.arm.name, self.arm.fingerprint)
        labels = self.store.labels(self.run_id, self.arm.name, self.arm.fingerprint)
        return Standing(
            planned=[item for item in planned if item.exchange_id not in self.plan.absent],
            labels={item.exchange_id: item for item in labels if item.labeller == labeller},
        )

    def pair(self, exchange_id: str) -> Pair | None:
        """Both answers; ``None`` when there are no longer two."""
        pairs = self.store.pairs(self.run_id, self.arm.name, self.arm.fingerprint, ids=[exchange_id])
        pair = next(pairs, None)
        return pair if pair is not None and pair.is_comparable else None

    def left(self, exchange_id: str, labeller: str) -> Side:
        """Whose answer stands left for this person: drawn once for the pair and the person, the same ever after."""
        first = fraction("side", self.plan.design.seed, exchange_id, labeller) < 0.5
        return "production" if first else "candidate"

    def names(self, pair: Pair) -> set[str]:
        """What would give away who wrote an answer."""
        names = model_names(pair)
        if self.arm.spec is not None:
            names |= {self.arm.spec.model, self.arm.spec.model.rsplit("/", 1)[-1]}
        return names

    def record(
        self, exchange_id: str, *, labeller: str, choice: Choice, note: str | None, seconds: float | None
    ) -> HumanLabel:
        """Keep what the person said; it is in the store when this returns, in place of what they said before."""
        left = self.left(exchange_id, labeller)
        label = HumanLabel(
            exchange_id=exchange_id,
            arm=self.arm.name,
            observation_fingerprint=self.arm.fingerprint,
            labeller=labeller,
            label=choice.label(left),
            shown_first=left,
            source=LabelSource.PAGE,
            note=note_of(note, self.redactor.twin()),
            seconds=seconds,
            recorded_at=datetime.now(UTC),
        )
        self.store.put_labels(self.run_id, [label])
        return label


def arm_to_label(experiment: Experiment, name: str | None) -> Arm:
    """The arm of that name, or the only candidate.

    Raises:
        ConfigurationError: there is none, or no name is given and several candidates are there.
    """
    arms = arms_of(experiment)
    if name is None and len(experiment.candidates) > 1:
        raise ConfigurationError(f"name the candidate with --arm: {', '.join(arm.name for arm in arms)}")
    found = arms[0] if name is None else next((arm for arm in arms if arm.name == name), None)
    if found is None:
        raise ConfigurationError(
            f"no arm {name!r} in this experiment; available: {', '.join(arm.name for arm in arms)}"
        )
    return found


def arms_with_labels(experiment: Experiment, name: str | None) -> tuple[Arm, ...]:
    """The arm of that name, or all of them."""
    return arms_of(experiment) if name is None else (arm_to_label(experiment, name),)


def labeller_name(text: str) -> str:
    """A person's name as it is kept: spaces folded, in Unicode normal form C.

    Raises:
        ConfigurationError: it is empty, longer than 60 characters, or holds what cannot be seen.
    """
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name or len(name) > NAME_LIMIT or not name.isprintable():
        raise ConfigurationError(f"a labeller's name has 1 to {NAME_LIMIT} visible characters; {text[:80]!r} has not")
    return name


def note_of(text: str | None, redactor: Redactor) -> str | None:
    """A note as it is kept: redacted, at most 2,000 characters, ``None`` when it is empty."""
    cleaned = (text or "").replace("\0", "").replace("\r\n", "\n").strip()
    return redactor.text(cleaned)[:NOTE_LIMIT].rstrip() or None


def _criteria(experiment: Experiment) -> str:
    """The first pairwise judge's own words, else what it would be told by default."""
    told = (section.options.get("criteria") for section in experiment.judges if section.use == PairwiseJudge.name)
    words = next((text for text in told if isinstance(text, str) and text.strip()), None)
    return words or PairwiseJudge.criteria
