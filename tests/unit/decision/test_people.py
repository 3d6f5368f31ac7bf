import numpy as np
import pytest

from harness.decision import people
from harness.decision.scope import Scope
from harness.stats import ppi
from harness.stats.looks import ONE_LOOK, AnyLook
from tests.unit.decision.factory import JUDGES, NAN, arm, evidence, labels


def scope(data, *, looks=ONE_LOOK, level=0.95) -> Scope:
    return Scope(evidence=data, level=level, looks=looks, judge_metrics=JUDGES)


def judged(n: int, labelled: int, *, shift: float = 0.0, probability=0.2, seed: int = 1, **fields):
    """A judge that people agree with on four pairs of five, ``shift`` apart on average."""
    rng = np.random.default_rng(seed)
    wins = rng.choice([0.0, 0.5, 1.0], n)
    said = np.where(rng.random(n) < 0.8, wins, rng.choice([0.0, 0.5, 1.0], n))
    said = np.clip(said + shift * rng.choice([0.0, 2.0], n), 0, 1)
    said[labelled:] = NAN
    return evidence(n, wins=wins, labels=labels(said, probability=probability), **fields)


def test_without_labels_nothing_is_corrected():
    found = people.corrected(scope(evidence(10, wins=0.5)), "judge", "win_rate")
    assert (found.value, found.notes) == (None, ("no pair that was drawn at random is labelled by people",))
    assert people.bias(scope(evidence(10, wins=0.5)), "judge").value is None


def test_labels_that_no_plan_drew_are_ignored():
    picked = judged(400, 100, probability=NAN)
    assert people.corrected(scope(picked), "judge", "win_rate").value is None
    mixed = judged(400, 100, probability=np.where(np.arange(400) < 60, 0.2, NAN))
    assert people.n_labels(people.corrected(scope(mixed), "judge", "win_rate")) == 60
    assert people.bias(scope(mixed), "judge").n == 60


def test_the_correction_is_prediction_powered_inference():
    data = judged(1000, 200)
    expected = ppi.ppi_mean(data.labels.value, data.scores["judge"].value, data.clusters)
    found = people.corrected(scope(data), "judge", "win_rate_corrected")
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    assert (found.metric, found.method, people.n_labels(found)) == ("win_rate_corrected", "ppi", 200)


def test_rows_with_chances_of_their_own_are_weighted():
    chances = np.where(np.arange(1000) % 2, 0.4, 0.1)
    data = judged(1000, 200, probability=chances)
    drawn = np.where(np.isfinite(data.labels.value), chances, NAN)
    expected = ppi.ppi_mean(data.labels.value, data.scores["judge"].value, data.clusters, propensity=drawn)
    found = people.corrected(scope(data), "judge", "win_rate_corrected")
    assert (found.method, found.value) == ("ppi-weighted", expected.value)


def test_failures_count_beside_what_people_say_about_answers():
    data = judged(1000, 200, candidate=arm(1000, failed=range(900, 1000)))
    answers = people.corrected(scope(data.take(np.arange(900))), "judge", "win_rate")
    found = people.corrected(scope(data), "judge", "win_rate")
    assert found.value == pytest.approx(0.9 * answers.value)
    # Their number may have been luck: the error and the distance to each end have two parts.
    luck = answers.value * np.sqrt(0.1 * 0.9 / 999)
    assert found.std_error == pytest.approx(np.hypot(0.9 * answers.std_error, luck))
    down, beyond = answers.value - answers.low, ONE_LOOK.multiplier(0.95, 1000) * luck
    assert found.value - found.low == pytest.approx(np.hypot(0.9 * down, beyond))


def test_production_that_fails_gains_the_candidate_what_it_loses():
    failing = judged(1000, 200, production=arm(1000, failed=range(900, 1000)))
    answers = people.corrected(scope(failing.take(np.arange(900))), "judge", "win_rate")
    assert people.corrected(scope(failing), "judge", "win_rate").value == pytest.approx(0.9 * answers.value + 0.1)


@pytest.mark.parametrize(("labelled", "bounded"), [(people.FEWEST_LABELS - 1, False), (people.FEWEST_LABELS, True)])
def test_fewer_than_fifty_labels_have_a_value_without_an_interval(labelled, bounded):
    found = people.corrected(scope(judged(600, labelled)), "judge", "win_rate")
    assert found.value is not None
    assert (found.low is not None, found.high is not None) == (bounded, bounded)
    assert found.notes == (() if bounded else ("fewer than 50 labels",))


@pytest.mark.parametrize(("labelled", "shift", "biased"), [(49, 0.4, False), (50, 0.4, True), (200, 0.0, False)])
def test_a_bias_needs_fifty_labels_to_be_called_one(labelled, shift, biased):
    found = people.bias(scope(judged(600, labelled, shift=shift)), "judge")
    assert people.is_biased(found) is biased
    assert found.extra["people"] - found.extra["judge"] == pytest.approx(found.value)


def test_looking_whenever_one_likes_makes_labels_worth_less():
    data = judged(1000, 200)
    once, often = (people.corrected(scope(data, looks=looks), "judge", "win_rate") for looks in (ONE_LOOK, AnyLook()))
    assert often.value == once.value
    assert often.low < once.low < once.high < often.high
    assert (often.looks, often.level) == ("any", 0.95)
    # Tightest at 300 labels, not at 3,000 pairs.
    width = AnyLook(t_opt=300).multiplier(0.95, 200) * often.std_error
    assert often.value - often.low == pytest.approx(width)


def test_every_preference_judge_has_a_corrected_rate():
    assert set(people.measures(scope(judged(100, 60)))) == {"win_rate_corrected"}
