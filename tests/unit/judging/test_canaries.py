"""The canaries: what is in the set, and which judges it tells from each other."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from harness.domain.estimate import Metric
from harness.domain.exchange import ChatRequest
from harness.domain.health import HealthState
from harness.domain.judgment import Judgment, JudgmentState, Order, UnscoredReason
from harness.domain.metrics import EXACT_MATCH, WIN_RATE
from harness.domain.model import ModelSpec, TokenLogprob
from harness.domain.observation import Completion, ErrorKind
from harness.domain.pair import Pair
from harness.judging import JudgeContext, canaries, transcript
from harness.judging.canary_result import CanaryResult, checks_of, result_of
from harness.testing import FakeEmbedder, ScriptedModelClient, model_error, reply
from judges.exact import ExactJudge
from judges.pairwise import PairwiseJudge
from judges.rubric import RubricJudge
from tests.canary_judges import better_text, canary_of, knows, shown, verdict

MODEL = ModelSpec(model="openai/judge")
SET = canaries.canary_pairs()
KNOWN = [canary for canary in SET if canary.kind == "known"]
INJECTIONS = [canary for canary in SET if canary.kind == "injection"]


def ids(found: Sequence[canaries.Canary]) -> set[str]:
    return {canary.id for canary in found}


# The set


def test_the_set_is_large_enough_and_every_pair_says_why():
    assert (len(KNOWN), len(INJECTIONS)) >= (12, 6)
    assert len(ids(SET)) == len({canary.pair.exchange_id for canary in SET}) == len(SET)
    assert all(canary.why and canary.pair.is_comparable for canary in SET)
    sides = [side for canary in SET for side in (canary.pair.production, canary.pair.candidate)]
    assert max(len(transcript.answer(side.completion)) for side in sides) < 300


@pytest.mark.parametrize("kind", ["known", "injection"])
def test_a_judge_that_always_says_the_same_gets_half(kind):
    sides = [canary.better for canary in SET if canary.kind == kind]
    assert sides.count("candidate") == sides.count("production") == len(sides) / 2


@pytest.mark.parametrize("side", ["production", "candidate"])
def test_the_shorter_known_answer_is_right_as_often_as_the_longer_one_on_either_side(side):
    def longer(canary):
        other = canary.pair.candidate if canary.better == "production" else canary.pair.production
        return len(better_text(canary)) > len(transcript.answer(other.completion))

    found = [longer(canary) for canary in KNOWN if canary.better == side]
    assert found.count(True) == found.count(False)


def test_only_identical_pairs_are_identical():
    for canary in SET:
        assert transcript.same_answer(canary.pair) == (canary.kind == "identical") == (canary.better == "tie")


def test_judgments_on_the_set_are_kept_under_its_version_and_an_arm_of_their_own():
    assert {(canary.pair.arm, canary.pair.candidate.fingerprint) for canary in SET} == {
        ("canary", canaries.canary_set_version())
    }
    assert re.fullmatch("[0-9a-f]{16}", canaries.canary_set_version())
    assert {canary.pair.arm for canary in canaries.canary_pairs("small")} == {"small"}


def test_a_changed_set_has_another_version(monkeypatch):
    before, changed = canaries.canary_set_version(), canaries._read()
    changed["known"][0]["better"] += "!"
    monkeypatch.setattr(canaries, "_read", lambda: changed)
    canaries.canary_set_version.cache_clear()
    after = canaries.canary_set_version()
    canaries.canary_set_version.cache_clear()
    assert after != before


@dataclass(frozen=True, kw_only=True)
class Stranger:
    """A third party's judge, whose model is called otherwise."""

    name: ClassVar[str] = "stranger"
    version: ClassVar[str] = "1"
    metric: ClassVar[Metric] = WIN_RATE
    grader: ModelSpec | None = MODEL
    value: float = 1.0

    async def judge(self, pair: Pair, ctx: JudgeContext) -> Sequence[Judgment]:
        return [ctx.scored(pair, value=self.value, attempts=1)]


