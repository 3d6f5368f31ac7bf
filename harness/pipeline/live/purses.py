"""Money per UTC day, beside the money of the whole run."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from enum import StrEnum

from harness.domain.model import BudgetExhausted
from harness.models.budget import Purse

Now = Callable[[], datetime]


def utc_now() -> datetime:
    """The wall clock: a day's limit begins anew at midnight UTC."""
    return datetime.now(UTC)


def midnight(now: datetime) -> datetime:
    """The beginning of the day."""
    return datetime.combine(now.date(), time(), tzinfo=UTC)


class Limit(StrEnum):
    """Whose money is spent."""

    DAY = "day"
    RUN = "run"

    @property
    def until(self) -> str:
        """When there is money again, for people."""
        if self is Limit.DAY:
            return "until midnight UTC or a higher limit"
        return "until the run's budget is raised and the worker started again"


class DailyPurse(Purse):
    """A limit per UTC day, within a limit for the whole run.

    What a call cost counts for the day in which it ended. A clock that is set back within a day changes nothing, and
    one that is set back over midnight begins no day anew.
    """

    def __init__(self, name: str, daily_usd: float | None, spent_usd: float, *, run: Purse, now: Now = utc_now) -> None:
        # Without a limit of the day's own a day may cost what the run may; the run's purse has the last word.
        super().__init__(name, run.limit_usd if daily_usd is None else daily_usd, spent_usd)
        self.run = run
        self._now = now
        self._day = now().date()
        self._has_limit = daily_usd is not None
        self._refused: tuple[Limit, date] | None = None

    @property
    def spent_today_usd(self) -> float:
        """What today has cost so far; for any thread, since it changes nothing."""
        return self.spent_usd if self._now().date() <= self._day else 0.0

    @property
    def refused(self) -> tuple[Limit, date] | None:
        """The limit that has refused a call, and when: the day's until the day is over, the run's for good."""
        found = self._refused
        if found is not None and found[0] is Limit.DAY and self._now().date() > found[1]:
            return None
        return found

    @property
    def exhausted(self) -> Limit | None:
        """Whose money is spent. What is left may still do for a smaller call; for any thread."""
        found = self.refused
        return found[0] if found is not None else None

    async def reserve(self, amount_usd: float) -> None:
        """As a purse does, in both."""
        self.roll()
        try:
            await super().reserve(amount_usd)
        except BudgetExhausted:
            self._refuse(Limit.DAY if self._has_limit else Limit.RUN)
            raise
        try:
            await self.run.reserve(amount_usd)
        except BaseException as error:
            super().settle(amount_usd, 0.0)
            if isinstance(error, BudgetExhausted):
                self._refuse(Limit.RUN)
            raise

    def try_reserve(self, amount_usd: float) -> bool:
        """As a purse does; of the day's alone."""
        self.roll()
        return super().try_reserve(amount_usd)

    def settle(self, reserved_usd: float, cost_usd: float) -> None:
        """As a purse does, in both."""
        self.roll()
        super().settle(reserved_usd, cost_usd)
        self.run.settle(reserved_usd, cost_usd)

    def roll(self) -> bool:
        """Begin a new day if there is one."""
        today = self._now().date()
        if today <= self._day:
            return False
        # In this order: whoever reads in between sees a day that is over.
        self.spent_usd = 0.0
        self._day = today
        return True

    def _refuse(self, limit: Limit) -> None:
        if self.exhausted not in {limit, Limit.RUN}:
            self._refused = (limit, self._day)
