"""Tells people, once: conditions that hold become messages through apprise, and another one when they are over."""

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Any

import orjson

_WAITING = 100
_ATTEMPTS = 3
_PAUSE_S = 2.0
_AGAIN_S = 60.0
"""After this an alert that has reached nobody is sent again."""
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
    COMPANION_RESTARTS = "companion_restarts"
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
    """A condition that was told and whose end was not."""

    title: str
    sent_at: float
    """When it was last told, or tried to be, seconds since the epoch."""
    held_at: float
    """When it was last seen to hold; by a new process that has not seen it yet, when that began."""
    reached: bool = False
    """Whether the last message that it holds reached anybody."""
    waiting: bool = False
    """Whether that message is still on its way."""


@dataclass(frozen=True, kw_only=True)
class _Message:
    title: str
    text: str
    bad: bool
    about: _Known | None = None
    """What is to know whether this reached anybody."""


Send = Callable[[str, str, bool], bool]
"""To one address: title, body and whether it is bad news; returns whether it was delivered."""


class Notifier:
    """Sends what is new among the conditions that hold; one that goes on is told again after ``repeat_s`` seconds.

    One is over when it has not been seen for ``gone_s`` seconds: until then a process that has just begun may not know
    of it yet, or it may only come and go. What was told is kept in a file, so that a process that is restarted over and
    over does not tell it each time.
    """

    def __init__(
        self,
        *,
        name: str,
        repeat_s: float,
        memory: Path,
        send: Sequence[Send] | None,
        gone_s: float = 360.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._repeat_s = repeat_s
        self._memory = memory
        self._send = tuple(send or ())
        self._gone_s = gone_s
        self._clock = clock
        self._known = _load(memory, clock())
        self._lock = threading.Lock()
        """Held for what is known, of which the sending thread says whether it reached anybody."""
        self._waiting: Queue[_Message] = Queue(_WAITING)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def update(self, active: Sequence[Alert]) -> None:
        """Take in everything that holds now."""
        now = self._clock()
        with self._lock:
            told = [self._holds(alert, now) for alert in active]
            over = [key for key, known in self._known.items() if now - known.held_at >= self._gone_s]
            for key in over:
                title = f"resolved: {self._known.pop(key).title}"
                _log.info("%s", title)
                self._queue(_Message(title=title, text="It no longer holds.", bad=False))
            if over or any(told):
                _save(self._memory, self._known)

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what waits, for a moment."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _holds(self, alert: Alert, now: float) -> bool:
        """Whether it was to be told."""
        known = self._known.get(alert.key)
        if known is None:
            known = self._known[alert.key] = _Known(title=_title(alert), sent_at=now, held_at=now)
        else:
            known.held_at = now
            again_s = self._repeat_s if known.reached else min(_AGAIN_S, self._repeat_s)
            if known.waiting or now - known.sent_at < again_s:
                return False
            known.sent_at = now
        _log.warning("%s: %s", known.title, alert.text)
        known.reached = not self._send
        known.waiting = self._queue(_Message(title=known.title, text=alert.text, bad=True, about=known))
        return True

    def _queue(self, message: _Message) -> bool:
        """Whether it is on its way."""
        if not self._send:
            return False
        try:
            self._waiting.put_nowait(message)
        except Full:
            return False
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
            self._thread.start()
        return True

    def _run(self) -> None:
        while True:
            try:
                message = self._waiting.get(timeout=0.2)
            except Empty:
                if self._closing.is_set():
                    return
                continue
            reached = self._deliver(message)
            if message.about is not None:
                with self._lock:
                    message.about.waiting, message.about.reached = False, reached
                    _save(self._memory, self._known)

    def _deliver(self, message: _Message) -> bool:
        """Send to every address, again where it fails; whether it reached anybody."""
        left = list(self._send)
        for attempt in range(_ATTEMPTS):
            if attempt and self._closing.wait(_PAUSE_S * attempt):
                break
            left = [send for send in left if not _delivered(send, f"{self._name}: {message.title}", message)]
            if not left:
                return True
        # Without the addresses, which may hold passwords.
        _log.error("%d of %d addresses could not be told: %s", len(left), len(self._send), message.title)
        return len(left) < len(self._send)


class Address:
    """Sends to one apprise address, which it does not tell."""

    def __init__(self, address: str, variable: str) -> None:
        self.name = hashlib.sha256(address.encode()).hexdigest()[:8]
        """Tells it from others, also after a restart."""
        self._address = address
        self._variable = variable

    def __call__(self, title: str, body: str, bad: bool) -> bool:
        """Whether the message was delivered."""
        import apprise

        service = apprise.Apprise()
        if not service.add(self._address):
            _log.error("%s holds an address apprise does not know", self._variable)
            return False
        kind = apprise.NotifyType.WARNING if bad else apprise.NotifyType.SUCCESS
        return bool(service.notify(title=title, body=body, notify_type=kind))


def sender_from(variable: str) -> Sequence[Address] | None:
    """A sender to each of the apprise addresses in an environment variable; ``None`` when it is not set."""
    return [Address(address, variable) for address in os.environ.get(variable, "").split()] or None


def _delivered(send: Send, title: str, message: _Message) -> bool:
    try:
        return send(title, message.text, message.bad)
    except Exception:  # noqa: BLE001  a hundred services raise what they like, and their texts may hold addresses
        return False


def told(memory: Path) -> list[tuple[str, float]]:
    """What was told and is not known to be over, from the file a notifier keeps: title, and when it was last told.

    Seconds since the epoch, the newest first; nothing where there is no such file.
    """
    found = _load(memory, 0.0).values()
    return sorted(((one.title, one.sent_at) for one in found), key=lambda one: (-one[1], one[0]))


def _title(alert: Alert) -> str:
    words = alert.kind.replace("_", " ")
    return f"{words} ({alert.subject})" if alert.subject else words


def _load(path: Path, now: float) -> dict[str, _Known]:
    try:
        stored: dict[str, Any] = orjson.loads(path.read_bytes())
        return {key: _Known(**value, held_at=now) for key, value in stored.items()}
    except (OSError, orjson.JSONDecodeError, TypeError, AttributeError):
        return {}


def _save(path: Path, known: dict[str, _Known]) -> None:
    stored = {key: {"title": one.title, "sent_at": one.sent_at, "reached": one.reached} for key, one in known.items()}
    draft = path.with_suffix(".new")
    try:
        draft.write_bytes(orjson.dumps(stored))
        draft.replace(path)
    except OSError:
        _log.exception("what was told cannot be remembered")
