"""A configuration that is followed while it changes: the last good one is in force, whatever is on disk."""

import logging
from pathlib import Path

from harness.config import Live, load_live
from harness.errors import ConfigurationError

_log = logging.getLogger("harness.gateway")


class Followed:
    """The configuration in force, and what is wrong with the one on disk."""

    def __init__(self, live: Live, path: Path | None) -> None:
        self.live = live
        self.problem: str | None = None
        """Why the file as it is now is not in force."""
        self._path = path
        # Nobody knows how the file was when `live` was read: the first look takes in what it says now.
        self._stamp: tuple[int, int, int] | None = None

    def look(self) -> bool:
        """Take in what has changed; whether another configuration is in force now."""
        if self._path is None:
            return False
        stamp = _stamp(self._path)
        if stamp == self._stamp and (stamp is not None or self.problem is not None):
            return False
        self._stamp = stamp
        try:
            live = load_live(self._path)
        except ConfigurationError as error:
            self.problem = str(error)
            _log.error("the changed configuration is not taken in: %s", error)
            return False
        self.problem = None
        changed = live != self.live
        self.live = live
        return changed


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
