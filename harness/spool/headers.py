"""Which headers may enter the spool: a short list, and never one that holds a credential."""

from collections.abc import Iterable

from harness.config import Mirror
from harness.config.live import CREDENTIAL_HEADERS

RawHeaders = Iterable[tuple[bytes, bytes]]
"""Names and values as they were on the wire; names in any case."""

INTERNAL = "x-shadow-harness-internal"
"""Set, to any value, on our own calls: they are never mirrored, wherever they come by."""
SOURCE = "x-shadow-harness-source"
"""Kept with a record that no gateway made: which other source did."""
CREDENTIALS = frozenset(name.encode() for name in CREDENTIAL_HEADERS)
"""Dropped here whatever a configuration that was checked when it was read says."""
REQUEST = frozenset({b"content-type", b"content-encoding", b"x-request-id", b"x-stainless-retry-count"})
"""Of every request; a client that tries again says so in the last."""
RESPONSE = frozenset({
    b"content-type", b"content-encoding", b"retry-after", b"retry-after-ms", b"x-request-id", b"request-id",
})  # fmt: skip
"""Of every answer, besides those that begin with one of :data:`LIMITS`."""
LIMITS = (b"x-ratelimit-", b"anthropic-ratelimit-")


class RequestHeaders:
    """Picks the headers of requests by one configuration."""

    def __init__(self, mirror: Mirror) -> None:
        sticky = {mirror.conversation_header.encode(), mirror.user_header.encode()}
        self._kept = (REQUEST | sticky | {name.encode() for name in mirror.metadata_headers}) - CREDENTIALS
        rules = {name.lower().encode() for rule in mirror.rules for name in rule.headers}
        self._decided_by = frozenset(sticky | rules | {INTERNAL.encode()})

    def to_decide(self, headers: RawHeaders) -> dict[str, str]:
        """What the sampler looks at; it may hold what must not be stored."""
        return _pick(headers, self._decided_by)

    def to_keep(self, headers: RawHeaders) -> dict[str, str]:
        """What is stored with the request."""
        return _pick(headers, self._kept)


def of_response(headers: RawHeaders) -> dict[str, str]:
    """What is stored with the answer."""
    return _pick(headers, RESPONSE, LIMITS)


def _pick(headers: RawHeaders, names: frozenset[bytes], prefixes: tuple[bytes, ...] = ()) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw, value in headers:
        name = raw.lower()
        if name in names or (prefixes and name.startswith(prefixes)):
            key, text = name.decode("latin-1"), value.decode("latin-1")
            found[key] = f"{found[key]}, {text}" if key in found else text
    return found
