"""What is mirrored at the moment: the configuration as last read, and whether anything is mirrored at all."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from harness.config import Live, Mirror
from harness.domain.mirror import NotEligible
from harness.spool import control
from harness.spool.headers import RequestHeaders
from harness.spool.sampling import Sampler


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """One state of the configuration; replaced as a whole, so that a request never sees half of two."""

    mirror: Mirror
    sampler: Sampler
    headers: RequestHeaders
    closed: NotEligible | None = None
    """Why nothing is mirrored now."""

    @classmethod
    def of(cls, live: Live) -> Self:
        """The rules a configuration says."""
        return cls(mirror=live.mirror, sampler=Sampler(live.mirror, live.salt), headers=RequestHeaders(live.mirror))

    def now(self, spool: Path) -> Self:
        """The same rules, closed when the kill switch of this spool or the clock says so."""
        closed = self.sampler.closed(time.time()) if control.is_mirroring(spool) else NotEligible.KILL_SWITCH
        return self if closed is self.closed else replace(self, closed=closed)
