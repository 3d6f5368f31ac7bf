"""The part of the store that rollouts are kept in."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from harness.domain.rollout import Event
from harness.domain.served import Served
from harness.store import control, rollouts, served
from harness.store.connection import Database
from harness.store.control import RolloutAction, RolloutControl
from harness.store.rollouts import RolloutRecord


class RolloutStore:
    """Rollouts with their histories, what their arms answered, who controls them and what was done about it.

    Nothing here is removed with a run.
    """

    _database: Database

    def create_rollout(self, record: RolloutRecord, first: Event) -> None:
        """Enter a rollout with the first event of its history, unless its live experiment has an active one.

        Raises:
            InputError: it has one, or the id is taken.
        """
        self._database.writing(rollouts.create, record, first)

    def append_event(self, event: Event) -> None:
        """Add the next event to a rollout's history; of two that append the same number one fails.

        Raises:
            EventRefusedError: the number is taken or not the next.
            InputError: there is no such rollout.
        """
        self._database.writing(rollouts.append, event)

    def rollout(self, rollout_id: str) -> RolloutRecord | None:
        """The rollout, or ``None``."""
        return self._database.reading(rollouts.load, rollout_id)

    def rollouts(self, live: str) -> list[RolloutRecord]:
        """Every rollout of this live experiment, oldest first."""
        return self._database.reading(rollouts.of_live, live)

    def rollout_events(self, rollout_id: str) -> list[Event]:
        """The rollout's history, oldest first."""
        return self._database.reading(rollouts.events, rollout_id)

    def active_rollout(self, live: str) -> RolloutRecord | None:
        """The rollout of this live experiment that has not ended."""
        return self._database.reading(rollouts.active, live)

    def latest_rollout(self, live: str) -> RolloutRecord | None:
        """The active rollout of this live experiment, else the one that ended last: it says who serves."""
        return self._database.reading(rollouts.latest, live)

    def last_ended_rollout(self, fingerprint: str) -> RolloutRecord | None:
        """The rollout of this candidate's artefact that ended last, for the cool-down."""
        return self._database.reading(rollouts.last_ended, fingerprint)

    # What the arms answered

    def put_served(self, items: Sequence[Served]) -> None:
        """Insert requests; one that is there already stays as it was, with the moment it was first stored."""
        prepared = served.prepare(items)
        self._database.writing(served.put, prepared)
        self._database.wrote(len(items))

    def served(self, rollout_id: str, *, stored_from: datetime | None = None) -> Iterator[tuple[Served, datetime]]:
        """The rollout's requests, each with the moment it was stored, in that order.

        What is stored later has a later moment, on whatever machine: who reads again from the last moment they saw gets
        the requests of that moment once more, and misses none.
        """
        return served.read(self._database, rollout_id, stored_from)

    # Who controls it

    def claim_rollout(self, rollout_id: str, holder: str, *, now: datetime, lease_s: float) -> bool:
        """Hold the rollout until a lease from now; false while another holds it. Of two at once exactly one gets it."""
        return self._database.writing(control.claim, rollout_id, holder, now=now, lease_s=lease_s)

    def release_rollout(self, rollout_id: str, holder: str) -> None:
        """Let another claim the rollout at once; nothing when this one does not hold it."""
        self._database.writing(control.release, rollout_id, holder)

    def halt_rollout(self, rollout_id: str, reason: str, *, now: datetime) -> None:
        """Have production serve everybody from now on, whatever the history says; of several the first stays."""
        self._database.writing(control.halt, rollout_id, reason, now=now)

    def rollout_control(self, rollout_id: str) -> RolloutControl:
        """Who holds the rollout, and whether it was halted."""
        return self._database.reading(control.load, rollout_id)

    # What was done about its events

    def begin_action(self, rollout_id: str, number: int, name: str, *, now: datetime) -> RolloutAction | None:
        """Enter what is to be done once about an event, unless it was entered; ``None`` when it is done.

        One that comes back with an earlier ``begun_at`` was begun before and not finished.
        """
        return self._database.writing(control.begin, rollout_id, number, name, now=now)

    def finish_action(self, rollout_id: str, number: int, name: str, outcome: str, *, now: datetime) -> None:
        """Note that it is done, and with what outcome; what was noted first stays.

        Raises:
            InputError: it was never begun.
        """
        self._database.writing(control.finish, rollout_id, number, name, outcome, now=now)

    def rollout_actions(self, rollout_id: str) -> list[RolloutAction]:
        """Everything that was begun about the rollout's events, in order."""
        return self._database.reading(control.actions, rollout_id)
