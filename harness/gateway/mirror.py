"""Copies sampled requests to the spool: one check when a request comes, one append when it has been answered."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from harness.config import Live
from harness.domain.mirror import MirrorDrop, NotEligible
from harness.gateway.followed import Followed
from harness.spool import assignment, headers, record
from harness.spool.assignment import PRODUCTION
from harness.spool.counters import INDEX, CounterFile
from harness.spool.rules import Rules
from harness.spool.sampling import Sampled, fields_of, surface_of
from harness.spool.writer import SpoolWriter

RawHeaders = list[tuple[bytes, bytes]]
_LOOK_S = 0.2
"""How often the switch, the clock and the configuration are looked at."""
_NOT_ELIGIBLE = {reason: INDEX[f"not_eligible.{reason}"] for reason in NotEligible}
_DROPPED = {reason: INDEX[f"dropped.{reason}"] for reason in MirrorDrop}
_SAMPLED, _SAMPLED_OUT = INDEX["sampled"], INDEX["sampled_out"]
_RECORD_BYTES = 1_024
"""What a record takes besides its bodies, generously."""
_KNOWN_PATHS = 1_000
_log = logging.getLogger("harness.gateway")


class Tap:
    """What is kept of one request while it is being answered; ends in exactly one record or one drop.

    Where the sample is drawn by what stands in the body, the body decides at the end, when nobody waits any more
    whether there was anything to keep.
    """

    __slots__ = (
        "_at_ns", "_decided_by", "_done", "_given_up", "_held", "_id", "_is_decided", "_method", "_mirror", "_path",
        "_request", "_request_size", "_response", "_response_size", "_rules", "_sampled", "served",
    )  # fmt: skip

    def __init__(
        self,
        mirror: "GatewayMirror",
        rules: Rules,
        sampled: Sampled | None,
        id_: str,
        method: str,
        path: str,
        decided_by: Mapping[str, str],
    ) -> None:
        self._mirror = mirror
        self._rules = rules
        """In force when the request came; what is changed meanwhile is not for this one."""
        self._sampled = sampled
        self._is_decided = sampled is not None
        self._decided_by = decided_by
        self._id = id_
        self._at_ns = time.time_ns()
        self._method = method
        self._path = path
        self._request: list[bytes] = []
        self._request_size = 0
        self._response: list[bytes] = []
        self._response_size = 0
        self._held = 0
        self._given_up: MirrorDrop | None = None
        self._done = False
        self.served: Mapping[str, Any] | None = None
        """How it was answered as a request of a rollout's arm."""

    @property
    def id(self) -> str:
        """Unique among all gateways."""
        return self._id

    def request(self, piece: bytes) -> None:
        """Keep a piece of the request's body."""
        self._request_size += len(piece)
        if self._given_up is None:
            if self._request_size > self._rules.mirror.max_request_bytes:
                self._give_up(MirrorDrop.REQUEST_TOO_LARGE)
            else:
                self._keep(self._request, piece)

    def response(self, piece: bytes) -> None:
        """Keep a piece of the answer's body."""
        self._response_size += len(piece)
        if self._given_up is None:
            if self._response_size > self._rules.mirror.max_response_bytes:
                self._is_sampled()  # while the body is there to decide by
                self._give_up(MirrorDrop.RESPONSE_TOO_LARGE)
            else:
                self._keep(self._response, piece)

    def drop(self, reason: MirrorDrop) -> None:
        """Give it up."""
        if self._done:
            return
        self._done = True
        if self._is_sampled():
            self._mirror.counts[_DROPPED[reason]] += 1
        self._give_up(reason)

    def _is_sampled(self) -> bool:
        """Whether the request belongs to the sample; decides and counts it when that has not been done yet."""
        if not self._is_decided:
            self._is_decided = True
            sampler = self._rules.sampler
            fields = fields_of(b"".join(self._request), sampler.body_fields)
            self._sampled = self._mirror.decided(sampler.decide(self._path, self._decided_by, self._id, fields))
        return self._sampled is not None

    def _keep(self, pieces: list[bytes], piece: bytes) -> None:
        size, mirror = len(piece), self._mirror
        self._held += size
        mirror.held_bytes += size
        if mirror.held_bytes > mirror.held_limit:
            if pieces is self._response:
                self._is_sampled()  # while the body is there to decide by
            self._give_up(MirrorDrop.QUEUE_FULL)
        else:
            pieces.append(piece)

    def _give_up(self, reason: MirrorDrop) -> None:
        self._given_up = reason
        self._mirror.held_bytes -= self._held
        self._held = 0
        self._request.clear()
        self._response.clear()

    def finish(
        self,
        status: int,
        request_headers: RawHeaders,
        response_headers: RawHeaders,
        *,
        latency_s: float | None,
        ttft_s: float | None = None,
        error: str | None = None,
    ) -> None:
        """Hand it to the spool's writer; the record itself is made in the writer's thread."""
        if self._done:
            return
        if self._given_up is not None:
            self.drop(self._given_up)
            return
        if self._mirror.rules.closed is not None:
            self.drop(MirrorDrop.SWITCHED_OFF)
            return
        if not self._rules.mirror.production_failures and not 200 <= status < 300:
            self.drop(MirrorDrop.PRODUCTION_FAILED)
            return
        self._done = True
        if not self._is_sampled():
            self._give_up(MirrorDrop.CAPTURE_FAILED)
            return
        self._mirror.held_bytes -= self._held

        def draft() -> Sequence[bytes]:
            return record.frame(
                self._meta(status, request_headers, response_headers, latency_s, ttft_s, error),
                self._request,
                self._response,
            )

        self._mirror.writer.offer(draft, self._request_size + self._response_size + _RECORD_BYTES)

    def _meta(
        self,
        status: int,
        request_headers: RawHeaders,
        response_headers: RawHeaders,
        latency_s: float | None,
        ttft_s: float | None,
        error: str | None,
    ) -> bytes:
        sampled = self._sampled
        assert sampled is not None  # noqa: S101  nothing else is drafted
        values: dict[str, Any] = {
            "id": self._id,
            "at_ns": self._at_ns,
            "method": self._method,
            "path": self._path,
            "status": status,
            "request_headers": self._rules.headers.to_keep(request_headers),
            "response_headers": headers.of_response(response_headers),
            "rate": sampled.rate,
            "salt_id": self._rules.sampler.salt_id,
        }
        if latency_s is not None:
            values["latency_ms"] = latency_s * 1000
        if ttft_s is not None:
            values["ttft_ms"] = ttft_s * 1000
        if error is not None:
            values["error"] = error
        if sampled.session is not None:
            values["session"] = sampled.session
        if sampled.user is not None:
            values["user"] = sampled.user
        if self.served:
            values["served"] = self.served
        return orjson.dumps(values)


