"""A day's money, within the run's."""

from datetime import UTC, datetime, timedelta

import pytest

from harness.domain.model import BudgetExhausted
from harness.models.budget import Purse
from harness.pipeline.live.purses import DailyPurse, Limit, midnight

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Now:
    def __init__(self) -> None:
        self.value = NOON

    def __call__(self) -> datetime:
        return self.value


def purse(now: Now, *, daily: float | None = 1.0, run: float | None = None, spent: float = 0.0) -> DailyPurse:
    return DailyPurse("daily new", daily, spent, run=Purse("candidates", run), now=now)


async def spend(on: DailyPurse, amount: float) -> None:
    await on.reserve(amount)
    on.settle(amount, amount)


async def test_a_day_has_its_limit_and_the_next_one_its_own():
    now = Now()
    own = purse(now, spent=0.5)
    await spend(own, 0.5)
    with pytest.raises(BudgetExhausted):
        await spend(own, 0.1)

    now.value = midnight(NOON) + timedelta(days=1)

    await spend(own, 1.0)
    assert own.spent_usd == 1.0
    assert own.run.spent_usd == 1.5


async def test_a_clock_set_back_over_midnight_begins_no_day_anew():
    now = Now()
    own = purse(now)
    await spend(own, 1.0)
    now.value = NOON - timedelta(days=1)
    with pytest.raises(BudgetExhausted):
        await spend(own, 0.1)
    now.value = NOON
    with pytest.raises(BudgetExhausted):
        await spend(own, 0.1)


async def test_the_runs_limit_holds_over_days_and_nothing_stays_reserved():
    now = Now()
    own = purse(now, daily=1.0, run=1.5)
    await spend(own, 1.0)
    now.value += timedelta(days=1)
    with pytest.raises(BudgetExhausted, match="candidates"):
        await spend(own, 0.6)
    assert (own.reserved_usd, own.run.reserved_usd) == (0.0, 0.0)
    await spend(own, 0.5)


async def test_without_limits_everything_is_counted_and_nothing_refused():
    own = purse(Now(), daily=None)
    await spend(own, 1_000.0)
    assert own.limit_usd is None
    assert own.spent_usd == 1_000.0


async def test_a_day_of_zero_dollars_means_never():
    with pytest.raises(BudgetExhausted):
        await spend(purse(Now(), daily=0.0), 0.01)


async def test_a_spent_day_stays_spent_until_it_is_over_though_smaller_calls_still_fit():
    now = Now()
    own = purse(now)
    await spend(own, 0.9)
    assert own.exhausted is None
    with pytest.raises(BudgetExhausted):
        await spend(own, 0.2)
    await spend(own, 0.05)
    assert own.exhausted is Limit.DAY
    assert "until midnight UTC" in own.exhausted.until
    now.value += timedelta(days=1)
    assert own.exhausted is None


@pytest.mark.parametrize("daily", [1.0, None])
async def test_a_spent_run_is_not_told_as_a_spent_day(daily):
    now = Now()
    own = purse(now, daily=daily, run=0.5)
    await spend(own, 0.5)
    with pytest.raises(BudgetExhausted):
        await spend(own, 0.1)
    now.value += timedelta(days=1)
    assert own.exhausted is Limit.RUN
    assert "midnight" not in own.exhausted.until


async def test_looking_at_what_today_has_cost_begins_no_day():
    now = Now()
    own = purse(now)
    await spend(own, 0.5)
    assert own.spent_today_usd == 0.5
    now.value += timedelta(days=1)
    assert (own.spent_today_usd, own.spent_usd) == (0.0, 0.5)
