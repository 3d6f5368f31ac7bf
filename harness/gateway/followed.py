"""A configuration that is followed while it changes: the last good one is in force, whatever is on disk."""

import logging
from pathlib import Path

from harness.config import FollowedFile, Live
from harness.errors import ConfigurationError

_log = logging.getLogger("harness.gateway")


class Followed:
    """The configuration in force, and what is wrong with the one on disk."""

    def __init__(self, live: Live, path: Path | None) -> None:
        self.live = live
        self._file = FollowedFile(path) if path is not None else None

    @property
    def problem(self) -> str | None:
        """Why the file as it is now is not in force."""
        return self._file.problem if self._file is not None else None

    def look(self) -> bool:
        """Take in what has changed; whether another configuration is in force now."""
        if self._file is None:
            return False
        try:
            live = self._file.changed()
        except ConfigurationError as error:
            _log.error("the changed configuration is not taken in: %s", error)
            return False
        if live is None or live == self.live:
            return False
        self.live = live
        return True
