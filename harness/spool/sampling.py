"""Which requests are mirrored: a pure function of the configuration and the request, the same in every process."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from harness.config import Mirror
from harness.domain.mirror import NotEligible

_TAG = b"mirror"
"""Keeps the sample independent of any other assignment made with the same salt, such as canary arms."""
_WHOLE = 1 << 64

SURFACES: Mapping[str, str] = {
    "/chat/completions": "chat",
    "/responses": "responses",
    "/messages": "messages",
    "/completions": "completions",
}
"""Ends of paths whose answers can be compared, and what the surface is called."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampled:
    """A request that is mirrored, and with which probability it was."""

    rate: float
    session: str | None
    user: str | None


def surface_of(method: str, path: str) -> str | None:
    """The surface of a request whose answer can be compared, else ``None``."""
    if method != "POST":
        return None
    path = path.rstrip("/")
    for end, surface in SURFACES.items():
        if path.endswith(end):
            return surface
    return None


def fraction(salt: str, kind: str, key: str, *, tag: bytes = _TAG) -> float:
    """A number in [0, 1) that only depends on its arguments: the first 8 bytes of a BLAKE2b hash."""
    digest = hashlib.blake2b(b"\0".join((tag, salt.encode(), kind.encode(), key.encode())), digest_size=8).digest()
    return int.from_bytes(digest, "big") / _WHOLE


def salt_id(salt: str) -> str:
    """Names a salt without telling it."""
    return hashlib.blake2b(salt.encode(), digest_size=4).hexdigest()


class Sampler:
    """Decides for one configuration; :meth:`decide` says ``None`` for a request that falls outside the sample.

    Raising a rate only adds requests; 0 and 1 are exact. A request without the key it would stick to (no conversation
    or user header) is sampled by its own id.
    """

    def __init__(self, mirror: Mirror, salt: str) -> None:
        self.mirror = mirror
        self.salt = salt
        self.salt_id = salt_id(salt)
        self._starts = None if mirror.starts is None else mirror.starts.timestamp()
        self._ends = None if mirror.ends is None else mirror.ends.timestamp()
        self._sticky = mirror.sticky
        self._conversation, self._user = mirror.conversation_header, mirror.user_header

    def closed(self, now: float) -> NotEligible | None:
        """Why nothing at all is mirrored at this time (seconds since the epoch), if so."""
        if not self.mirror.enabled:
            return NotEligible.KILL_SWITCH
        if self._starts is not None and now < self._starts:
            return NotEligible.NOT_STARTED
        if self._ends is not None and now >= self._ends:
            return NotEligible.ENDED
        return None

    def decide(self, path: str, headers: Mapping[str, str], request_id: str) -> Sampled | NotEligible | None:
        """Whether a request on a supported surface is mirrored; header names in lower case."""
        rate = self.mirror.rate
        for rule in self.mirror.rules:
            if rule.fits(path, headers):
                if rule.rate == 0:
                    return NotEligible.DENIED
                rate = rule.rate
                break
        session, user = headers.get(self._conversation), headers.get(self._user)
        if rate < 1:
            kind, key = "request", request_id
            if self._sticky == "conversation" and session:
                kind, key = "conversation", session
            elif self._sticky == "user" and user:
                kind, key = "user", user
            if fraction(self.salt, kind, key) >= rate:
                return None
        return Sampled(rate=rate, session=session, user=user)
