"""The end of a stream whose rest is missing: what the gateway is told, and what it tells the client."""

import json

_BEGIN, _END = b": shadow-canary-failed ", b"\n\n"


def comment(reason: str) -> bytes:
    """The last event of a stream to the gateway; a comment, which every reader of events passes over."""
    return _BEGIN + reason.encode("ascii") + _END


def reason_in(event: bytes) -> str | None:
    """The reason in such a comment; ``None`` for any other event."""
    if not (event.startswith(_BEGIN) and event.endswith(_END)):
        return None
    return event[len(_BEGIN) : -len(_END)].decode("ascii", "replace")


def event(surface: str, reason: str, number: int) -> bytes:
    """The error event with which a stream of an API ends that was broken off.

    Args:
        surface: ``chat``, ``responses`` or ``messages``.
        reason: A value of :class:`harness.domain.unanswered.Reason`, which tells the client nothing about who answered.
        number: How many events of the stream went before, which is the number of this one in the Responses API.

    Raises:
        ValueError: there is no such surface.
    """
    text = f"the answer broke off ({reason})"
    if surface == "chat":
        error = {"message": text, "type": "server_error", "param": None, "code": reason}
        return b"data: " + _json({"error": error}) + _END
    if surface == "responses":
        return _named({"type": "error", "code": reason, "message": text, "param": None, "sequence_number": number})
    if surface == "messages":
        return _named({"type": "error", "error": {"type": "api_error", "message": text}})
    raise ValueError(f"no surface {surface!r}")


def _named(value: dict[str, object]) -> bytes:
    return b"event: error\ndata: " + _json(value) + _END


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
