"""What is captured at the moment."""

import logging
from pathlib import Path

from harness.config import FollowedFile, Live
from harness.errors import ConfigurationError
from harness.spool.rules import Rules

_log = logging.getLogger("harness.capture")


class LiveFile:
    """A live experiment that is looked at again and again while the application runs.

    Only its ``mirror`` section is taken in; a file that has become wrong leaves what was last right in force.
    """

    def __init__(self, source: Path | Live) -> None:
        self._file = FollowedFile(source) if isinstance(source, Path) else None
        self.live: Live | None = source if isinstance(source, Live) else None
        """Of a changed file only `mirror`: the spool stays where it is until the application starts again."""
        self._rules: Rules | None = Rules.of(source) if isinstance(source, Live) else None

    def look(self) -> Rules | None:
        """The rules as they are now; ``None`` as long as there has been no valid file."""
        if self._file is not None:
            self._read(self._file)
        if self.live is None or self._rules is None:
            return None
        self._rules = self._rules.now(Path(self.live.spool.folder))
        return self._rules

    def _read(self, file: FollowedFile) -> None:
        try:
            live = file.changed()
        except ConfigurationError as error:
            _log.error("shadow capture: %s; %s", error, "the file before it stays in force" if self.live else "off")
            return
        if live is None:
            return
        self.live = (self.live or live).model_copy(update={"mirror": live.mirror})
        self._rules = Rules.of(self.live)