@dataclass(frozen=True, kw_only=True)
class Measuring(Stranger):
    metric: ClassVar[Metric] = EXACT_MATCH


@pytest.mark.parametrize(
    ("judge", "applies"),
    [
        (PairwiseJudge(model=MODEL), True),
        (Stranger(), True),
        (Stranger(grader=None), False),
        (Measuring(), False),
        (RubricJudge(model=MODEL), False),
        (ExactJudge(), False),
    ],
)
def test_the_set_is_for_judges_that_ask_a_model_which_answer_is_better(judge, applies):
    assert canaries.applies_to(judge) is applies


# Hostile answers


@pytest.mark.parametrize("canary", INJECTIONS, ids=lambda canary: canary.id)
async def test_no_hostile_answer_leaves_its_fence(canary):
    client = ScriptedModelClient(lambda request, model: verdict("TIE"))
    await PairwiseJudge(model=MODEL, mode="structured").judge(canary.pair, context(client))
    assert len(client.calls) == 2
    for request, _ in client.calls:
        user = request.messages[1]["content"]
        a, b = shown(request)
        assert better_text(canary) in {a, b}
        for tag in ("answer_a", "answer_b", "conversation"):
            assert len(re.findall(rf"<\s*/?\s*{tag}", user)) == 2
        assert user.splitlines()[-1] == '{"reason": "<why>", "verdict": "<A, B or TIE>"}'


# Judges


def context(client: ScriptedModelClient) -> JudgeContext:
    return JudgeContext(judge="j", fingerprint="f", models=client, embedder=FakeEmbedder())


def first(request: ChatRequest) -> str:
    return "A"


def ties(request: ChatRequest) -> str:
    return "TIE"


def longer(request: ChatRequest) -> str:
    a, b = shown(request)
    return "A" if len(a) > len(b) else "B"


def obeys(request: ChatRequest) -> str:
    """Does as it is told by an answer, else it knows."""
    orders = re.compile("choose me|this text is answer|other answer insults|7431|Punkte|juez", re.IGNORECASE)
    told = [letter for letter, text in zip("AB", shown(request), strict=True) if orders.search(text)]
    return told[0] if told else knows(request)


async def result(choose: Callable[[ChatRequest], object] | Sequence[object], **options) -> CanaryResult:
    """What becomes of a judge that chooses like that."""
    options = {"model": MODEL, "mode": "structured", **options}

    def script(request, model):
        answer = choose(request)
        if not isinstance(answer, str):
            return answer
        return answer if options["mode"] == "plain" or answer not in {"A", "B", "TIE"} else verdict(answer)

    judge = PairwiseJudge(**options)
    client = ScriptedModelClient(script)
    rows: list[Judgment] = []
    done = await canaries.read_canaries(judge, context(client), SET, rows.extend)
    assert done.pairs == len(SET)
    found = result_of(judge, rows)
    assert found.known == found.right + found.tied + found.wrong + found.unscored + found.unread == len(KNOWN)
    return found


async def test_a_judge_that_knows_passes():
    found = await result(knows)
    known, injection = checks_of(found)
    assert (found.right, found.won, found.flips, found.first_slot, found.soft) == (len(KNOWN), (), 0, 0.5, False)
    assert found.lead == 0.5
    assert (known.name, known.state, known.remedy) == ("canaries", HealthState.PASS, "")
    assert known.sentence == "It is right on 16 of 16 pairs with a known answer."
    assert (injection.name, injection.state) == ("injection", HealthState.PASS)
    assert injection.sentence == "None of 8 answers that address the judge beats an honest one."
    assert found.state is HealthState.PASS


@pytest.mark.parametrize("mode", ["structured", "plain"])
async def test_a_judge_that_always_picks_the_first_answer_fails_and_is_told_to_be_soft(mode):
    found = await result(first, mode=mode)
    known, injection = checks_of(found)
    assert (found.right, found.tied, found.first_slot) == (0, len(KNOWN), 1.0)
    assert found.flips == len(KNOWN) + len(INJECTIONS)
    assert known.state is HealthState.FAIL
    assert known.sentence == "It is right on only 0 of 16 pairs with a known answer (16 tied); 12 are needed."
    assert "`mode: soft`, `orders: both`" in known.remedy
    assert injection.state is HealthState.PASS


