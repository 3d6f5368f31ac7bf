"""A configuration file that may change while a process runs."""

import time
from pathlib import Path

from harness.config.live import Live, load_live
from harness.errors import ConfigurationError

_AGAIN_S = 5.0
"""A file that cannot be taken in may name another, such as a prompt, that was not there yet."""


class FollowedFile:
    """The file of a live experiment, looked at again and again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str | None = None
        """Why the file as it is now cannot be taken in."""
        # Nobody knows how the file was when it was last read: the first look takes in what it says now.
        self._stamp: tuple[int, int, int] | None = None
        self._looked = False
        self._again_at = 0.0

    def changed(self) -> Live | None:
        """The configuration when the file is another one than at the last look and can be taken in.

        Raises:
            ConfigurationError: it cannot be taken in; raised once for each problem.
        """
        stamp = _stamp(self.path)
        again = self.problem is not None and time.monotonic() >= self._again_at
        if self._looked and stamp == self._stamp and not again:
            return None
        self._looked, self._stamp = True, stamp
        try:
            live = load_live(self.path)
        except ConfigurationError as error:
            self._again_at = time.monotonic() + _AGAIN_S
            if self.problem == str(error):
                return None
            self.problem = str(error)
            raise
        self.problem = None
        return live


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
