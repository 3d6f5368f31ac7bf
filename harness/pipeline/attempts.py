"""The ledger: every further attempt of a candidate family gets a smaller part of its alpha."""

from datetime import UTC, datetime

from harness.domain.attempt import Attempt
from harness.domain.observation import ArmRole
from harness.pipeline.arms import Arm, arms_of
from harness.pipeline.session import Session
from harness.stats import multiplicity


def family_of(session: Session, arm: Arm) -> str:
    """What counts as one candidate in the ledger: experiments of another name are another question."""
    return f"{session.experiment.name}/{arm.family}"


def begin_all(session: Session) -> None:
    """Enter every candidate that has been heard of into the ledger, unless it is there."""
    for arm in arms_of(session.experiment):
        if arm.role is ArmRole.CANDIDATE and session.store.was_asked(session.run_id, arm.name, arm.fingerprint):
            session.store.begin_attempt(
                family=family_of(session, arm),
                fingerprint=arm.fingerprint,
                sequence=session.experiment.sequence,
                arm=arm.name,
                run_id=session.run_id,
                alpha_of=lambda number: _alpha(session, number),
            )


def of(session: Session, arm: Arm) -> Attempt:
    """This candidate's attempt as it is entered, or as it would be; writes nothing.

    The ledger keeps what an attempt was given when it began. A changed alpha of the experiment counts for attempts that
    have not begun.
    """
    family, sequence = family_of(session, arm), session.experiment.sequence
    entered = session.store.attempts(family)
    for attempt in entered:
        if (attempt.fingerprint, attempt.sequence) == (arm.fingerprint, sequence):
            return attempt
    number = len(entered) + 1
    return Attempt(
        family=family,
        fingerprint=arm.fingerprint,
        sequence=sequence,
        number=number,
        arm=arm.name,
        run_id=session.run_id,
        alpha=_alpha(session, number),
        begun_at=datetime.now(UTC),
    )


def _alpha(session: Session, number: int) -> float:
    rules = session.experiment.decision
    return multiplicity.spent(number, alpha=rules.alpha) if rules.spend_across_attempts else rules.alpha