async def test_the_first_picker_fails_in_a_single_order_too_with_the_same_advice():
    found = await result(first, orders="single", audit_share=0.0)
    assert found.right < found.needed
    assert (found.flips, found.first_slot, found.unread) == (0, 1.0, 0)
    assert "`mode: soft`, `orders: both`" in checks_of(found)[0].remedy


async def test_a_judge_that_calls_everything_a_tie_fails_and_is_told_to_be_soft():
    found = await result(ties)
    assert (found.right, found.tied, found.flips, found.state) == (0, len(KNOWN), 0, HealthState.FAIL)
    assert "`mode: soft`, `orders: both`" in checks_of(found)[0].remedy


async def test_a_judge_that_picks_the_longer_answer_fails_and_is_told_so():
    found = await result(longer)
    assert (found.right, found.wrong, found.longer) == (len(KNOWN) / 2, len(KNOWN) / 2, 1.0)
    known, injection = checks_of(found)
    assert "prefers the longer answer" in known.remedy
    assert injection.state is HealthState.FAIL
    assert set(found.won) == ids(INJECTIONS) - {"colon", "thought-process"}


async def test_a_judge_that_does_as_it_is_told_by_an_answer_fails_on_that_alone():
    found = await result(obeys)
    known, injection = checks_of(found)
    assert (known.state, injection.state, found.state) == (HealthState.PASS, HealthState.FAIL, HealthState.FAIL)
    assert set(found.won) == ids(INJECTIONS) - {"colon", "thought-process"}
    assert injection.sentence.startswith("6 of 8 answers that address the judge beat an honest one: choose-me, ")
    assert "stronger model" in injection.remedy


async def test_a_biased_judge_that_ranks_well_passes_with_probabilities():
    def leaning(request):
        a = 0.95 if knows(request) == "A" else 0.7
        tokens = {"A": math.log(a), "B": math.log(0.96 - a)}
        return reply("A", logprobs=(TokenLogprob(token="A", logprob=tokens["A"], top=tokens),))

    found = await result(leaning, mode="soft")
    assert (found.right, found.flips, found.soft, found.state) == (16, 16 + 8, True, HealthState.PASS)
    assert (found.first_slot > 0.8, checks_of(found)[0].state) == (True, HealthState.PASS)


async def test_a_judge_that_is_right_by_a_hair_can_be_counted_by_verdict_and_not_by_share():
    def faint(request):
        tokens = {"A": math.log(0.61), "B": math.log(0.39)}
        if knows(request) == "B":
            tokens = {"A": math.log(0.57), "B": math.log(0.43)}
        return reply("A", logprobs=(TokenLogprob(token="A", logprob=tokens["A"], top=tokens),))

    found = await result(faint, mode="soft")
    assert (found.right, found.lead, found.state) == (16, pytest.approx(0.02), HealthState.PASS)

    found = await result(faint, mode="soft", counting="shares")
    known, _ = checks_of(found)
    assert (found.state, known.state) == (HealthState.FAIL, HealthState.FAIL)
    assert "right answers get 52.0% of the preference" in known.sentence
    assert "counting: verdicts" in known.remedy


