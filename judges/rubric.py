"""How well each answer, read alone, meets a rubric."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from harness.domain.estimate import Direction, Metric, Unit
from harness.domain.json import Json
from harness.domain.judgment import Judgment, Label, UnscoredReason
from harness.domain.model import ModelSpec
from harness.domain.pair import Pair
from harness.judging import transcript
from harness.judging.asking import Answer, Question, RungMemory, ask, judge_model
from harness.judging.options import Characters, Mode, Share, Tokens, prompt_of, rungs_of
from harness.judging.protocol import JudgeContext
from harness.judging.reply import Menu
from harness.judging.shown import show
from prompts import Prompt

LOWEST, HIGHEST = 1, 5
_SCORES = tuple(range(LOWEST, HIGHEST + 1))
MENU = Menu(key="score", choices=_SCORES, tokens={str(score): score for score in _SCORES})
_EVEN = 1e-9
_DEFAULT_RUBRIC = """\
5: does all that was asked; correct in every point; clear; nothing in it that was not asked for
4: does what was asked; a small flaw that would not bother the person
3: does the main part; something is missing, unclear or doubtful
2: touches on what was asked; mostly incomplete, wrong or beside the point
1: does not do what was asked, is false in its main point, or is empty"""


@dataclass(frozen=True, kw_only=True)
class RubricJudge:
    """The candidate's score on a rubric from 1 to 5, scaled to 0 .. 1.

    Each side is scored in a call of its own, so the value does not depend on what it is compared with. Production's
    score is kept in the details, and the label says whose score is higher. In mode ``soft`` a score is the mean of
    the probabilities the model gives to the five digits.
    """

    name: ClassVar[str] = "rubric"
    version: ClassVar[str] = "1"
    metric: ClassVar[Metric] = Metric(
        name="rubric_score",
        title="Rubric score",
        unit=Unit.SCORE,
        direction=Direction.HIGHER_IS_BETTER,
        help="How well the candidate's answer meets the rubric, from 0 (worst) to 1 (best).",
        bounds=(0.0, 1.0),
    )

    model: ModelSpec
    mode: Mode = "auto"
    rubric: str = _DEFAULT_RUBRIC
    prompt_file: str | None = field(default=None, metadata={"fingerprint": False})
    score_production: bool = True
    """Whether production's answer is scored too, which doubles the calls."""
    max_tokens: Tokens = 4096
    """Room for a reply in words, hidden reasoning included; doubled once when it was not enough."""
    max_answer_chars: Characters = 16_000
    max_conversation_chars: Characters = 24_000
    min_menu_mass: Share = 0.5
    """Least probability on the five digits for a soft score to count."""
    hide_names: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", judge_model(self.model))
        _ = self.prompt  # a prompt that cannot be used is a mistake to hear about before anything is spent

    @cached_property
    def prompt(self) -> Prompt:
        """The prompt in use."""
        return prompt_of("rubric/v1", self.prompt_file, self.mode)

    @property
    def prompt_sha256(self) -> str:
        """Hash of every word of the prompt."""
        return self.prompt.sha256

    @cached_property
    def memory(self) -> RungMemory:
        """What is known of the model's ways to answer."""
        return RungMemory()

    async def judge(self, pair: Pair, ctx: JudgeContext) -> Sequence[Judgment]:
        """One Judgment; unscored when the candidate's answer could not be scored, whatever production's got."""
        if not pair.is_comparable:
            return [ctx.unscored(pair, UnscoredReason.NOT_COMPARABLE)]
        shown = show(
            pair,
            max_conversation=self.max_conversation_chars,
            max_answer=self.max_answer_chars,
            hide_names=self.hide_names,
        )
        question = self._question(pair, shown.conversation, shown.candidate)
        answer = await self._ask(question, ctx)
        bill, details = answer.bill, {**shown.details, **answer.details}
        theirs: float | None = None
        if transcript.same_answer(pair):
            theirs = _score(answer)
            details["identical"] = True
        elif self.score_production:
            other = await self._ask(self._question(pair, shown.conversation, shown.production), ctx)
            bill.include(other.bill)
            theirs = _score(other)
            details["production"] = _kept(other)
        ours = _score(answer)
        provenance = answer.provenance(question, self.model)
        if ours is None:
            reason = answer.reading.problem or UnscoredReason.PARSE_FAILED
            return [ctx.unscored(pair, reason, explanation=answer.reading.note, details=details, **provenance)]
        details |= {"candidate_score": ours, "production_score": theirs}
        value = (ours - LOWEST) / (HIGHEST - LOWEST)
        explanation = answer.reading.explanation
        label = _label(ours, theirs)
        return [ctx.scored(pair, value=value, label=label, explanation=explanation, details=details, **provenance)]

    def _question(self, pair: Pair, conversation: str, answer: str) -> Question:
        return Question(
            prompt=self.prompt,
            menu=MENU,
            trusted={"rubric": self.rubric},
            untrusted={"conversation": conversation, "answer": answer},
            # Not the side: the model is to see the same question whoever wrote the answer.
            identity=(pair.exchange_id, pair.arm),
        )

    async def _ask(self, question: Question, ctx: JudgeContext) -> Answer:
        return await ask(
            question,
            ctx,
            self.model,
            rungs_of(self.mode),
            memory=self.memory,
            max_tokens=self.max_tokens,
            min_mass=self.min_menu_mass,
        )


def _score(answer: Answer) -> float | None:
    """The score from 1 to 5, fractional when it comes from probabilities."""
    if answer.reading.problem is not None or answer.reading.choice is None:
        return None
    if answer.distribution is not None:
        return sum(float(score) * share for score, share in answer.distribution.shares.items())
    return float(answer.reading.choice)


def _kept(answer: Answer) -> dict[str, Json]:
    """What is kept of production's side beside its score."""
    reading = answer.reading
    kept = {"explanation": reading.explanation, "problem": reading.problem, "note": reading.note, "raw": answer.raw}
    return {key: value for key, value in kept.items() if value is not None}


def _label(ours: float, theirs: float | None) -> Label | None:
    if theirs is None:
        return None
    if abs(ours - theirs) < _EVEN:
        return Label.TIE
    return Label.WIN if ours > theirs else Label.LOSS
