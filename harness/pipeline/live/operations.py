"""What a worker shows on its admin port, and what of it becomes an alert."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from socket import socket
from typing import Any

from harness.config import Live
from harness.domain.decision import Verdict
from harness.models.breaker import BreakerState
from harness.ops.admin import Operated, admin_app, token_from
from harness.ops.alerts import Alert, AlertKind, Notifier, sender_from
from harness.ops.metrics import Histogram, Reading
from harness.ops.server import serving
from harness.pipeline.live.state import ArmState, WorkerState
from harness.pipeline.live.worker import LiveWorker
from harness.spool import control

_LOOK_S = 5.0
_VERDICTS = {Verdict.GO: 1.0, Verdict.INCONCLUSIVE: 0.0, Verdict.NO_GO: -1.0}


class Operations:
    """Looks at one worker for people; use it as a context around :meth:`LiveWorker.run`."""

    def __init__(self, live: Live, worker: LiveWorker, *, notifier: Notifier | None = None) -> None:
        self._live = live
        self._worker = worker
        self._folder = Path(live.spool.folder)
        self._notifier = notifier or Notifier(
            name=f"{live.name} worker",
            repeat_s=live.alerts.repeat_s,
            memory=self._folder / "alerts-worker.json",
            send=sender_from(live.alerts.urls_env),
            gone_s=live.alerts.over_after_s,
        )
        self._stopping = threading.Event()

    @contextmanager
    def running(self, sock: socket) -> Iterator[None]:
        """Serve the admin port and send alerts meanwhile."""
        app = admin_app(
            Operated(
                name="worker",
                not_ready=lambda: not_ready(self._worker.snapshot()),
                readings=lambda: readings(self._worker.snapshot()),
                status=lambda: status(self._worker.snapshot()),
                set_mirror=lambda wanted: control.switch(self._folder, mirror=wanted),
                token=token_from(self._live.worker_admin.token_env),
            )
        )
        thread = threading.Thread(target=self._watch, name="worker-alerts", daemon=True)
        thread.start()
        try:
            with serving(app, sock):
                yield
        finally:
            self._stopping.set()
            thread.join(5.0)
            self._notifier.close(2.0)

    def _watch(self) -> None:
        every = min(_LOOK_S, self._live.alerts.nothing_mirrored_s / 4)
        while not self._stopping.wait(every):
            self._notifier.update(standing(self._worker.snapshot()))


def standing(state: WorkerState) -> list[Alert]:
    """Conditions that a worker's state shows."""
    found: list[Alert] = []
    if state.store_down_since is not None:
        text = f"not reachable since {state.store_down_since:%H:%M:%S} UTC; what was captured waits in the spool"
        found.append(Alert(kind=AlertKind.STORE, text=text))
    for arm in state.arms:
        found += [Alert(kind=kind, subject=arm.arm, text=text) for kind, text in _of_arm(arm)]
    if state.judging_failing_since is not None:
        text = f"since {state.judging_failing_since:%H:%M:%S} UTC: {state.judging_failure}"
        found.append(Alert(kind=AlertKind.JUDGING, text=text))
    if state.judges_exhausted is not None:
        spent = f"${state.judges_spent_today_usd:.2f} were spent on judges today"
        text = f"{spent}; pairs are not judged {state.judges_exhausted.until}"
        found.append(Alert(kind=AlertKind.BUDGET, subject="judges", text=text))
    return found


def _of_arm(arm: ArmState) -> Iterator[tuple[AlertKind, str]]:
    if arm.stopped is not None:
        yield (
            AlertKind.AUTHENTICATION,
            f"{arm.model} cannot be asked ({arm.stopped}); start the worker again with a key and a name that work",
        )
    if arm.breaker is not BreakerState.CLOSED:
        yield AlertKind.BREAKER_OPEN, f"{arm.model} is down; its requests are dropped until a probe is answered"
    if arm.budget_exhausted is not None:
        text = f"${arm.spent_today_usd:.2f} were spent today; requests are skipped {arm.budget_exhausted.until}"
        yield AlertKind.BUDGET, text
    if arm.quota_remaining_s > 0:
        yield AlertKind.QUOTA, f"production was told to slow down; {arm.arm} at the same provider rests"
    for kind, text_or_none in (
        (AlertKind.ERROR_SPIKE, arm.error_spike),
        (AlertKind.LATENCY, arm.slow),
        (AlertKind.DIVERGENCE, arm.diverging),
    ):
        if text_or_none is not None:
            yield kind, text_or_none


