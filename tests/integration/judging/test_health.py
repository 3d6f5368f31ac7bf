"""The health of a judge of a run, from what the store has of it."""

from datetime import UTC, datetime

import pytest

from harness.domain.health import HealthState, JudgeHealth
from harness.domain.judgment import Label
from harness.domain.label import HumanLabel
from harness.pipeline.arms import arms_of
from harness.pipeline.canaries import canary_checks
from harness.pipeline.evaluation import numbers_of
from harness.pipeline.health import judge_health

FAIL, WARN, PASS, UNKNOWN = HealthState.FAIL, HealthState.WARN, HealthState.PASS, HealthState.UNKNOWN
PLAIN = {"use": "pairwise", "name": "plain", "options": {"model": "openai/large-judge", "mode": "plain"}}


@pytest.fixture
def measure(bench):
    """The health of a judge that gives one reply to 40 pairs, and to 20 of production asked again."""

    async def measured(reply: str, judge=PLAIN, *, labels: int = 0, canaries: str = "off") -> JudgeHealth:
        bench.n = 40
        bench.answers = lambda request, model: reply
        _, session, seats = await bench.judge({"use": "exact"}, {"use": "similarity"}, judge, canaries=canaries)
        candidate, replica = arms_of(session.experiment)
        session.store.put_labels(
            session.run_id,
            [
                HumanLabel(
                    exchange_id=f"e{i}",
                    arm=candidate.name,
                    observation_fingerprint=candidate.fingerprint,
                    labeller="me",
                    label=Label.LOSS if i % 2 else Label.WIN,
                    recorded_at=datetime.now(UTC),
                )
                for i in range(labels)
            ],
        )
        own, floor = numbers_of(session, [candidate, replica], seats)
        seat = seats[-1]
        further = canary_checks(session, seat)
        counts = own.counts[seat.name]
        return judge_health(session, candidate, seat, own.evidence, floor.evidence, further=further, counts=counts)

    return measured


def states(found: JudgeHealth) -> dict[str, HealthState]:
    return {check.name: check.state for check in found.checks}


async def test_a_judge_that_always_takes_the_first_answer_is_condemned(measure):
    found = await measure("A")
    assert states(found) == {
        "canaries": UNKNOWN, "injection": UNKNOWN, "position": FAIL, "flips": FAIL, "signal": FAIL, "unscored": PASS,
        "people": UNKNOWN, "self_agreement": PASS, "length": UNKNOWN, "family": PASS,
    }  # fmt: skip
    assert not found.usable
    assert sum(band.pairs for band in found.bands) == 40
    assert sum(band.flips for band in found.bands) == 40


async def test_labels_of_people_are_held_against_it(measure):
    found = await measure("A", labels=40)
    people = next(check for check in found.checks if check.name == "people")
    assert people.sentence == "Only 40 pairs it scored are labelled; 50 are needed to measure agreement with people."


async def test_a_judge_whose_replies_mean_nothing_is_condemned_for_its_silence(measure):
    found = await measure("perhaps")
    assert [check.name for check in found.failed] == ["unscored"]
    assert "It gave no verdict on 40 of 40 pairs" in found.failed[0].sentence


async def test_a_judge_of_the_candidates_family_is_said_to_be_one(measure):
    kin = PLAIN | {"options": PLAIN["options"] | {"model": "openai/small-1"}}
    assert states(await measure("A", kin))["family"] is WARN


async def test_scores_that_are_no_preference_are_checked_for_gaps_and_kinship(measure):
    rubric = {"use": "rubric", "name": "rubric", "options": {"model": "openai/large-judge", "mode": "plain"}}
    found = await measure("4", rubric)
    assert states(found) == {"unscored": PASS, "family": PASS}
