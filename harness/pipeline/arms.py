"""Who is asked in an experiment besides production."""

from dataclasses import dataclass

from harness.config import Candidate, Experiment, spec_fingerprint
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
    recorded: Candidate | None = None
    share: float | None = None
    """Part of the requests that is asked; all when ``None``."""


def arms_of(experiment: Experiment) -> tuple[Arm, ...]:
    """The experiment's arms: candidates in their order, then the replica."""
    arms = [_candidate(candidate) for candidate in experiment.candidates]
    replica = experiment.replica
    if replica is not None:
        spec = replica.spec()
        arms.append(
            Arm(
                name=REPLICA,
                role=ArmRole.REPLICA,
                fingerprint=spec_fingerprint(spec),
                title=replica.model,
                spec=spec,
                share=replica.share,
            )
        )
    return tuple(arms)


def _candidate(candidate: Candidate) -> Arm:
    asked = candidate.model is not None
    return Arm(
        name=candidate.name,
        role=ArmRole.CANDIDATE,
        fingerprint=candidate.fingerprint,
        title=candidate.model if candidate.model is not None else ", ".join(candidate.responses or ()),
        spec=candidate.spec() if asked else None,
        recorded=None if asked else candidate,
    )