def not_ready(state: WorkerState) -> list[str]:
    """Why a worker does not do its work."""
    reasons = []
    if state.store_down_since is not None:
        reasons.append("the store cannot be reached")
    if state.stopping:
        reasons.append("it is stopping")
    reasons.extend(f"{arm.arm}: {arm.stopped}" for arm in state.arms if arm.stopped is not None)
    return reasons


def status(state: WorkerState) -> Mapping[str, Any]:
    """A worker's state for people and scripts."""
    return asdict(state)


def readings(state: WorkerState) -> Sequence[Reading | Histogram]:
    """A worker's state as metrics; labels are arms, metrics and reasons from closed sets."""

    def by_arm(name: str, text: str, values: Mapping[str, float | None]) -> Reading:
        found = [((arm,), float(value)) for arm, value in values.items() if value is not None]
        return Reading(name=name, help=text, labels=("arm",), values=found)

    arms = state.arms
    outcomes = [
        ((arm.arm, status, reason), float(number))
        for arm in arms
        for status, reasons in arm.outcomes.items()
        for reason, number in sorted(reasons.items())
    ]
    endings = [((ending,), float(number)) for ending, number in sorted(state.endings.items())]
    return [
        Reading.of("worker_records", "Whole records read from the spool", state.records, kind="counter"),
        Reading(
            name="worker_record_endings", help="What became of the records", kind="counter", labels=("ending",),
            values=endings,
        ),
        Reading.of("worker_spool_lag_bytes", "Bytes in the spool that have not been read", state.lag_bytes),
        Reading.of("worker_damaged_bytes", "Bytes that were no whole record", state.damaged_bytes, kind="counter"),
        Reading.of("worker_exchanges", "Exchanges in the store", state.exchanges),
        Reading.of("worker_mirroring", "1 while candidates may be asked", float(state.mirroring)),
        Reading.of("worker_store_up", "1 while the store can be reached", float(state.store_down_since is None)),
        Reading(
            name="candidate_outcomes", help="Requests by how they ended", kind="counter",
            labels=("arm", "status", "reason"), values=outcomes,
        ),
        by_arm("candidate_in_flight", "Calls that are being made", {arm.arm: arm.in_flight for arm in arms}),
        by_arm(
            "candidate_breaker_open", "1 unless the breaker is closed",
            {arm.arm: float(arm.breaker is not BreakerState.CLOSED) for arm in arms},
        ),
        by_arm(
            "candidate_stopped", "1 when an operator has to act",
            {arm.arm: float(arm.stopped is not None) for arm in arms},
        ),
        by_arm("candidate_spent_today_usd", "Spent since midnight UTC", {arm.arm: arm.spent_today_usd for arm in arms}),
        by_arm("candidate_daily_usd", "What may be spent per day", {arm.arm: arm.daily_usd for arm in arms}),
        by_arm(
            "candidate_quota_rest_seconds", "Rest for production's quota",
            {arm.arm: arm.quota_remaining_s for arm in arms},
        ),
        by_arm(
            "decision_verdict", "1 GO, 0 INCONCLUSIVE, -1 NO_GO",
            {arm.arm: _VERDICTS[arm.verdict] if arm.verdict is not None else None for arm in arms},
        ),
        by_arm("decision_pairs_needed", "Pairs a decision still needs", {arm.arm: arm.n_needed for arm in arms}),
        Reading.of("judges_spent_today_usd", "Spent on judges since midnight UTC", state.judges_spent_today_usd),
        *_estimates(arms),
    ]  # fmt: skip


def _estimates(arms: Sequence[ArmState]) -> Sequence[Reading]:
    """Live estimates with bounds that hold at any look."""
    found: dict[str, list[tuple[tuple[str, ...], float]]] = {"value": [], "low": [], "high": [], "n": []}
    for arm in arms:
        for metric, estimate in arm.estimates.items():
            for name, value in (
                ("value", estimate.value), ("low", estimate.low), ("high", estimate.high), ("n", estimate.n),
            ):  # fmt: skip
                if value is not None:
                    found[name].append(((arm.arm, metric), float(value)))
    texts = {
        "value": "Live estimate of a metric",
        "low": "Lower bound of the estimate, valid at any time",
        "high": "Upper bound of the estimate, valid at any time",
        "n": "Pairs behind the estimate",
    }
    return [
        Reading(name=f"estimate_{name}", help=texts[name], labels=("arm", "metric"), values=values)
        for name, values in found.items()
    ]
