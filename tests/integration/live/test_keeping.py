"""A worker that keeps to the experiment's retention, beside asking and judging."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from harness.domain.reduction import Reduced, Why
from harness.store.tables import exchanges
from tests.integration.live.spooled import captured, live, spool


def aged(store, ids, days) -> None:
    with store.database.engine.begin() as connection:
        connection.execute(
            sa.update(exchanges)
            .where(exchanges.c.exchange_id.in_(ids))
            .values(timestamp=datetime.now(UTC) - timedelta(days=days))
        )


async def test_what_is_too_old_goes_and_the_report_says_so(tmp_path, store, worker_on, upstream):
    base = f"http://127.0.0.1:{upstream.port}/v1"
    spool(tmp_path, [captured(i) for i in range(12)])
    await worker_on(live(tmp_path, base)).run()
    spent = store.spent("live")
    aged(store, ["r00000", "r00001"], 100)
    aged(store, ["r00002", "r00003", "r00004"], 40)
    # A judge that is new to the run: what it has not read is kept a while longer, and no longer.
    aged(store, ["r00005"], 30.5)

    spool(tmp_path, [captured(12)], number=1)
    changes = {"retention": {"texts_days": 30, "numbers_days": 90}, "judges": ["exact", "length", "refusal"]}
    state = await worker_on(live(tmp_path, base, **changes)).run()

    assert state.exchanges == 13, "what was deleted still counts towards max_samples"
    assert store.count_exchanges("live") == 11
    assert store.spent("live")["candidates"] > spent["candidates"]
    noted = {(item.what, item.reason): item.n_exchanges for item in store.reductions("live")}
    assert noted[Reduced.EXCHANGES, Why.POLICY] == 2
    assert noted[Reduced.TEXTS, Why.POLICY] in {3, 4}
    readable = {exchange.id for exchange in store.exchanges("live")}
    assert readable >= {f"r{i:05d}" for i in range(6, 13)}
    assert not readable & {f"r{i:05d}" for i in range(5)}
    report = (tmp_path / "runs" / "live" / "report.html").read_text(encoding="utf-8")
    assert "2 exchanges were deleted on" in report
    assert "Question 3?" not in report
    assert store.decisions("live")[-1].decision["reduced"]
