"""The controller as a process: what it is made of, what it shows, and how it ends."""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.config import Experiment, Live
from harness.config.following import FollowedFile
from harness.config.rollout import Rollout
from harness.controller import people
from harness.controller.collecting import Collector
from harness.controller.control import Acts, Controller, Sight
from harness.controller.shadowing import ShadowLook, look, with_served
from harness.domain.rollout import Event, RolloutState, RolloutStatus
from harness.errors import ConfigurationError
from harness.ops.admin import Operated, RolloutDesk, admin_app, token_from
from harness.ops.metrics import Histogram, Reading
from harness.ops.server import serving
from harness.pipeline.live.served import served_experiment, served_run_id
from harness.pipeline.seats import default_embedder, seat_judges
from harness.pipeline.session import Session
from harness.store import Store
from harness.store.rollouts import RolloutRecord

_STALE_S = 30.0
"""A controller whose last step is older than this is not ready."""
_log = logging.getLogger("harness.controller")


class Service:
    """One controller process of a live experiment; :meth:`running` is its life."""

    def __init__(
        self, store: Store, live: Live, path: Path, policy: Rollout, acts: Acts, *, runs_dir: Path, run_id: str
    ) -> None:
        self._store = store
        self._live = live
        self._followed = FollowedFile(path)
        self._policy = policy
        self._runs_dir = runs_dir
        self._run_id = run_id
        self._judges = seat_judges(live.experiment, default_embedder())
        self.controller = Controller(
            store,
            live.name,
            acts,
            self._collector,
            holder=f"{socket.gethostname()}:{os.getpid()}:{os.urandom(3).hex()}",
            run_id=run_id,
            fingerprint=self._fingerprint,
        )

    @contextmanager
    def running(self, sock: socket.socket) -> Iterator[threading.Event]:
        """Control, and serve the admin port; set the event to end."""
        stopping = threading.Event()
        thread = threading.Thread(target=self.controller.run, args=(stopping,), name="controller", daemon=True)
        thread.start()
        try:
            with serving(self._app(), sock):
                yield stopping
        finally:
            stopping.set()
            self.controller.wake()
            thread.join(10.0)

    def _collector(self, record: RolloutRecord, policy: Rollout) -> Collector:
        return Collector(
            self._store,
            lambda state, begun: self._look(record, state, begun),
            policy,
            rollout_id=record.id,
            begun=record.started_at,
            look_every_s=self._live.worker.look_every_s,
        )

    def _look(self, record: RolloutRecord, state: RolloutState, begun: datetime) -> ShadowLook:
        if self._store.run(self._run_id) is None:
            raise ConfigurationError(
                f"there is no run {self._run_id!r} in the store yet: start `harness worker {self._followed.path}`"
            )
        # What is stored is described by the experiment as it is here: a changed criterion is ours to know.
        shadow = self._look_at(self._live.experiment, self._run_id, record, state, begun)
        served = served_run_id(self._run_id, record.candidate)
        if not state.phase.kind.serves_users or self._store.run(served) is None:
            return shadow
        experiment = served_experiment(self._live, record.candidate)
        return with_served(shadow, self._look_at(experiment, served, record, state, begun))

    def _look_at(
        self, experiment: Experiment, run_id: str, record: RolloutRecord, state: RolloutState, begun: datetime
    ) -> ShadowLook:
        session = Session(experiment=experiment, run_id=run_id, store=self._store, runs_dir=self._runs_dir)
        return look(session, self._judges, record.candidate, state.phase, since=state.phase_since, begun=begun)

    def _fingerprint(self, candidate: str) -> str | None:
        """As the file says now; a file that cannot be read changes nothing."""
        try:
            changed = self._followed.changed()
        except ConfigurationError as error:
            _log.error("what is in force stays in force: %s", error)
            changed = None
        if changed is not None:
            self._live = changed
        found = next((one for one in self._live.candidates if one.name == candidate), None)
        return None if found is None else found.fingerprint

    # The admin port

    def _app(self) -> Any:
        def changing(do: Callable[..., Event]) -> Callable[[str, str], Mapping[str, Any]]:
            def change(by: str, reason: str) -> Mapping[str, Any]:
                event = do(self._store, self._live.name, by=by, reason=reason)
                self.controller.wake()
                return asdict(event)

            return change

        def severe(key: str, reason: str) -> Mapping[str, Any]:
            rollout_id = people.report_severe(self._store, self._live.name, key=key, reason=reason)
            self.controller.wake()
            return {"rollout_id": rollout_id}

        desk = RolloutDesk(
            state=self._state,
            history=lambda: [asdict(event) for event in people.standing(self._store, self._live.name).events],
            changes={
                "approve": changing(people.approve),
                "pause": changing(people.pause),
                "resume": changing(people.resume),
                "abort": changing(people.abort),
                "severe": severe,
            },
        )
        return admin_app(
            Operated(
                name="rollout",
                not_ready=lambda: not_ready(self.controller.sight),
                readings=lambda: readings(self.controller.sight),
                status=lambda: status(self.controller.sight),
                token=token_from(self._policy.admin.token_env),
                rollout=desk,
            )
        )

    def _state(self) -> Mapping[str, Any]:
        return {**people.as_json(people.standing(self._store, self._live.name)), **status(self.controller.sight)}


def not_ready(sight: Sight) -> list[str]:
    """Why a controller does not do its work; standing by is its work."""
    reasons = [] if sight.problem is None else [sight.problem]
    age = (datetime.now(sight.at.tzinfo) - sight.at).total_seconds()
    if age > _STALE_S:
        reasons.append(f"the last step was {age:.0f} s ago")
    return reasons


def status(sight: Sight) -> dict[str, Any]:
    """What it sees and does, for people and scripts."""
    ruling = sight.ruling
    return {
        "role": sight.role,
        "at": sight.at.isoformat(),
        "rollout_id": sight.rollout_id,
        "action": None if ruling is None else ruling.action.value,
        "because": None if ruling is None else ruling.reason,
        "checks": [] if ruling is None else [asdict(check) for check in ruling.checks],
        "refused": sight.refused,
        "problem": sight.problem,
    }


def readings(sight: Sight) -> Sequence[Reading | Histogram]:
    """As metrics."""
    state, ruling = sight.state, sight.ruling
    found: list[Reading | Histogram] = [
        Reading.of("rollout_controls", "1 while this process holds the claim", float(sight.role == "controls")),
        Reading.of("rollout_problem", "1 while something cannot be done", float(sight.problem is not None)),
    ]
    if state is not None:
        found += [
            Reading(
                name="rollout_status", help="1 for where the rollout stands", labels=("status",),
                values=[((one.value,), float(one is state.status)) for one in RolloutStatus],
            ),
            Reading(
                name="rollout_phase", help="1 for the phase in force", labels=("phase",),
                values=[((state.phase.name,), 1.0)],
            ),
            Reading.of("rollout_served_share", "Share of the conversations the candidate serves", state.served_share),
            Reading.of("rollout_events", "Events in the history", state.number, kind="counter"),
        ]  # fmt: skip
    if ruling is not None:
        figures = [
            ((check.name, name), float(value))
            for check in ruling.checks for name, value in check.figures.items() if abs(value) < float("inf")
        ]  # fmt: skip
        found.append(
            Reading(name="rollout_check", help="Figures of the checks", labels=("check", "figure"), values=figures)
        )
    return found
