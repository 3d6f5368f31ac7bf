"""Judges with one fault each, and what their health says of it."""

import numpy as np
import pytest

from harness.domain.health import HealthCheck, HealthState, JudgeHealth
from harness.judging.conduct import Conduct, family
from harness.judging.health import health_of
from harness.stats.evidence import Floats, LabelColumn, ScoreColumn

FAIL, WARN, PASS, UNKNOWN = HealthState.FAIL, HealthState.WARN, HealthState.PASS, HealthState.UNKNOWN
N = 100
RNG = np.random.default_rng(7)
TRUTH = RNG.permutation(np.repeat([1.0, 0.0], N // 2))
"""Whether the candidate's answer is the better one."""
NOISE = RNG.random((2, N))
LONGER = RNG.permutation(np.repeat([1.0, 0.0], N // 2))
"""Whether the candidate's answer is the longer one."""


def scores(production_first: Floats, candidate_first: Floats) -> ScoreColumn:
    both = np.stack([np.asarray(production_first, dtype=float), np.asarray(candidate_first, dtype=float)])
    n = np.isfinite(both).sum(axis=0)
    value = np.divide(np.nansum(both, axis=0), n, out=np.full(both.shape[1], np.nan), where=n > 0)
    return ScoreColumn(
        metric="win_rate", value=value, missing_order=n == 1, production_first=both[0], candidate_first=both[1]
    )


def people(value: Floats = TRUTH) -> LabelColumn:
    return LabelColumn(value=value, labellers=np.ones(len(value), dtype=int), probability=np.ones(len(value)))


def health(column: ScoreColumn, **more) -> JudgeHealth:
    rows = len(column.value)
    lengths = {"candidate_chars": 100 + 50 * np.resize(LONGER, rows), "production_chars": np.full(rows, 125.0)}
    return health_of(Conduct(judge="j", scores=column, clusters=np.arange(rows), **{**lengths, **more}))


def check(found: JudgeHealth, name: str) -> HealthCheck:
    [item] = [item for item in found.checks if item.name == name]
    return item


def states(found: JudgeHealth) -> dict[str, HealthState]:
    return {item.name: item.state for item in found.checks}


PERFECT = scores(TRUTH, TRUTH)
ALWAYS_FIRST = scores(np.zeros(N), np.ones(N))
ALWAYS_LONGER = scores(LONGER, LONGER)
ALL_TIES = scores(np.full(N, 0.5), np.full(N, 0.5))
COIN = scores(np.round(NOISE[0]), np.round(NOISE[1]))


@pytest.mark.parametrize(
    ("judge", "failed"),
    [
        (PERFECT, set()),
        (ALWAYS_FIRST, {"position", "flips", "signal", "people"}),
        (ALWAYS_LONGER, {"signal", "people"}),
        (ALL_TIES, {"signal", "people"}),
        (COIN, {"signal", "people", "flips"}),
    ],
)
def test_what_condemns_a_judge_when_people_have_labelled(judge, failed):
    found = health(judge, people=people())
    assert {item.name for item in found.failed} == failed
    assert found.usable is not failed or not failed
    assert all(item.sentence.endswith(".") and item.remedy for item in found.failed)


@pytest.mark.parametrize(
    ("judge", "failed"),
    [
        (PERFECT, set()),
        (ALWAYS_FIRST, {"position", "flips", "signal"}),
        (ALWAYS_LONGER, set()),
        (ALL_TIES, {"signal"}),
    ],
)
def test_what_condemns_a_judge_without_labels(judge, failed):
    assert {item.name for item in health(judge).failed} == failed


def test_a_silent_judge_is_condemned_and_nothing_else_is_said_of_it():
    nothing = np.full(N, np.nan)
    found = health(scores(nothing, nothing), unscored={"parse_failed": 90, "off_menu": 10}, people=people())
    assert states(found) == {
        "position": UNKNOWN, "flips": UNKNOWN, "signal": UNKNOWN, "unscored": FAIL, "people": UNKNOWN,
        "self_agreement": UNKNOWN, "length": UNKNOWN,
    }  # fmt: skip
    assert check(found, "unscored").sentence == (
        "It gave no verdict on 100 of 100 pairs, 100.00% (96.30% to 100.00%): parse_failed 90, off_menu 10."
    )


# Position and flips


def leaning(to_first: int, to_second: int, pairs: int = N) -> ScoreColumn:
    """Word verdicts: the first slot on some pairs in both orders, the second on others, else the same answer."""
    production_first, candidate_first = np.ones(pairs), np.ones(pairs)
    production_first[:to_first] = 0.0
    candidate_first[to_first : to_first + to_second] = 0.0
    return scores(production_first, candidate_first)


@pytest.mark.parametrize(
    ("to_first", "to_second", "pairs", "state"),
    [
        (3, 2, 100, PASS),  # first 101 of 200
        (25, 4, 100, FAIL),  # 121 of 200
        (19, 15, 200, PASS),  # 204 of 400
        (83, 2, 200, FAIL),  # 281 of 400
        (9, 0, 100, PASS),  # told from one half, and less than 5 points away
        (19, 0, 19, UNKNOWN),  # too few to condemn or to clear
        (20, 0, 20, FAIL),
    ],
)
def test_the_first_slot_is_told_from_one_half_and_five_points_away(to_first, to_second, pairs, state):
    found = check(health(leaning(to_first, to_second, pairs)), "position")
    assert found.state is state, found.sentence
    assert found.estimate.value == pytest.approx(0.5 + (to_first - to_second) / 2 / pairs)
    assert ("mode: soft" in found.remedy) == (state is FAIL or pairs == 19)


@pytest.mark.parametrize(
    ("flips", "pairs", "state"),
    [(5, 100, PASS), (29, 100, WARN), (85, 200, FAIL), (41, 100, FAIL), (40, 100, WARN), (12, 12, UNKNOWN)],
)
def test_contradictions_are_counted_against_a_judge(flips, pairs, state):
    found = check(health(leaning(flips - flips // 2, flips // 2, pairs)), "flips")
    assert found.state is state, found.sentence
    assert found.sentence.startswith(f"Its two orders name opposite winners on {flips} of {pairs} pairs, ")


def test_a_tie_beside_a_win_is_no_contradiction():
    found = check(health(scores(np.full(N, 0.5), np.ones(N))), "flips")
    assert (found.state, found.estimate.value) == (PASS, 0.0)


def test_pairs_of_one_conversation_count_once():
    column = leaning(25, 4)
    together = {"clusters": np.arange(N) % 5}
    rows = health_of(Conduct(judge="j", scores=column, **together))
    assert check(rows, "position").estimate.n_clusters == 5
    assert check(rows, "position").state is PASS


def test_soft_scores_that_lean_are_believed_by_their_average():
    """By its likeliest word the judge takes the first slot 98 of 100 times, and its probabilities still rank."""
    lean, clear = 0.35, 0.08 * (2 * TRUTH - 1)
    found = health(scores(0.5 - lean + clear, 0.5 + lean + clear).as_verdicts(), people=people())
    assert check(found, "position").estimate.value == 1.0
    assert "+70.00 points" in check(found, "position").sentence
    assert {name for name, state in states(found).items() if state is WARN} == {"position", "flips"}
    assert "cancels that" in check(found, "position").sentence
    assert found.usable
    assert found.figures["position_effect"] == pytest.approx(0.7)


def test_a_lean_is_not_cancelled_where_one_order_is_read():
    """One order per pair, drawn, and both on an audited share: the lean is measured on that share."""
    drawn = np.where(np.arange(N) % 2, np.nan, 0.2)
    column = scores(drawn, np.where(np.isnan(drawn), 0.8, np.nan))
    column.production_first[:24], column.candidate_first[:24] = 0.2, 0.8
    found = check(health(column), "position")
    assert (found.state, found.estimate.n) == (WARN, 24)
    assert "cancels" not in found.sentence
    assert found.remedy == "Have pairs read in both orders (`orders: both`)."


def test_identical_answers_hide_no_lean():
    same = np.arange(N) >= 30
    column = scores(np.where(same, 0.5, 0.0), np.where(same, 0.5, 1.0))
    found = health(column, identical=same)
    assert check(found, "position").estimate.n == 30
    assert {item.name for item in found.failed} == {"position", "flips", "signal"}


def test_verdicts_are_words_when_they_are_told_to_be():
    soft = scores(np.full(N, 0.2), np.full(N, 0.8))
    assert check(health(soft), "position").state is WARN
    assert check(health(soft, soft=False), "position").state is FAIL


def test_a_judge_that_reads_one_order_has_no_position_to_measure():
    found = health(ScoreColumn.unordered("win_rate", TRUTH), people=people())
    assert (check(found, "position").state, check(found, "flips").state) == (UNKNOWN, UNKNOWN)
    assert "orders: both" in check(found, "flips").remedy
    assert found.usable


def test_flips_are_banded_by_likeness():
    likeness = np.repeat([0.3, 0.6, 0.9, 0.97, 1.0], N // 5)
    bands = health(leaning(30, 0), similarity=likeness).bands
    assert [(band.band, band.pairs, band.flips, band.first_slot) for band in bands] == [
        ("under 0.5", 20, 20, 1.0), ("0.5 to 0.8", 20, 10, 0.75), ("0.8 to 0.95", 20, 0, 0.5),
        ("0.95 and more", 40, 0, 0.5),
    ]  # fmt: skip
    assert health(leaning(30, 0)).bands == ()
    assert health(leaning(30, 0), similarity=np.full(N, 0.3)).bands[1].first_slot is None


# Unscored, length, family, production against itself


@pytest.mark.parametrize(
    ("scored", "unscored", "state"),
    [
        (100, {}, PASS),
        (99, {"truncated": 1}, PASS),
        (4, {"truncated": 1}, UNKNOWN),  # one bad reply in a small run
        (0, {"truncated": 1}, UNKNOWN),
        (10, {"truncated": 9}, UNKNOWN),
        (96, {"off_menu": 4}, WARN),
        (90, {"off_menu": 7, "parse_failed": 3}, FAIL),
        (50, {"not_applicable": 30, "not_comparable": 30, "not_drawn": 30, "budget": 30}, PASS),
        (0, {"budget": 30}, UNKNOWN),
    ],
)
def test_pairs_without_a_verdict_condemn_when_their_share_is_told_from_two_percent(scored, unscored, state):
    found = check(health(scores(np.ones(scored), np.ones(scored)), unscored=unscored), "unscored")
    assert found.state is state, found.sentence


def test_pairs_with_a_verdict_in_one_order_alone_are_a_warning():
    candidate_first = np.where(np.arange(N) < 5, np.nan, TRUTH)
    found = check(health(scores(TRUTH, candidate_first)), "unscored")
    assert (found.state, "5 more have one in only one of two orders" in found.sentence) == (WARN, True)


def test_a_preference_for_longer_answers_is_a_warning_and_never_condemns():
    found = health(ALWAYS_LONGER)
    assert check(found, "length").state is WARN
    assert found.usable
    assert check(health(PERFECT), "length").state is PASS
    assert check(health(PERFECT, candidate_chars=None), "length").state is UNKNOWN


@pytest.mark.parametrize(
    ("production", "candidate", "state"),
    [
        (["gpt-4o"], ["claude-sonnet-4-5"], WARN),
        (["claude-3"], ["openai/gpt-4.1-mini"], WARN),
        (["claude-3"], ["mistral-large"], PASS),
    ],
)
def test_kinship_of_judge_and_judged_is_said(production, candidate, state):
    answering = {"production": production, "the candidate": candidate}
    found = check(health(PERFECT, models=["openai/gpt-4.1"], answering=answering), "family")
    assert found.state is state
    assert ("openai/gpt-4.1, which it asks, is of the same family as" in found.sentence) == (state is WARN)


def test_kinship_is_no_matter_for_a_judge_without_a_model():
    assert "family" not in states(health(PERFECT, answering={"production": ["gpt-4o"]}))
    assert family("together_ai/meta-llama/Llama-3-8b") == "llama"


@pytest.mark.parametrize(
    ("wins", "ties", "losses", "state"),
    [
        (30, 40, 30, PASS),
        (0, 100, 0, PASS),
        (51, 0, 49, PASS),
        (70, 0, 30, FAIL),
        (30, 0, 70, FAIL),
        (6, 94, 0, WARN),  # told from one half, but perhaps within two points of it
        (19, 0, 0, UNKNOWN),
        (20, 0, 0, FAIL),
        (0, 0, 100, FAIL),
    ],
)
def test_production_against_itself_has_to_come_to_a_half(wins, ties, losses, state):
    values = np.repeat([1.0, 0.5, 0.0], [wins, ties, losses])
    rows = np.full(N, np.nan)
    rows[: len(values)] = values
    found = health(PERFECT, replica=ScoreColumn.unordered("win_rate", rows))
    assert check(found, "self_agreement").state is state, check(found, "self_agreement").sentence
    assert found.figures["noise_sd"] == pytest.approx(np.std(values, ddof=1))


def test_without_a_replica_nobody_knows():
    assert check(health(PERFECT), "self_agreement").state is UNKNOWN


# What others found, and what is not a preference


def test_checks_made_elsewhere_are_passed_through_and_condemn():
    bad = HealthCheck(name="injection", title="t", state=FAIL, sentence="2 of 6 win.", remedy="Take another.")
    found = health(PERFECT, further=[bad])
    assert found.checks[0] is bad
    assert found.failed == (bad,)
    assert not found.usable


def test_a_score_that_is_no_preference_is_checked_for_gaps_and_kinship_alone():
    found = health(PERFECT, preference=False, models=["gpt-4o"], answering={"production": ["gpt-4"]})
    assert set(states(found)) == {"unscored", "family"}
    assert found.bands == ()
