"""What labels and known answers say about a judge."""

import numpy as np
import pytest

from harness.domain.health import HealthCheck, HealthState, JudgeHealth
from harness.judging.conduct import Conduct
from harness.judging.health import health_of
from harness.stats.evidence import Floats, LabelColumn, ScoreColumn

FAIL, WARN, PASS, UNKNOWN = HealthState.FAIL, HealthState.WARN, HealthState.PASS, HealthState.UNKNOWN


def health(value: Floats, label: Floats, *, probability: Floats | None = None, **more) -> JudgeHealth:
    people = LabelColumn(
        value=label,
        labellers=np.isfinite(label).astype(int),
        probability=np.ones(len(label)) if probability is None else probability,
    )
    column = ScoreColumn.unordered("win_rate", value)
    return health_of(Conduct(judge="j", scores=column, clusters=np.arange(len(value)), people=people, **more))


def check(found: JudgeHealth, name: str) -> HealthCheck:
    [item] = [item for item in found.checks if item.name == name]
    return item


def right(n: int, of: int, better: float = 0.5) -> tuple[Floats, Floats]:
    """Verdicts and labels: ``n`` of ``of`` agree, errors spread over both labels as these are."""
    label = (np.arange(of) < better * of).astype(float)
    value = label.copy()
    # As many errors one way as the other: no bias.
    ones, zeros = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    value[ones[: (of - n) // 2]] = 0
    value[zeros[: (of - n) - (of - n) // 2]] = 1
    return value, label


@pytest.mark.parametrize(
    ("n", "of", "better", "state"),
    [
        (95, 100, 0.58, PASS),
        (74, 100, 0.58, PASS),
        (62, 100, 0.58, FAIL),  # hardly better than a constant answer, kappa under 0.4
        (50, 100, 0.50, FAIL),
        (5, 100, 0.50, FAIL),  # always wrong
        (45, 49, 0.50, UNKNOWN),
        (47, 50, 0.50, PASS),
        (188, 200, 0.90, PASS),  # accuracy cannot be told from 90%, agreement beyond chance can
    ],
)
def test_agreement_with_people_has_to_beat_a_constant_answer_and_chance(n, of, better, state):
    found = check(health(*right(n, of, better)), "people")
    assert found.state is state, found.sentence
    assert found.estimate.value == pytest.approx(n / of)


def test_a_constant_judge_is_right_as_often_as_the_commonest_label_and_fails():
    label = np.repeat([1.0, 0.0], [90, 10])
    found = check(health(np.ones(100), label), "people")
    assert found.state is FAIL
    assert found.sentence == (
        "It agrees with people on 90.00% (82.56% to 94.48%) of 100 labelled pairs, where one constant answer reaches "
        "90.00%; kappa is 0.000."
    )


def test_a_judge_that_errs_to_one_side_is_biased():
    label = np.tile([1.0, 0.0], 100)
    value = label.copy()
    value[1:60:2] = 1.0
    found = check(health(value, label), "people")
    assert found.state is WARN
    assert "biased towards the candidate: people score -15.00 points" in found.sentence
    assert found.estimate.extra["bias"] == pytest.approx(-0.15)
    against = check(health(1 - value, 1 - label), "people")
    assert "biased against the candidate" in against.sentence


def test_labels_are_weighted_by_their_chance_of_being_drawn():
    label = np.tile([1.0, 0.0], 100)
    value = label.copy()
    value[1:60:2] = 1.0
    drawn = np.where(value == label, 0.1, 1.0)
    found = check(health(value, label, probability=drawn), "people")
    assert found.estimate.extra["bias"] == pytest.approx(-30 / (30 + 1700))


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (0, "No pair it scored is labelled by people; 50 are needed to measure agreement with people."),
        (1, "Only 1 pair it scored is labelled; 50 are needed to measure agreement with people."),
        (12, "Only 12 pairs it scored are labelled; 50 are needed to measure agreement with people."),
    ],
)
def test_few_labels_measure_nothing(labels, sentence):
    value, label = right(90, 100)
    label[labels:] = np.nan
    found = check(health(value, label), "people")
    assert (found.state, found.sentence) == (UNKNOWN, sentence)


def test_without_labels_that_is_said():
    column = ScoreColumn.unordered("win_rate", np.ones(100))
    found = health_of(Conduct(judge="j", scores=column, clusters=np.arange(100)))
    assert check(found, "people").sentence == "No labels: agreement with people was not measured."


# Signal


def canaries(state: HealthState) -> HealthCheck:
    return HealthCheck(name="canaries", title="t", state=state, sentence="s.")


@pytest.mark.parametrize(
    ("n", "of", "state"),
    [
        (74, 100, PASS),
        (37, 50, PASS),
        (50, 100, FAIL),
        (58, 100, FAIL),
        (20, 20, PASS),
        (11, 20, UNKNOWN),  # too few to condemn
        (19, 19, UNKNOWN),
    ],
)
def test_signal_is_being_right_more_often_than_guessing(n, of, state):
    assert check(health(*right(n, of)), "signal").state is state


def test_probabilities_that_are_right_by_a_hair_have_to_count_as_verdicts():
    """Their win rates stay near one half, so that a criterion just below it lets any candidate pass."""
    label = np.tile([1.0, 0.0], 50)
    found = check(health(np.where(label == 1, 0.51, 0.49), label), "signal")
    assert found.state is FAIL
    assert found.estimate.extra["lead"] == pytest.approx(0.01)
    assert "their side gets 51.00% of the preference" in found.sentence
    assert "counting: verdicts" in found.remedy
    assert check(health(label, label, soft=True), "signal").state is PASS
    assert check(health(np.where(label == 1, 0.61, 0.39), label), "signal").state is PASS


def test_words_that_are_right_by_a_hair_are_a_warning():
    found = check(health(*right(580, 1000)), "signal")
    assert (found.state, found.remedy) == (WARN, "Take a stronger model.")


def test_ties_of_the_judge_count_a_half_and_ties_of_people_not_at_all():
    label = np.repeat([1.0, 0.0, 0.5], 40)
    value = np.repeat([1.0, 0.5, 0.0], 40)
    found = check(health(value, label), "signal")
    assert (found.estimate.value, found.estimate.n) == (0.75, 80)


@pytest.mark.parametrize(
    ("ties", "canary", "state"),
    [
        (95, UNKNOWN, FAIL),
        (94, UNKNOWN, UNKNOWN),
        (100, PASS, PASS),  # answers that really are alike, by a judge that knows right from wrong
        (10, PASS, PASS),
        (10, FAIL, UNKNOWN),
    ],
)
def test_without_labels_known_answers_or_ties_tell(ties, canary, state):
    value = np.where(np.arange(100) < ties, 0.5, 1.0)
    found = health(value, np.full(100, np.nan), further=[canaries(canary)])
    assert check(found, "signal").state is state


def test_ties_on_identical_answers_are_right():
    value = np.where(np.arange(100) < 96, 0.5, 1.0)
    same = np.arange(100) < 90
    assert check(health(value, np.full(100, np.nan), identical=same), "signal").state is UNKNOWN


def test_soft_scores_are_never_all_ties():
    found = health(np.full(100, 0.5), np.full(100, np.nan), soft=True)
    assert check(found, "signal").state is UNKNOWN


def test_a_soft_judge_without_signal_needs_a_stronger_model_and_one_of_words_another_way_of_asking():
    value, label = right(50, 100)
    assert "mode: soft" in check(health(value, label), "signal").remedy
    assert check(health(value, label, soft=True), "signal").remedy == "Take a stronger model."
