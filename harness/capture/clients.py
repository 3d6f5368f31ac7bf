"""Finds the HTTP transports of an official client."""

import logging
from pathlib import Path
from typing import Any, TypeVar

from harness.capture import capturing, transport
from harness.config import Live
from harness.errors import ConfigurationError

Client = TypeVar("Client")
_FAMILIES = frozenset({"OpenAI", "AsyncOpenAI", "Anthropic", "AsyncAnthropic", "SyncAPIClient", "AsyncAPIClient"})
_LIBRARIES = frozenset({"openai", "anthropic"})
_log = logging.getLogger("harness.capture")


def shadow(client: Client, live: str | Path | Live | None) -> Client:
    """Capture what a client asks; see :meth:`harness.capture.entry.Shadow.__call__`.

    Raises:
        ConfigurationError: it is no official client.
    """
    if not _is_official(client):
        raise ConfigurationError(
            f"harness.shadow takes a client of the openai or anthropic package, not {type(client).__name__};"
            " for LiteLLM name the callback, for anything else put `harness serve` in front of production"
        )
    try:
        _listen(client, capturing.of(live))
    except Exception:  # noqa: BLE001  ours, whatever it is
        # The application must start with or without us.
        _log.exception("shadow capture: this client cannot be listened to, so nothing of it is captured")
    return client


def _is_official(client: object) -> bool:
    return any(
        kind.__name__ in _FAMILIES and kind.__module__.split(".")[0] in _LIBRARIES for kind in type(client).__mro__
    )


def _listen(client: Any, capture: capturing.Capture) -> None:
    http = client._client
    where = transport.origin(client.base_url)
    for found in (http._transport, *http._mounts.values()):
        if found is not None:
            transport.listen(found, where, capture, asynchronous=hasattr(http, "aclose"))
