"""The rubric judge: each side scored alone on the same scale."""

import json
import math
from dataclasses import replace

import pytest

from harness.domain.judgment import JudgmentState, Label, UnscoredReason
from harness.domain.model import ModelSpec, TokenLogprob
from harness.domain.observation import ErrorKind
from harness.judging import JudgeContext
from harness.testing import FakeEmbedder, ScriptedModelClient, model_error, observation, pair, reply
from judges.rubric import RubricJudge


def score(value, reason="why"):
    return json.dumps({"reason": reason, "score": value})


async def judged(item, script, **options):
    client = ScriptedModelClient(script)
    ctx = JudgeContext(judge="rubric", fingerprint="f", models=client, embedder=FakeEmbedder())
    judge = RubricJudge(**{"model": ModelSpec(model="openai/judge"), "mode": "structured", **options})
    [row] = await judge.judge(item, ctx)
    return row, client


@pytest.mark.parametrize(
    ("candidate", "production", "value", "label"),
    [(5, 3, 1.0, Label.WIN), (1, 3, 0.0, Label.LOSS), (3, 3, 0.5, Label.TIE), (4, 5, 0.75, Label.LOSS)],
)
async def test_the_value_is_the_candidates_score_and_the_label_compares(candidate, production, value, label):
    row, _ = await judged(pair("Paris", "Lyon"), [score(candidate, "ours"), score(production, "theirs")])
    assert (row.value, row.label, row.explanation) == (value, label, "ours")
    assert (row.details["candidate_score"], row.details["production_score"]) == (candidate, production)
    assert row.details["production"]["explanation"] == "theirs"


async def test_a_plain_score_is_one_digit():
    row, _ = await judged(pair("Paris", "Lyon"), ["4", "2"], mode="plain")
    assert (row.value, row.label, row.parser) == (0.75, Label.WIN, "reply/1 plain")


async def test_sides_are_asked_apart_by_the_users_rubric_and_both_are_on_the_bill():
    row, client = await judged(
        pair("Paris", "Lyon"), [reply(score(4), cost_usd=0.5), reply(score(2), cost_usd=0.25)], rubric="5: rhymes"
    )
    ours, theirs = (request.messages[1]["content"] for request, _ in client.calls)
    assert "Lyon" in ours
    assert "Paris" not in ours
    assert "Paris" in theirs
    assert "Lyon" not in theirs
    assert all("5: rhymes" in request.messages[0]["content"] for request, _ in client.calls)
    assert (row.cost_usd, row.attempts, row.tokens_in) == (0.75, 2, 20)
    assert row.prompt_sha256 == RubricJudge(model=ModelSpec(model="m")).prompt_sha256


async def test_a_soft_score_is_the_mean_of_the_digits():
    top = {"4": math.log(0.6), "5": math.log(0.2), "3": math.log(0.2)}
    soft = reply("4", logprobs=(TokenLogprob(token="4", logprob=top["4"], top=top),))
    row, _ = await judged(pair("Paris", "Lyon"), [soft], mode="auto", score_production=False)
    assert row.details["candidate_score"] == pytest.approx(4.0)
    assert row.value == pytest.approx(0.75)
    assert (row.label, row.details["production_score"]) == (None, None)


async def test_identical_answers_are_scored_once():
    row, client = await judged(pair("Paris", "Paris "), [score(4)])
    assert (row.label, row.value, len(client.calls)) == (Label.TIE, 0.75, 1)


@pytest.mark.parametrize("bad", ["4/5", "4.0", 4.5, 0, 6, True, None, [4]])
async def test_scores_off_the_menu_are_unscored(bad):
    row, client = await judged(pair("Paris", "Lyon"), [score(bad), score(bad)], score_production=False)
    assert (row.state, row.reason, row.value) == (JudgmentState.UNSCORED, UnscoredReason.OFF_MENU, None)
    assert len(client.calls) == 2


async def test_production_failing_to_be_scored_costs_the_label_only():
    row, _ = await judged(pair("Paris", "Lyon"), [score(4), model_error(ErrorKind.SERVER_ERROR, "down")])
    assert (row.value, row.label, row.details["production_score"]) == (0.75, None, None)
    assert "down" in row.details["production"]["note"]
    row, _ = await judged(pair("Paris", "Lyon"), [model_error(ErrorKind.TIMEOUT), score(4)])
    assert (row.state, row.reason) == (JudgmentState.ERROR, UnscoredReason.TIMEOUT)


async def test_a_side_without_an_answer_is_not_comparable():
    item = replace(pair(), candidate=observation(arm="candidate", error=model_error().error))
    row, client = await judged(item, [])
    assert (row.reason, client.calls) == (UnscoredReason.NOT_COMPARABLE, [])
