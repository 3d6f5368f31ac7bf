"""The callers' side of capture: decides which requests are kept and hands them on; nothing here raises or waits."""

import atexit
import logging
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from harness.capture.attempt import Attempt, Ending
from harness.capture.recorder import Recorder
from harness.capture.rules import LiveFile
from harness.config import Live
from harness.domain.mirror import NotEligible
from harness.spool import headers as allowed
from harness.spool.headers import RawHeaders
from harness.spool.rules import Rules
from harness.spool.sampling import Sampled, fields_of, surface_of

LIVE_ENV = "HARNESS_LIVE"
_RETRIES = b"x-stainless-retry-count"
"""How the official clients number the attempts of a call, from 0."""
_log = logging.getLogger("harness.capture")


class Capture:
    """What one live experiment captures in this process."""

    def __init__(self, source: Path | Live) -> None:
        self._file = LiveFile(source)
        self.rules: Rules | None = None
        self._recorder: Recorder | None = None
        self._starting = threading.Lock()
        self.is_closed = False
        self._faulted = float("-inf")
        self._look()

    def start(self) -> Recorder:
        """The recorder of this process, which is not its parent's."""
        with self._starting:
            if self._recorder is None:
                self._recorder = Recorder(lambda: self._file.live, self._look, self._is_closed)
            return self._recorder

    def begin(self, method: str, path: str, headers: RawHeaders, body: bytes) -> Attempt | None:
        """An attempt to fill in and to give to :meth:`end`; ``None`` when there is nothing to count."""
        rules = self.rules
        if rules is None or self.is_closed:
            return None
        raw = list(headers)
        attempt = _attempt(rules, method, path, raw, body)
        (self._recorder or self.start()).began(attempt)
        return attempt

    def count(self, attempt: Attempt) -> None:
        """Take in an attempt that a source has made itself, for :meth:`end` to follow."""
        (self._recorder or self.start()).began(attempt)

    def give_up(self, call: str) -> None:
        """Say that a call, named as its source names it, will not be tried again."""
        if self._recorder is not None:
            self._recorder.gave_up(call)

    def end(self, attempt: Attempt, ending: Ending, *, error: str | None = None) -> None:
        """Say how an attempt ended; only the first time counts."""
        if attempt.ending is not Ending.OPEN:
            return
        if attempt.call is None and attempt.last is None:
            attempt.last = time.perf_counter()
        attempt.error = error
        attempt.ending = ending
        if self._recorder is not None and not self.is_closed:
            self._recorder.ended(attempt)

    def lose(self, attempt: Attempt) -> None:
        """Its answer was thrown away; may be called by the garbage collector."""
        if attempt.ending is Ending.OPEN:
            attempt.ending = Ending.LEFT
            if self._recorder is not None:
                self._recorder.lost(attempt)

    def fault(self) -> None:
        """Report our own error, at most once a minute; the caller never sees it."""
        now = time.monotonic()
        if now - self._faulted >= 60:
            self._faulted = now
            _log.exception("shadow capture: a request could not be captured; the caller is not affected")

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything that ended is in the spool."""
        return self.is_closed or self._recorder is None or self._recorder.flush(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits and capture no more."""
        if self.is_closed:
            return
        self.is_closed = True
        if self._recorder is not None:
            self._recorder.flush(timeout_s, last=True)

    def after_fork(self) -> None:
        """Begin anew in a child: threads are not inherited, and the parent's files are the parent's."""
        recorder, self._recorder = self._recorder, None
        self._starting = threading.Lock()
        if recorder is not None:
            recorder.abandon()

    def _look(self) -> None:
        self.rules = self._file.look()

    def _is_closed(self) -> bool:
        return self.rules is not None and self.rules.closed is not None


def _attempt(rules: Rules, method: str, path: str, raw: list[tuple[bytes, bytes]], body: bytes) -> Attempt:
    id_ = uuid4().hex
    retries = _retries(raw)
    return Attempt(
        id_=id_,
        method=method,
        path=path,
        headers=rules.headers.to_keep(raw) | {allowed.SOURCE: "client"},
        request=body,
        retries=retries,
        mirror=rules.mirror,
        salt_id=rules.sampler.salt_id,
        decided=_decide(rules, method, path, raw, body, id_, first=not retries),
    )


def _decide(
    rules: Rules, method: str, path: str, raw: RawHeaders, body: bytes, id_: str, *, first: bool
) -> Sampled | NotEligible | None:
    if surface_of(method, path) is None:
        return NotEligible.UNSUPPORTED_SURFACE
    if rules.closed is not None:
        return rules.closed
    seen = rules.headers.to_decide(raw)
    if allowed.INTERNAL in seen:
        return NotEligible.INTERNAL_REQUEST
    if not first:
        return None
    named = rules.sampler.body_fields
    return rules.sampler.decide(path, seen, id_, fields_of(body, named) if named else {})


def _retries(raw: RawHeaders) -> int:
    for name, value in raw:
        if name.lower() == _RETRIES:
            return int(value) if value.isdigit() else 0
    return 0


_captures: dict[str, Capture] = {}
_guard = threading.Lock()


def of(live: "str | Path | Live | None", environment: Mapping[str, str] = os.environ) -> Capture:
    """The one capture of a live experiment in this process; made when first asked for."""
    if not isinstance(live, Live):
        live = Path(live or environment.get(LIVE_ENV) or "live.yaml").absolute()
    key = f"{live.name} in {live.spool.folder}" if isinstance(live, Live) else str(live)
    with _guard:
        found = _captures.get(key)
        if found is None or found.is_closed:
            found = _captures[key] = Capture(live)
    found.start()
    return found


def flush(timeout_s: float) -> bool:
    """Wait for all captures; says whether everything is in the spool."""
    done = [capture.flush(timeout_s) for capture in list(_captures.values())]
    return all(done)


def close() -> None:
    """End all captures; the interpreter does so when it ends."""
    for capture in list(_captures.values()):
        capture.close()


def _after_fork() -> None:
    global _guard  # noqa: PLW0603  the one that was inherited may be held by a thread that was not
    _guard = threading.Lock()
    for capture in _captures.values():
        capture.after_fork()


atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