class GatewayMirror:
    """The mirror of one gateway process; takes a new configuration and the kill switch in while it runs.

    Nothing in here may raise into a request, or wait.
    """

    def __init__(self, live: Live, path: Path | None, writer: SpoolWriter, counters: CounterFile, name: str) -> None:
        self.writer = writer
        self.counts = counters.values
        self.held_bytes = 0
        """What the taps hold of requests that are being answered; like what waits for the disk, it has a limit."""
        self.held_limit = live.spool.queue_bytes
        self.rules = Rules.of(live)
        self.assignment = PRODUCTION
        """Who serves whom; of a gateway that serves no candidate always production."""
        self._serves = live.canary is not None
        self._counters = counters
        self._followed = Followed(live, path)
        self._folder = Path(live.spool.folder)
        self._name = name
        self._number = 0
        self._surfaces: dict[bytes, str | None] = {}
        self._look()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="mirror-control", daemon=True)
        self._thread.start()

    def open(self, method: str, raw_path: bytes, request_headers: RawHeaders) -> Tap | None:
        """A tap when this request is mirrored; counts why when it is not."""
        try:
            return self._open(method, raw_path, request_headers)
        except Exception:  # noqa: BLE001  nothing on this side may reach the request
            _log.exception("a request could not be looked at for mirroring")
            return None

    def _open(self, method: str, raw_path: bytes, request_headers: RawHeaders) -> Tap | None:
        path = self._surfaces.get(raw_path) if method == "POST" else None
        if path is None and (method != "POST" or (path := self._supported(raw_path)) is None):
            self.counts[_NOT_ELIGIBLE[NotEligible.UNSUPPORTED_SURFACE]] += 1
            return None
        rules = self.rules
        if rules.closed is not None:
            self.counts[_NOT_ELIGIBLE[rules.closed]] += 1
            return None
        decided_by = rules.headers.to_decide(request_headers)
        if headers.INTERNAL in decided_by:
            self.counts[_NOT_ELIGIBLE[NotEligible.INTERNAL_REQUEST]] += 1
            return None
        self._number += 1
        id_ = f"{self._name}-{self._number:x}"
        sampler = rules.sampler
        sampled = None
        if not sampler.body_fields:
            sampled = self.decided(sampler.decide(path, decided_by, id_))
            if sampled is None:
                return None
        return Tap(self, rules, sampled, id_, method, path, decided_by)

    def decided(self, found: Sampled | NotEligible | None) -> Sampled | None:
        """Count a decision."""
        if isinstance(found, Sampled):
            self.counts[_SAMPLED] += 1
            return found
        self.counts[_SAMPLED_OUT if found is None else _NOT_ELIGIBLE[found]] += 1
        return None

    def _supported(self, raw_path: bytes) -> str | None:
        path = raw_path.decode("latin-1")
        supported = path if surface_of("POST", path) is not None else None
        if len(self._surfaces) < _KNOWN_PATHS and supported is not None:
            self._surfaces[raw_path] = supported
        return supported

    def look(self) -> None:
        """Take in what has changed: the configuration's file, the switch, the time."""
        rules = self.rules
        changed = self._followed.look()
        if self._serves:
            self.assignment = assignment.read(self._folder, time.time())
        live = self._followed.live
        wanted = self.assignment.mirror_rate
        rate = live.mirror.rate if wanted < 0 else wanted
        if changed or rate != rules.mirror.rate:
            # A rule's own rate stays, and so does what is denied.
            rules = Rules.of(live.model_copy(update={"mirror": live.mirror.model_copy(update={"rate": rate})}))
            _log.info("sampling at rate %g", rules.mirror.rate)
        self.rules = rules.now(self._folder)

    def _look(self) -> None:
        """As :meth:`look`, whatever is on disk."""
        try:
            self.look()
        except Exception:  # noqa: BLE001  what was in force stays in force
            _log.exception("the configuration could not be looked at")

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK_S):
            self._look()
            # While the disk refuses it the counts are in memory, and this thread tries again.
            with suppress(OSError):
                self._counters.keep()

    def close(self) -> None:
        """Stop looking, and write what waits."""
        self._stop.set()
        self._thread.join(_LOOK_S)
        self.writer.close()
