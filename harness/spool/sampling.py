"""Which requests are mirrored: a pure function of the configuration and the request, the same in every process."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from harness.config import Mirror
from harness.domain.mirror import NotEligible

_TAG = b"mirror"
"""Keeps the sample independent of any other assignment made with the same salt, such as canary arms."""
_WHOLE = 1 << 64
FIELD_BYTES = 1 << 20
"""Bodies above this size are not parsed for a decision; their fields count as absent."""

_NO_FIELDS: Mapping[str, str] = {}

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


def fields_of(body: bytes, names: Iterable[str]) -> dict[str, str]:
    """Those of the named fields that a JSON body has as a text, number or truth value; dots lead into objects."""
    if len(body) > FIELD_BYTES:
        return {}
    try:
        whole = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    found: dict[str, str] = {}
    for name in names:
        value: Any = whole
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, bool):
            found[name] = str(value).lower()
        elif isinstance(value, str | int | float) and value != "":
            found[name] = str(value)
    return found


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
        named = {name for name in (mirror.conversation_field, mirror.user_field) if name}
        self.body_fields = frozenset(named | {name for rule in mirror.rules for name in rule.fields})
        """Fields of the body a decision needs; without any it can be made before the body has come."""

    def closed(self, now: float) -> NotEligible | None:
        """Why nothing at all is mirrored at this time (seconds since the epoch), if so."""
        if not self.mirror.enabled:
            return NotEligible.KILL_SWITCH
        if self._starts is not None and now < self._starts:
            return NotEligible.NOT_STARTED
        if self._ends is not None and now >= self._ends:
            return NotEligible.ENDED
        return None

    def decide(
        self, path: str, headers: Mapping[str, str], request_id: str, fields: Mapping[str, str] = _NO_FIELDS
    ) -> Sampled | NotEligible | None:
        """Whether a request on a supported surface is mirrored; header names in lower case.

        ``fields`` are those of :attr:`body_fields` that the body has, as :func:`fields_of` finds them.
        """
        rate = self.mirror.rate
        for rule in self.mirror.rules:
            if rule.fits(path, headers, fields):
                if rule.rate == 0:
                    return NotEligible.DENIED
                rate = rule.rate
                break
        session = headers.get(self._conversation) or fields.get(self.mirror.conversation_field or "")
        user = headers.get(self._user) or fields.get(self.mirror.user_field or "")
        if rate < 1:
            kind, key = "request", request_id
            if self._sticky == "conversation" and session:
                kind, key = "conversation", session
            elif self._sticky == "user" and user:
                kind, key = "user", user
            if fraction(self.salt, kind, key) >= rate:
                return None
        return Sampled(rate=rate, session=session, user=user)