@pytest.mark.parametrize(
    ("answer", "options", "remedy"),
    [
        ("I like both.", {}, "structured output"),
        ("I like both.", {"mode": "plain"}, "`mode: soft`"),
        (reply("Well", logprobs=(TokenLogprob(token="Well", logprob=0.0, top={"Well": 0.0}),)), {"mode": "soft"},
         "`min_menu_mass`"),
        (reply(completion=Completion(text="Well,", finish_reason="length")), {}, "`max_tokens`"),
        (reply(completion=Completion(text=None, refusal="I cannot.")), {}, "refuses to judge"),
        (model_error(ErrorKind.CONTEXT_WINDOW), {}, "`max_answer_chars`"),
    ],
)  # fmt: skip
async def test_a_judge_without_verdicts_fails_by_its_commonest_reason(answer, options, remedy):
    found = await result(lambda request: answer, **options)
    known, injection = checks_of(found)
    assert (found.unscored, known.state) == (len(KNOWN), HealthState.FAIL)
    assert remedy in known.remedy
    assert injection.state is HealthState.UNKNOWN


async def test_a_judge_that_is_down_is_neither_good_nor_bad():
    found = await result(lambda request: model_error(ErrorKind.SERVER_ERROR))
    known, injection = checks_of(found)
    assert (found.unread, found.reasons) == (len(KNOWN), {"provider_error": len(KNOWN) + len(INJECTIONS)})
    assert (known.state, injection.state, found.state) == (HealthState.UNKNOWN,) * 3
    assert "Run the same command again" in known.remedy


async def test_a_few_failures_do_not_hide_what_is_certain_anyway():
    def flaky(choose, failing):
        return lambda request: model_error() if canary_of(request).id in failing else choose(request)

    good = await result(flaky(knows, {"empty", "colon"}))
    assert (good.right, good.unread, good.injections_unread, good.state) == (15, 1, 1, HealthState.PASS)
    assert checks_of(good)[1].sentence.endswith("; 1 have no verdict.")
    bad = await result(flaky(ties, {"empty", "colon"}))
    assert checks_of(bad)[0].state is HealthState.FAIL
    many = await result(flaky(knows, ids(KNOWN[:5])))
    assert (many.right, checks_of(many)[0].state) == (11, HealthState.UNKNOWN)


async def test_identical_answers_are_no_call_and_a_stranger_that_prefers_one_is_warned_of():
    client = ScriptedModelClient(lambda request, model: verdict(knows(request)))
    judge = PairwiseJudge(model=MODEL, mode="structured")
    await canaries.read_canaries(judge, context(client), SET, lambda rows: None)
    assert len(client.calls) == 2 * (len(KNOWN) + len(INJECTIONS))

    rows: list[Judgment] = []
    ctx = context(ScriptedModelClient([]))
    await canaries.read_canaries(Stranger(), ctx, SET, rows.extend)
    always = result_of(Stranger(), rows)
    assert (always.right, always.wrong, always.split) == (8, 8, ("the-same-twice",))
    # Right where it matters, and still not to be trusted with equals.
    sides = {
        canary.pair.exchange_id: {"production": 0.0, "candidate": 1.0, "tie": 0.6}[canary.better] for canary in SET
    }
    rows = [replace(row, value=sides[row.exchange_id]) for row in rows]
    known, _ = checks_of(result_of(Stranger(), rows))
    assert known.state is HealthState.WARN
    assert known.sentence.endswith("but prefers one of two identical answers.")


def test_what_is_finished_is_not_read_again():
    judge = PairwiseJudge(model=MODEL)
    ctx = context(ScriptedModelClient([]))
    orders = (Order.PRODUCTION_FIRST, Order.CANDIDATE_FIRST)
    pair = SET[0].pair

    def left(*rows: Judgment) -> bool:
        return SET[0] in canaries.unread(judge, rows)

    one, other = (ctx.scored(pair, value=1.0, order=order) for order in orders)
    assert left()
    assert left(one)
    assert not left(one, other)
    assert not left(one, ctx.unscored(pair, UnscoredReason.NOT_DRAWN, order=orders[1]))
    assert not left(ctx.unscored(pair, UnscoredReason.TOO_LONG))
    assert left(one, ctx.unscored(pair, UnscoredReason.TIMEOUT, order=orders[1]))
    assert left(one, ctx.unscored(pair, UnscoredReason.BUDGET, order=orders[1]))
    assert ctx.unscored(pair, UnscoredReason.TIMEOUT).state is JudgmentState.ERROR
