"""One HTTP attempt of a client while it is on its way, and how it ended."""

import hashlib
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from enum import Enum
from time import perf_counter

from harness.capture import endings
from harness.config import Mirror
from harness.domain.mirror import MirrorDrop, NotEligible
from harness.spool.sampling import Sampled

_LONGEST_HOLD_S = 130.0
"""Above what the official clients wait for when they are told to: 120 s."""
_TRIED_AGAIN = frozenset({408, 409, 425, 429})


class Ending(Enum):
    """How an attempt ended, as far as its caller could see."""

    OPEN = "open"
    WHOLE = "whole"
    """The answer came to its end."""
    LEFT = "left"
    """The caller did not wait for the end."""
    CUT = "cut"
    """The answer began and broke off."""
    FAILED = "failed"
    """There was no answer."""


class Attempt:
    """What is kept of one attempt. Filled in by the caller's thread, read by the recorder's once it has ended."""

    __slots__ = (
        "at_ns", "begun", "call", "chunks", "decided", "ending", "error", "first", "follows", "headers", "id", "kept",
        "last", "method", "mirror", "path", "request", "response_headers", "retries", "salt_id", "size", "status",
        "too_large",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913  one argument per thing that is known when it begins
        self,
        *,
        id_: str,
        method: str,
        path: str,
        headers: dict[str, str],
        request: bytes,
        retries: int,
        mirror: Mirror,
        salt_id: str,
        decided: Sampled | NotEligible | None,
        call: str | None = None,
    ) -> None:
        self.id = id_
        self.call = call
        """The call it belongs to, where the source names it; else its body tells."""
        self.method = method
        self.path = path
        self.headers = headers
        self.request = request
        self.retries = retries
        self.follows: Attempt | None = None
        """The attempt before it at the same call, of which nothing more is to come."""
        """How often the same call was tried before."""
        self.mirror = mirror
        self.salt_id = salt_id
        self.decided = decided
        # Whether a later attempt belongs to the sample was decided for the first one, which only the recorder knows.
        self.kept = isinstance(decided, Sampled) or (retries > 0 and decided is None)
        self.too_large: MirrorDrop | None = None
        if self.kept and len(request) > mirror.max_request_bytes:
            self.too_large = MirrorDrop.REQUEST_TOO_LARGE
        self.chunks: list[bytes] = []
        self.size = 0
        self.status = 0
        self.response_headers: dict[str, str] = {}
        self.error: str | None = None
        self.ending = Ending.OPEN
        self.at_ns = time.time_ns()
        self.begun = perf_counter()
        self.first: float | None = None
        self.last: float | None = None

    def add(self, chunk: bytes) -> None:
        """Keep a piece of the answer's body, as it was on the wire."""
        self.last = perf_counter()
        if self.first is None:
            self.first = self.last
        self.size += len(chunk)
        if self.too_large is None:
            if self.size > self.mirror.max_response_bytes:
                self.too_large = MirrorDrop.RESPONSE_TOO_LARGE
                self.chunks = []
            else:
                self.chunks.append(chunk)

    @property
    def latency_ms(self) -> float | None:
        """From sending the request to the last byte of the answer."""
        return None if self.last is None else (self.last - self.begun) * 1000

    @property
    def ttft_ms(self) -> float | None:
        """To the first byte of the answer's body."""
        return None if self.first is None else (self.first - self.begun) * 1000

    @property
    def waiting_bytes(self) -> int:
        """What it takes in memory besides itself."""
        return len(self.request) + (0 if self.too_large else self.size)

    def strip(self, reason: MirrorDrop) -> None:
        """Keep no body any more, because of ``reason``."""
        self.too_large = reason
        self.chunks = []

    def settle_early_end(self) -> None:
        """Take a caller that stopped reading after the closing event for one that read to the end; both clients do."""
        if self.ending is not Ending.LEFT or self.too_large or not self.status:
            return
        body = endings.whole(b"".join(self.chunks), self.response_headers)
        if body is not None:
            # Of a coded body the end of the coding is missing, so it is kept without.
            self.response_headers.pop("content-encoding", None)
            self.chunks = [body]
            self.ending = Ending.WHOLE

    @property
    def may_be_followed(self) -> bool:
        """Whether the client may try the same call again."""
        if self.ending in {Ending.CUT, Ending.FAILED}:
            return True
        if self.call is not None:
            # A router may go on to another model after any failure.
            return self.status >= 400
        return self.ending is Ending.WHOLE and (self.status in _TRIED_AGAIN or self.status >= 500)

    @property
    def hold_s(self) -> float:
        """How long the next attempt can take to begin: both clients wait for 8 s at most unless they are told to."""
        if self.call is not None:
            return _LONGEST_HOLD_S
        return min(_LONGEST_HOLD_S, 10.0 + _told_s(self.response_headers))

    @property
    def key(self) -> bytes:
        """The same for all attempts of one call: a client sends the same bytes again."""
        if self.call is not None:
            return self.call.encode()
        return hashlib.blake2b(self.request, digest_size=16, person=self.path.encode()[-16:]).digest()

    @property
    def drop(self) -> MirrorDrop | None:
        """Why it does not become a record, if it was sampled."""
        if self.ending is Ending.LEFT:
            return MirrorDrop.CLIENT_DISCONNECTED
        if self.ending is Ending.CUT:
            return MirrorDrop.PRODUCTION_CUT
        if self.too_large is not None:
            return self.too_large
        if 300 <= self.status < 400 or (not self.mirror.production_failures and not 200 <= self.status < 300):
            return MirrorDrop.PRODUCTION_FAILED
        return None


def _told_s(headers: Mapping[str, str]) -> float:
    """Seconds a client was told to wait, in any of the ways the official clients understand."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        with suppress(KeyError, ValueError, OverflowError):
            told = float(headers[name]) * unit_s
            return max(0.0, told) if math.isfinite(told) else 0.0
    with suppress(KeyError, ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    return 0.0
