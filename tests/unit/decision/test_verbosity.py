from dataclasses import replace

import numpy as np
import pytest

from harness.decision import verbosity
from harness.decision.scope import Scope
from harness.stats import length_control
from harness.stats.evidence import ScoreColumn
from harness.stats.looks import ONE_LOOK, AnyLook
from tests.unit.decision.factory import JUDGES, arm, evidence

N = 2000


def scope(data, *, looks=ONE_LOOK, level=0.95) -> Scope:
    return Scope(evidence=data, level=level, looks=looks, judge_metrics=JUDGES)


def lengths(seed: int = 1) -> np.ndarray:
    """Of the candidate's answers, where production's have 50 characters: mostly longer."""
    return np.maximum(np.round(70 + 40 * np.random.default_rng(seed).normal(size=N)), 1)


def fond_of_length(chars: np.ndarray, seed: int = 2) -> np.ndarray:
    """A judge that sees nothing but length."""
    longer = 1 / (1 + np.exp(-2 * np.tanh((chars - 50) / 40)))
    return (np.random.default_rng(seed).random(len(chars)) < longer).astype(float)


def controlled(data, **options):
    return verbosity.controlled(scope(data, **options), "judge", "win_rate_length_controlled")


def test_a_win_by_length_alone_is_none_at_equal_length():
    chars = lengths()
    data = evidence(N, candidate=arm(N, answer_chars=chars), wins=fond_of_length(chars))
    assert np.mean(data.scores["judge"].value) > 0.6
    found = controlled(data)
    assert found.low < 0.5 < found.high
    assert found.value == pytest.approx(0.5, abs=0.06)


def test_a_judge_that_does_not_look_at_length_keeps_its_rate():
    wins = (np.random.default_rng(3).random(N) < 0.6).astype(float)
    data = evidence(N, candidate=arm(N, answer_chars=lengths()), wins=wins)
    assert controlled(data).value == pytest.approx(wins.mean(), abs=0.03)
    same = evidence(N, wins=wins)
    assert controlled(same).value == pytest.approx(wins.mean())


def test_failures_settle_their_pairs_whatever_the_length_of_the_answers():
    chars = lengths()
    candidate = arm(N, answer_chars=chars, failed=range(1800, 1900))
    production = arm(N, failed=range(1900, 2000))
    data = evidence(N, production=production, candidate=candidate, wins=fond_of_length(chars))
    answers, found = controlled(data.take(np.arange(1800))), controlled(data)
    assert found.value == pytest.approx(0.9 * answers.value + 0.05)
    # How many of each there are is not known exactly either.
    assert found.std_error > 0.9 * answers.std_error
    assert found.low < 0.9 * answers.low + 0.05 < 0.9 * answers.high + 0.05 < found.high


def test_more_looks_make_it_wider_and_keep_it_a_rate():
    chars = lengths()
    data = evidence(N, candidate=arm(N, answer_chars=chars), wins=fond_of_length(chars))
    once, often = (controlled(data, looks=looks) for looks in (ONE_LOOK, AnyLook()))
    assert 0 <= often.low < once.low < once.value == often.value < once.high < often.high <= 1


@pytest.mark.parametrize(("pairs", "bounded"), [(99, False), (100, True)])
def test_more_than_one_look_needs_a_hundred_conversations(pairs, bounded):
    chars = lengths()[:pairs]
    data = evidence(pairs, candidate=arm(pairs, answer_chars=chars), wins=fond_of_length(chars))
    found = controlled(data, looks=AnyLook())
    assert (found.low is not None, found.high is not None) == (bounded, bounded)
    assert found.notes == (() if bounded else ("an interval for more than one look needs 100 conversations",))


def test_equal_verdicts_are_bounded_by_what_was_not_seen():
    for looks in (ONE_LOOK, AnyLook()):
        found = controlled(evidence(500, candidate=arm(500, answer_chars=lengths()[:500]), wins=0.5), looks=looks)
        assert found.low < 0.5 - 1e-3
        assert found.high > 0.5 + 1e-3


def test_style_is_held_equal_where_a_judge_measures_it():
    rng = np.random.default_rng(5)
    chars, marks = lengths(), rng.normal(size=N)
    wins = (rng.random(N) < 1 / (1 + np.exp(-2 * np.tanh(marks + 1)))).astype(float)
    data = evidence(N, candidate=arm(N, answer_chars=chars), wins=wins)
    styled = replace(data, scores=data.scores | {"marks": ScoreColumn.unordered("markdown_difference", marks + 1)})
    spread = np.std(marks + 1)
    expected = length_control.length_controlled(
        wins, chars, np.full(N, 50.0), np.arange(N), style=np.tanh((marks + 1) / spread)
    )
    assert controlled(styled).value == pytest.approx(expected.value)
    assert controlled(styled).value < controlled(data).value - 0.1
    level = replace(data, scores=data.scores | {"marks": ScoreColumn.unordered("markdown_difference", np.zeros(N))})
    assert controlled(level) == controlled(data)


def test_without_an_answer_or_a_verdict_there_is_no_rate():
    assert controlled(evidence(3, wins=np.nan)).value is None
    assert controlled(evidence(3, candidate=arm(3, failed=range(3)), wins=0.5)).value is None
    assert controlled(evidence(0, wins=0.5)).value is None


def test_every_preference_judge_has_a_controlled_rate():
    assert set(verbosity.measures(scope(evidence(3, wins=0.5, similarity=0.9)))) == {"win_rate_length_controlled"}
