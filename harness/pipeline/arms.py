"""Who is asked in an experiment besides production."""

from dataclasses import dataclass
from typing import Any

from harness.config import Candidate, Experiment, Replica
from harness.domain.model import ModelSpec
from harness.domain.observation import REPLICA, ArmRole


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One candidate, or the replica."""

    name: str
    role: ArmRole
    fingerprint: str
    """What its observations are stored under; changes with anything that changes what is asked."""
    title: str
    """What answers: the litellm name, or the files of recorded responses."""
    spec: ModelSpec | None
    """``None`` when the responses were obtained elsewhere."""
    recorded: Candidate | Replica | None = None
    share: float | None = None
    """Part of the requests that is asked; all when ``None``."""

    family: str = ""
    """What counts as the same candidate across attempts; empty for the replica."""


def arms_of(experiment: Experiment) -> tuple[Arm, ...]:
    """The experiment's arms: candidates in their order, then the replica."""
    arms = [
        _arm(candidate, candidate.name, ArmRole.CANDIDATE, family=candidate.family or candidate.name)
        for candidate in experiment.candidates
    ]
    if experiment.replica is not None:
        arms.append(_arm(experiment.replica, REPLICA, ArmRole.REPLICA, share=experiment.replica.share))
    return tuple(arms)


def _arm(section: Candidate | Replica, name: str, role: ArmRole, **more: Any) -> Arm:
    asked = section.model is not None
    return Arm(
        name=name,
        role=role,
        fingerprint=section.fingerprint,
        title=section.title,
        spec=section.spec() if asked else None,
        recorded=None if asked else section,
        **more,
    )
