"""Tells people, once: conditions that hold become messages through apprise, and another one when they are over."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Any

import orjson

_WAITING = 100
_ATTEMPTS = 3
_PAUSE_S = 2.0
_log = logging.getLogger("harness.alerts")


class AlertKind(StrEnum):
    """What can be the matter."""

    # Of the gateway.
    PRODUCTION_UNREACHABLE = "production_unreachable"
    NOTHING_MIRRORED = "nothing_mirrored"
    SPOOL_FULL = "spool_full"
    SPOOL_NOT_READ = "spool_not_read"
    DISK_FAILED = "disk_failed"
    CONFIGURATION = "configuration"
    PROCESS_RESTARTS = "process_restarts"
    # Of the worker.
    ERROR_SPIKE = "error_spike"
    LATENCY = "latency"
    DIVERGENCE = "divergence"
    BREAKER_OPEN = "breaker_open"
    BUDGET = "budget"
    AUTHENTICATION = "authentication"
    QUOTA = "quota"
    STORE = "store"
    JUDGING = "judging"


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """A condition that needs a person. No text of a request or an answer is ever in it."""

    kind: AlertKind
    subject: str = ""
    """Whom it is about, such as a candidate; with the kind it says whether two alerts are the same."""
    text: str
    """What was seen, and what to do."""

    @property
    def key(self) -> str:
        """Alerts with the same key are one."""
        return f"{self.kind}:{self.subject}" if self.subject else str(self.kind)


@dataclass(kw_only=True)
class _Known:
    sent_at: float
    """When it was last told, seconds since the epoch."""
    active: bool = True
    told: bool = True
    """Whether the last message about it was that it holds."""
    title: str = field(default="")


Send = Callable[[str, str, bool], bool]
"""Title, body and whether it is bad news; returns whether it was delivered."""


class Notifier:
    """Sends what is new among the conditions that hold; one that goes on is told again after ``repeat_s`` seconds.

    What was told is kept in a file, so that a process that is restarted over and over does not tell it each time.
    """

    def __init__(
        self,
        *,
        name: str,
        repeat_s: float,
        memory: Path,
        send: Send | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._repeat_s = repeat_s
        self._memory = memory
        self._send = send
        self._clock = clock
        self._known = _load(memory)
        self._waiting: Queue[tuple[str, str, bool]] = Queue(_WAITING)
        self._closing = threading.Event()
        self.delivered = 0
        self.failed = 0
        self._thread: threading.Thread | None = None

    def update(self, active: Sequence[Alert]) -> None:
        """Take in everything that holds now; what was told before and is not among it is over."""
        now = self._clock()
        changed = False
        for alert in active:
            known = self._known.get(alert.key)
            if known is not None and now - known.sent_at < self._repeat_s:
                known.active = True
                continue
            title = _title(alert)
            self._known[alert.key] = _Known(sent_at=now, title=title)
            self._queue(title, alert.text, bad=True)
            changed = True
        held = {alert.key for alert in active}
        for key, known in list(self._known.items()):
            if key in held:
                continue
            if known.active and known.told:
                self._queue(f"resolved: {known.title}", "It no longer holds.", bad=False)
                known.told = known.active = False
                changed = True
            elif now - known.sent_at >= self._repeat_s:
                del self._known[key]
                changed = True
            known.active = False
        if changed:
            _save(self._memory, self._known)

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what waits, for a moment."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _queue(self, title: str, text: str, *, bad: bool) -> None:
        _log.log(logging.WARNING if bad else logging.INFO, "%s", f"{title}: {text}" if bad else title)
        if self._send is None:
            return
        try:
            self._waiting.put_nowait((f"{self._name}: {title}", text, bad))
        except Full:
            self.failed += 1
            return
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        assert self._send is not None  # noqa: S101  nothing is queued without
        while True:
            try:
                message = self._waiting.get(timeout=0.2)
            except Empty:
                if self._closing.is_set():
                    return
                continue
            for attempt in range(_ATTEMPTS):
                if _delivered(self._send, message):
                    self.delivered += 1
                    break
                if self._closing.wait(_PAUSE_S * attempt):
                    self.failed += 1
                    break
            else:
                self.failed += 1
                _log.error("an alert could not be delivered: %s", message[0])


def sender_from(variable: str) -> Send | None:
    """A sender to the apprise addresses in an environment variable; ``None`` when it is not set."""
    addresses = os.environ.get(variable, "").split()
    if not addresses:
        return None

    def send(title: str, body: str, bad: bool) -> bool:
        import apprise

        service = apprise.Apprise()
        for address in addresses:
            if not service.add(address):
                _log.error("%s holds an address apprise does not know", variable)
        kind = apprise.NotifyType.WARNING if bad else apprise.NotifyType.SUCCESS
        return bool(service.notify(title=title, body=body, notify_type=kind))

    return send


def _delivered(send: Send, message: tuple[str, str, bool]) -> bool:
    try:
        return send(*message)
    except Exception:  # noqa: BLE001  a hundred services raise what they like, and their texts may hold addresses
        return False


def _title(alert: Alert) -> str:
    words = alert.kind.replace("_", " ")
    return f"{words} ({alert.subject})" if alert.subject else words


def _load(path: Path) -> dict[str, _Known]:
    try:
        stored: dict[str, Any] = orjson.loads(path.read_bytes())
        return {key: _Known(**value) for key, value in stored.items()}
    except (OSError, orjson.JSONDecodeError, TypeError, AttributeError):
        return {}


def _save(path: Path, known: dict[str, _Known]) -> None:
    draft = path.with_suffix(".new")
    try:
        draft.write_bytes(orjson.dumps(known))
        draft.replace(path)
    except OSError:
        _log.exception("what was told cannot be remembered")
