"""Who has shown the token: a session per browser, so that the token itself is in no cookie."""

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

LIFETIME_S = 12 * 3_600
_MOST = 200
"""Sessions kept; the oldest goes first."""
_TRIES = 10
_WITHIN_S = 60.0


@dataclass(kw_only=True)
class Session:
    """One browser that has shown the token."""

    key: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    ends_at: float
    said: str = ""
    """What came of what was done last; shown once."""


@dataclass(kw_only=True)
class Sessions:
    """Sessions by the cookie that names them."""

    token: str | None = field(repr=False)
    """What has to be shown; nobody can when ``None``."""
    clock: Callable[[], float] = time.monotonic
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _open: OrderedDict[str, Session] = field(default_factory=OrderedDict, repr=False)
    _failed: list[float] = field(default_factory=list, repr=False)

    @property
    def must_wait(self) -> bool:
        """Whether too many wrong tokens came within a minute for another to be looked at."""
        now = self.clock()
        self._failed = [at for at in self._failed if now - at < _WITHIN_S]
        return len(self._failed) >= _TRIES

    def begin(self, token: str) -> Session | None:
        """A session for whoever shows the token; ``None`` for everybody else."""
        right = self.token is not None and not self.must_wait
        if not right or not hmac.compare_digest(token.encode("utf-8", "replace"), (self.token or "").encode()):
            self._failed.append(self.clock())
            return None
        session = Session(ends_at=self.clock() + LIFETIME_S)
        self._open[session.key] = session
        while len(self._open) > _MOST:
            self._open.popitem(last=False)
        return session

    def find(self, key: str | None) -> Session | None:
        """The session a cookie names; ``None`` when it is over or never was."""
        session = self._open.get(key or "")
        if session is not None and session.ends_at <= self.clock():
            del self._open[session.key]
            return None
        return session

    def end(self, session: Session) -> None:
        """Forget it."""
        self._open.pop(session.key, None)

    def csrf(self, session: Session | None) -> str:
        """What a form has to bring back."""
        return hmac.new(self._secret, (session.key if session else "nobody").encode(), "sha256").hexdigest()

    def is_ours(self, session: Session | None, given: str) -> bool:
        """Whether a form brought it."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.csrf(session).encode())
