"""Which rows say something about which question."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from harness.domain.observation import ErrorKind
from harness.stats.evidence import ArmColumns, Bools, Evidence, Floats

_SETUP = tuple(kind.value for kind in ErrorKind if kind.is_setup)
_SETUP_ALONE = tuple(kind.value for kind in ErrorKind if kind.is_setup_alone)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Who was asked and what came of it, one entry per sampled exchange."""

    production_asked: Bools
    both_asked: Bools
    """Both arms have an ending that says something about them: an answer, or an error of their own."""
    production_answered: Bools
    both_answered: Bools
    candidate_failed: Bools
    """The candidate's own error where production was asked; errors of our set-up are no evidence."""
    production_failed: Bools
    """Production's error where the candidate has an ending that says something about it."""

    @classmethod
    def of(cls, evidence: Evidence) -> "Rows":
        """The rows of one arm's evidence."""
        production, candidate = evidence.production, evidence.candidate
        alone = _failed_by(candidate, _SETUP_ALONE)
        heard = candidate.completed | (candidate.failed & ~alone)
        setup = _failed_by(candidate, _SETUP) if heard.any() else alone
        asked = production.completed | production.failed
        failed = candidate.failed & ~setup
        return cls(
            production_asked=asked,
            both_asked=asked & (candidate.completed | failed),
            production_answered=production.completed,
            both_answered=production.completed & candidate.completed,
            candidate_failed=asked & failed,
            production_failed=production.failed & (candidate.completed | failed),
        )

    @property
    def settled(self) -> Bools:
        """Rows on which a failure says who did better, whatever a judge would say."""
        return np.asarray(self.candidate_failed | self.production_failed, dtype=np.bool_)

    @property
    def worth(self) -> Floats:
        """What a settled row is worth: 0 when the candidate alone failed, 1 when production did, else 0.5."""
        return (1.0 + self.production_failed - self.candidate_failed.astype(np.float64)) / 2


def _failed_by(arm: ArmColumns, kinds: Collection[str]) -> Bools:
    """Rows that failed with an error of one of the ``kinds``; failures are few, so only they are looked at."""
    failed = np.flatnonzero(arm.failed)
    found = np.zeros(len(arm.failed), dtype=np.bool_)
    found[failed] = [kind in kinds for kind in arm.error_kind[failed]]
    return found
