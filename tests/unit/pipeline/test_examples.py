import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from harness.domain.estimate import Direction
from harness.pipeline.examples import pick
from harness.stats.evidence import ArmColumns, Evidence, ScoreColumn


def columns(n: int, failed: dict[int, str] | None = None) -> ArmColumns:
    unknown, failed = np.full(n, np.nan), failed or {}
    return ArmColumns(
        status=np.array(["failed" if i in failed else "completed" for i in range(n)], dtype=object),
        error_kind=np.array([failed.get(i, "") for i in range(n)], dtype=object),
        latency_ms=unknown, ttft_ms=unknown, tokens_in=unknown, tokens_out=unknown, cost_usd=unknown,
        answer_chars=unknown, cache_hit=np.zeros(n, dtype=bool),
    )  # fmt: skip


def evidence(values, failed=None, scores=None, **more) -> Evidence:
    n = len(values)
    return Evidence(
        arm="c",
        exchange_ids=np.array([f"e{i}" for i in range(n)], dtype=object),
        clusters=np.arange(n),
        timestamps=np.full(n, np.nan),
        production=columns(n),
        candidate=columns(n, failed),
        scores={"j": ScoreColumn.unordered("win_rate", np.array(values, dtype=float))} | (scores or {}),
        **more,
    )


def rows(picked, why):
    return [each.row for each in picked if each.why == why]


def test_the_worst_the_best_and_the_failed_are_shown():
    found = evidence([0.5, 0.0, 1.0, 0.25, np.nan, 0.75], failed={4: "timeout"})
    picked = pick(found, wanted=2)
    assert rows(picked, "worst") == [1, 3]
    assert rows(picked, "best") == [2, 5]
    assert rows(picked, "failed") == [4]
    assert {each.row: each.score for each in picked} == {0: 0.5, 1: 0.0, 2: 1.0, 3: 0.25, 4: None, 5: 0.75}


def test_no_pair_is_shown_twice_however_few_there_are():
    picked = pick(evidence([0.5, 0.5, 0.5]), wanted=10)
    assert sorted(each.row for each in picked) == [0, 1, 2]


def test_every_kind_comes_before_the_second_of_any():
    scores = [np.nan if i in {7, 8} else i / 100 for i in range(100)]
    found = evidence(scores, failed={7: "timeout", 8: "rate_limit"})
    picked = pick(found, wanted=10)
    kinds = {each.why for each in picked}
    assert kinds == {"worst", "best", "failed", "label"}
    assert {each.why for each in picked[:4]} == kinds
    assert {each.why for each in picked[4:7]} == kinds - {"label"}, "of which there was one only"


def test_every_value_of_every_slice_has_its_worst_pair():
    plan = np.array(["free", "team", "", "rare"] * 25, dtype=object)
    one = np.array(["en", ""] * 50, dtype=object)
    found = evidence([0.5 + i / 1000 for i in range(100)], attributes={"plan": plan, "language": one})
    picked = rows(pick(found, wanted=5), "slice")
    assert Counter(plan[row] for row in picked) == {"free": 1, "team": 1, "rare": 1}, "one value alone is no slice"
    assert picked == [8, 5, 7], "the worst five are shown already"


def test_failures_of_different_kinds_come_first():
    kinds = dict.fromkeys(range(50), "timeout") | {60: "rate_limit", 70: "server_error"}
    picked = rows(pick(evidence([np.nan] * 100, failed=kinds), wanted=2), "failed")
    assert [kinds[row] for row in picked] == ["timeout", "rate_limit", "server_error"]


def test_flips_labels_and_pairs_a_judge_left_unscored_are_shown():
    n = 40
    first, second = np.full(n, 0.5), np.full(n, 0.5)
    first[5], second[5] = 1.0, 0.0
    first[:3] = second[:3] = 0.0
    column = ScoreColumn(
        metric="win_rate", value=np.where(np.arange(n) == 9, np.nan, (first + second) / 2),
        missing_order=np.zeros(n, dtype=bool), production_first=first, candidate_first=second,
    )  # fmt: skip
    picked = pick(replace(evidence([0.0] * n), scores={"pairwise": column}), wanted=1)
    assert rows(picked, "flip") == [5]
    assert rows(picked, "unscored") == [9]
    assert rows(picked, "label")[0] in {1, 2}, "one loss is the worst pair already"


def test_a_judge_that_does_not_rank_shows_its_own_worst_in_its_own_direction():
    style = np.arange(30.0)
    scores = {"style": ScoreColumn.unordered("style", style)}
    for direction, worst in ((Direction.LOWER_IS_BETTER, {27, 28, 29}), (Direction.HIGHER_IS_BETTER, {0, 1, 2})):
        picked = pick(evidence([0.5] * 30, scores=scores), wanted=1, directions={"style": direction})
        assert set(rows(picked, "judge")) <= worst, "or the next, where another kind has taken it"
    assert (
        rows(pick(evidence([0.5] * 30, scores=scores), wanted=1, directions={"style": Direction.NEUTRAL}), "judge")
        == []
    )


def test_same_answers_are_few_and_neither_worst_nor_best():
    same = np.array([1.0] * 50 + [0.0] * 10)
    found = evidence([0.5] * 50 + [0.4] * 10, scores={"exact": ScoreColumn.unordered("exact_match", same)})
    picked = pick(found, wanted=20)
    assert len(rows(picked, "unchanged")) == 3
    assert all(row >= 50 for each in ("worst", "best") for row in rows(picked, each))


def test_among_equals_the_least_similar_answers_tell_most():
    similarity = np.array([0.9, 0.2, 0.8, 0.3, 0.95, 0.5])
    found = evidence([0, 0, 0, 1, 1, 1], scores={"s": ScoreColumn.unordered("similarity", similarity)})
    picked = pick(found, wanted=1)
    assert rows(picked, "worst") == [1]
    assert rows(picked, "best") == [3]


@pytest.mark.parametrize("n", [0, 1])
def test_next_to_nothing_is_no_trouble(n):
    assert len(pick(evidence([0.0] * n), wanted=10)) == n
    unranked = replace(evidence([np.nan] * n), scores={})
    assert pick(unranked, wanted=10) == ()


def test_a_million_pairs_take_a_moment():
    n = 1_000_000
    rng = np.random.default_rng(3)
    found = evidence(rng.choice([0.0, 0.5, 1.0], n), attributes={"plan": rng.choice(["a", "b", "c"], n).astype(object)})
    begin = time.process_time()
    picked = pick(found, wanted=10)
    assert time.process_time() - begin < 10
    assert picked == pick(found, wanted=10)
