"""How far people have come with labelling, and how much they agree."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from harness.domain.judgment import Label
from harness.domain.label import HumanLabel
from harness.pipeline.arms import Arm
from harness.pipeline.session import Session


@dataclass(frozen=True, kw_only=True)
class LabellerStatus:
    """One person's labels on one arm."""

    labeller: str
    planned_done: int
    """Planned pairs this person labelled or skipped."""
    labelled: int
    """Labels in all, imported ones and those outside the plan included; skipped pairs are none."""
    skipped: int
    wins: int
    """For the candidate."""
    ties: int
    losses: int


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How often two people gave the same label."""

    labellers: tuple[str, str]
    n: int
    """Pairs both labelled."""
    equal: int

    @property
    def share(self) -> float | None:
        """``equal`` of ``n``; ``None`` without a pair."""
        return self.equal / self.n if self.n else None


@dataclass(frozen=True, kw_only=True)
class ArmStatus:
    """Labels on one arm's answers."""

    arm: str
    planned: int
    design: str | None
    """How the plan was drawn; ``None`` when there is none."""
    pairs_labelled: int
    """Pairs with at least one label."""
    labellers: tuple[LabellerStatus, ...]
    agreement: tuple[Agreement, ...]
    """Of every two people who labelled a pair in common."""


def status_of(session: Session, arm: Arm) -> ArmStatus:
    """Everything about the arm's labels that fits on a line per person."""
    plan = session.store.label_plan(session.run_id, arm.name, arm.fingerprint)
    labels = session.store.labels(session.run_id, arm.name, arm.fingerprint)
    planned = {item.exchange_id for item in plan}
    by_person: defaultdict[str, list[HumanLabel]] = defaultdict(list)
    for label in labels:
        by_person[label.labeller].append(label)
    return ArmStatus(
        arm=arm.name,
        planned=len(plan),
        design=plan[0].design if plan else None,
        pairs_labelled=len({label.exchange_id for label in labels if label.label is not None}),
        labellers=tuple(_person(name, said, planned) for name, said in sorted(by_person.items())),
        agreement=agreement(labels),
    )


def agreement(labels: Sequence[HumanLabel]) -> tuple[Agreement, ...]:
    """How often every two people agree on the pairs that both labelled; skipped pairs are left out."""
    said: defaultdict[str, dict[str, Label]] = defaultdict(dict)
    for item in labels:
        if item.label is not None:
            said[item.labeller][item.exchange_id] = item.label
    found = []
    for left, right in combinations(sorted(said), 2):
        both = said[left].keys() & said[right].keys()
        if both:
            equal = sum(said[left][key] is said[right][key] for key in both)
            found.append(Agreement(labellers=(left, right), n=len(both), equal=equal))
    return tuple(found)


def _person(name: str, said: Sequence[HumanLabel], planned: set[str]) -> LabellerStatus:
    counts = Counter(item.label for item in said)
    return LabellerStatus(
        labeller=name,
        planned_done=sum(item.exchange_id in planned for item in said),
        labelled=len(said) - counts[None],
        skipped=counts[None],
        wins=counts[Label.WIN],
        ties=counts[Label.TIE],
        losses=counts[Label.LOSS],
    )
