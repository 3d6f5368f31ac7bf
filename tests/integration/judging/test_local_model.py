"""The model judges against a real model server, through the real client."""

from collections.abc import Sequence

import pytest

from harness.config import JudgeSection, Replay
from harness.domain.judgment import Judgment, JudgmentState, Order
from harness.domain.pair import Pair
from harness.judging import JudgeContext
from harness.judging.panel import run_judge
from harness.judging.protocol import fingerprint
from harness.models.factory import build_client
from harness.registry import build_judge
from harness.testing import FakeEmbedder, pair

DIFFERENT = pair("Paris.", "Bananas are yellow.", id="e1")
SAME = pair("Paris.", "Paris. ", id="e2")


async def judged(model_server, use: str, pairs: Sequence[Pair], **options) -> dict[tuple[str, Order], Judgment]:
    section = {"model": f"openai/{model_server.name}", "api_base": model_server.openai_base, **options}
    judge = build_judge(JudgeSection(use=use, options=section))
    client = build_client(replay=Replay(max_attempts=1))
    ctx = JudgeContext(
        judge=use, fingerprint=fingerprint(judge), models=client, embedder=FakeEmbedder(), deadline_s=240
    )
    rows: list[Judgment] = []
    try:
        await run_judge(judge, ctx, pairs, rows.extend, concurrency=2)
    finally:
        await client.aclose()
    return {(row.exchange_id, row.order): row for row in rows}


@pytest.mark.models
async def test_soft_verdicts_come_from_a_real_models_probabilities(model_server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    rows = await judged(model_server, "pairwise", [DIFFERENT, SAME], min_menu_mass=0.0)
    assert len(rows) == 4
    for order in (Order.PRODUCTION_FIRST, Order.CANDIDATE_FIRST):
        row = rows["e1", order]
        assert row.state is JudgmentState.SCORED, row.explanation
        assert row.parser == "reply/1 label_probabilities"
        assert sum(row.details["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
        assert 0.0 < row.value < 1.0
        assert row.details["menu_mass"] > 0
        assert row.tokens_in > 100
        assert row.raw is not None
        assert rows["e2", order].details == {"identical": True}


@pytest.mark.models
async def test_a_strict_schema_keeps_a_real_model_on_the_menu(model_server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    rows = await judged(model_server, "rubric", [DIFFERENT], mode="structured", max_tokens=100, score_production=False)
    row = rows["e1", Order.NONE]
    assert row.parser == "reply/1 json_schema"
    assert (row.state, row.value) in [(JudgmentState.SCORED, value / 4) for value in range(5)]
    assert row.explanation
