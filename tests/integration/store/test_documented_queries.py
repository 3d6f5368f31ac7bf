"""The queries of docs/database.md run on both databases and find what they say."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import harness
from harness.domain.judgment import Judgment, Label, Order
from harness.store import Store
from harness.store.connection import Database
from harness.testing import exchange, observation

PAGE = Path(harness.__file__).parents[1] / "docs" / "database.md"
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
MORNING = datetime(2026, 5, 4, 7, tzinfo=UTC)


def test_documented_queries_answer_what_they_say(store_url: str) -> None:
    with Store.open(store_url) as store:
        store.put_exchanges("r1", [(exchange(id=f"e{i}"), float(i)) for i in range(2)])
        answer = observation("ok", arm="small", exchange_id="e0", cost_usd=0.5, attempts=1, started_at=MORNING)
        store.put_observations("r1", [answer])
        judged = Judgment(
            exchange_id="e0", arm="small", judge="pairwise", judge_fingerprint="j", observation_fingerprint="f1",
            order=Order.PRODUCTION_FIRST, value=1.0, label=Label.WIN,
        )  # fmt: skip
        flipped = replace(judged, order=Order.CANDIDATE_FIRST, value=0.0, label=Label.LOSS)
        store.put_judgments("r1", [judged, flipped])
    database = Database(store_url)
    with database.engine.connect() as connection:
        endings, compared, scores, flips, spent = [
            [tuple(row) for row in connection.exec_driver_sql(query.replace("%", "%%"))] for query in QUERIES
        ]
    database.close()
    assert endings == [("r1", "production", "", "completed", "", 2), ("r1", "small", "f1", "completed", "", 1)]
    assert compared == [("small", 1, 100.0, 100.0, None, 0.5)]
    assert scores == [("gpt-4o", "small", "pairwise", 2, 0.5)]
    assert flips == [("e0", "small", "pairwise", "win", "loss")]
    assert [(str(day), *rest) for day, *rest in spent] == [("2026-05-04", "small", 1, 0.5, 0)]
