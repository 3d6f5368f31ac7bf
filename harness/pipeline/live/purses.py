"""Money per UTC day, beside the money of the whole run."""

from collections.abc import Callable
from datetime import UTC, datetime, time

from harness.models.budget import Purse

Now = Callable[[], datetime]


def utc_now() -> datetime:
    """The wall clock: a day's limit begins anew at midnight UTC."""
    return datetime.now(UTC)


def midnight(now: datetime) -> datetime:
    """The beginning of the day."""
    return datetime.combine(now.date(), time(), tzinfo=UTC)


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

    async def reserve(self, amount_usd: float) -> None:
        """As a purse does, in both."""
        self.roll()
        await super().reserve(amount_usd)
        try:
            await self.run.reserve(amount_usd)
        except BaseException:
            super().settle(amount_usd, 0.0)
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
        self._day = today
        self.spent_usd = 0.0
        return True
