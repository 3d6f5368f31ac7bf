"""One ruling's subject, and what its questions share."""

import math
from dataclasses import dataclass
from datetime import datetime

from harness.config.rollout import Rollout
from harness.domain.decision import Decision
from harness.domain.estimate import Estimate, Unit
from harness.domain.formatting import format_value
from harness.domain.rollout import Phase, RolloutState, RolloutStatus
from harness.rollout.evidence import RolloutEvidence


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Everything a question may look at."""

    state: RolloutState
    evidence: RolloutEvidence
    policy: Rollout
    now: datetime

    @property
    def phase(self) -> Phase:
        """The phase in force."""
        return self.state.phase

    @property
    def serves(self) -> bool:
        """Whether users see the candidate's answers in it."""
        return self.state.phase.kind.serves_users

    @property
    def held_s(self) -> float:
        """Seconds since it went on hold; 0 when it is not."""
        held = self.state.status is RolloutStatus.HOLD
        return (self.now - self.state.since).total_seconds() if held else 0.0

    @property
    def decision(self) -> Decision | None:
        """The decision on its pairs."""
        return self.evidence.decisions.get(self.state.phase.name)


def holds_always(estimate: Estimate, level: float) -> bool:
    """Whether it has a value, and bounds that hold at every look with the confidence that is asked for."""
    known = estimate.value is not None and not math.isnan(estimate.value) and estimate.n > 0
    return known and estimate.looks == "any" and estimate.level >= level - 1e-9


def margin_in_words(margin: float, unit: Unit) -> str:
    """``the margin is 1.2x``."""
    return f"the margin is {format_value(margin, unit, trim=True)}"
