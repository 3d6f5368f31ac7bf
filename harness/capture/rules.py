"""What is captured at the moment: the configuration as last read, and whether anything is mirrored at all."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from harness.config import FollowedFile, Live, Mirror
from harness.domain.mirror import NotEligible
from harness.errors import ConfigurationError
from harness.spool import control
from harness.spool.headers import RequestHeaders
from harness.spool.sampling import Sampler

_log = logging.getLogger("harness.capture")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """One state of the configuration; replaced as a whole, so that a request never sees half of two."""

    mirror: Mirror
    sampler: Sampler
    headers: RequestHeaders
    closed: NotEligible | None
    """Why nothing is mirrored now."""


class LiveFile:
    """A live experiment that is looked at again and again while the application runs.

    Only its ``mirror`` section is taken in; a file that has become wrong leaves what was last right in force.
    """

    def __init__(self, source: Path | Live) -> None:
        self._file = FollowedFile(source) if isinstance(source, Path) else None
        self.live: Live | None = source if isinstance(source, Live) else None
        """As first read: the spool stays where it is until the application starts again."""
        self._mirror: Mirror | None = self.live.mirror if self.live else None
        self._salt = self.live.salt if self.live else ""
        self._made: tuple[Sampler, RequestHeaders] | None = None

    def look(self) -> Rules | None:
        """The rules as they are now; ``None`` as long as there has been no valid file."""
        if self._file is not None:
            self._read(self._file)
        live, mirror = self.live, self._mirror
        if live is None or mirror is None:
            return None
        if self._made is None:
            self._made = (Sampler(mirror, self._salt), RequestHeaders(mirror))
        sampler, headers = self._made
        on = control.is_mirroring(Path(live.spool.folder))
        closed = sampler.closed(time.time()) if on else NotEligible.KILL_SWITCH
        return Rules(mirror=mirror, sampler=sampler, headers=headers, closed=closed)

    def _read(self, file: FollowedFile) -> None:
        try:
            live = file.changed()
        except ConfigurationError as error:
            _log.error("shadow capture: %s; %s", error, "the file before it stays in force" if self.live else "off")
            return
        if live is None:
            return
        self.live = self.live or live
        self._mirror, self._salt, self._made = live.mirror, live.salt, None
