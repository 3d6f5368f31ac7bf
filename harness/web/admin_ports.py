"""What gateways, workers and controllers say of themselves on their admin ports."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.errors import InfrastructureError, InputError

_WAIT_S = 1.0
_KEEP_S = 2.0
"""How old what was heard may be before it is asked again."""
_LIMIT = 4 << 20
_UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  where it listens, to where it is asked


@dataclass(kw_only=True)
class AdminPort:
    """One process's admin port; asked at most every two seconds, whoever wants to know."""

    name: str
    """``gateway``, ``worker`` or ``rollout``."""
    host: str
    port: int
    path: str = "/status"
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _heard: Mapping[str, Any] | None = None
    _asked_at: float = float("-inf")

    @property
    def is_known(self) -> bool:
        """Whether there is an address to ask at: a port chosen by the system is none."""
        return self.port != 0

    def status(self) -> Mapping[str, Any] | None:
        """What it says; ``None`` when it does not answer."""
        with self._lock:
            if self.is_known and self.clock() - self._asked_at >= _KEEP_S:
                self._heard = self._ask("GET", self.path)
                self._asked_at = self.clock()
            return self._heard

    def forget(self) -> None:
        """Ask again the next time."""
        with self._lock:
            self._asked_at = float("-inf")

    def switch_mirror(self, enabled: bool, token: str) -> None:
        """Turn mirroring on or off.

        Raises:
            InfrastructureError: the process does not answer.
            InputError: it refuses.
        """
        body = json.dumps({"enabled": enabled})
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        try:
            status, raw = self._exchange("PUT", "/mirror", body, headers)
        except (OSError, http.client.HTTPException) as error:
            raise InfrastructureError(f"the {self.name}'s admin port does not answer ({error})") from error
        self.forget()
        if status != 200:
            raise InputError(f"the {self.name} refused ({status}): {raw[:300].decode('utf-8', 'replace')}")

    def _ask(self, method: str, path: str) -> Mapping[str, Any] | None:
        try:
            status, raw = self._exchange(method, path, None, {})
            found = json.loads(raw) if status == 200 else None
        except (OSError, http.client.HTTPException, ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    def _exchange(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(_UNSPECIFIED.get(self.host, self.host), self.port, timeout=_WAIT_S)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read(_LIMIT)
        finally:
            connection.close()
