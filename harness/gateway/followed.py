"""A configuration that is followed while it changes: the last good one is in force, whatever is on disk."""

import logging
from pathlib import Path

from harness.config import FollowedFile, Live
from harness.errors import ConfigurationError

_log = logging.getLogger("harness.gateway")


class Followed:
    """The configuration in force, and what is wrong with the one on disk; of a changed one, `mirror` is taken in."""

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
        if live is None:
            return False
        followed = self.live.model_copy(update={"mirror": live.mirror})
        if followed != live:
            _log.warning("what changed outside `mirror` is taken in at the next start")
        changed = followed != self.live
        self.live = followed
        return changed
