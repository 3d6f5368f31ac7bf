"""Which of two blinded answers is better, asked of a model in both orders."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean
from typing import ClassVar, Literal

from harness.domain.estimate import Direction, Metric, Unit
from harness.domain.json import Json
from harness.domain.judgment import Judgment, Label, Order, UnscoredReason
from harness.domain.model import ModelSpec
from harness.domain.pair import Pair
from harness.judging import transcript
from harness.judging.asking import Answer, Question, RungMemory, ask, judge_model, plus
from harness.judging.options import (
    Characters,
    Distance,
    Mode,
    Orders,
    Share,
    Tokens,
    drawn_orders,
    prompt_of,
    rungs_of,
)
from harness.judging.protocol import JudgeContext
from harness.judging.reply import Choice, Menu
from harness.judging.shown import Shown, show
from prompts import Prompt

TIE = "TIE"
MENU = Menu(key="verdict", choices=("A", "B", TIE), tokens={"A": "A", "B": "B", "C": TIE})
_EVEN = 1e-9


@dataclass(frozen=True, kw_only=True)
class PairwiseJudge:
    """The candidate's share of preference: 1 when its answer is better, 0.5 for a tie, 0 when production's is.

    The judge does not know whose answer is whose. In mode ``soft`` the value is the probability the model gives to
    the candidate's letter plus half of the tie's; otherwise it is the verdict it wrote. Identical answers are a tie
    without a call.

    With ``orders: single`` a pair is read in one order, and ``audit_share`` of the pairs in both, which is what
    position bias is then measured on. With ``escalate_to`` a stronger model reads what ``model`` finds close, in the
    same orders, and its verdict takes the place of the first.
    """

    name: ClassVar[str] = "pairwise"
    version: ClassVar[str] = "2"
    metric: ClassVar[Metric] = Metric(
        name="win_rate",
        title="Win rate",
        unit=Unit.SHARE,
        direction=Direction.HIGHER_IS_BETTER,
        help="How often the judge prefers the candidate's answer; a tie counts half.",
    )

    model: ModelSpec
    mode: Mode = "auto"
    orders: Orders = "both"
    audit_share: Share = 0.15
    """Share of the pairs that ``orders: single`` reads in both orders all the same."""
    escalate_to: ModelSpec | None = None
    """The model that is asked about close pairs."""
    escalate_within: Distance = 0.15
    """A pair is close when the mean over its orders is at most this far from a tie; contradicting orders are."""
    criteria: str = (
        "It does what was asked, completely and correctly; what it states is true; "
        "it is clear and leaves out what was not asked for."
    )
    prompt_file: str | None = field(default=None, metadata={"fingerprint": False})
    max_tokens: Tokens = 4096
    """Room for a reply in words, hidden reasoning included; doubled once when it was not enough."""
    max_answer_chars: Characters = 16_000
    max_conversation_chars: Characters = 24_000
    too_long: Literal["cut", "unscored"] = "cut"
    """``cut`` shortens what is over the limits and says so, ``unscored`` leaves pairs with such answers out."""
    min_menu_mass: Share = 0.5
    """Least probability on the menu's letters for a soft verdict to count."""
    hide_names: bool = True
    counting: Literal["verdicts", "shares"] = field(default="verdicts", metadata={"fingerprint": False})
    """How token probabilities count in the win rate: as the verdict their average comes to, or as they are."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", judge_model(self.model))
        if self.escalate_to is not None:
            object.__setattr__(self, "escalate_to", judge_model(self.escalate_to))
        _ = self.prompt  # a prompt that cannot be used is a mistake to hear about before anything is spent

    @cached_property
    def prompt(self) -> Prompt:
        """The prompt in use."""
        return prompt_of("pairwise/v1", self.prompt_file, self.mode)

    @property
    def prompt_sha256(self) -> str:
        """Hash of every word of the prompt."""
        return self.prompt.sha256

    @cached_property
    def memory(self) -> RungMemory:
        """What is known of the model's ways to answer."""
        return RungMemory()

    def orders_for(self, exchange_id: str) -> tuple[Order, ...]:
        """The orders this exchange's pairs are read in."""
        return drawn_orders(self.orders, self.audit_share, exchange_id)

    async def judge(self, pair: Pair, ctx: JudgeContext) -> Sequence[Judgment]:
        """One Judgment per order that is read."""
        orders = self.orders_for(pair.exchange_id)
        if not pair.is_comparable:
            return [ctx.unscored(pair, UnscoredReason.NOT_COMPARABLE, order=order) for order in orders]
        if transcript.same_answer(pair):
            return [
                ctx.scored(
                    pair, value=0.5, label=Label.TIE, order=order, parser="identical", details={"identical": True}
                )
                for order in orders
            ]
        shown = show(
            pair,
            max_conversation=self.max_conversation_chars,
            max_answer=self.max_answer_chars,
            hide_names=self.hide_names,
        )
        if shown.cut and self.too_long == "unscored":
            return [ctx.unscored(pair, UnscoredReason.TOO_LONG, order=order, details=shown.details) for order in orders]
        found = [await self._in_order(pair, ctx, shown, order, self.model) for order in orders]
        if self.escalate_to is None or not self._is_close(found):
            return found
        return [
            _escalated(first, await self._in_order(pair, ctx, shown, first.order, self.escalate_to)) for first in found
        ]

    def _is_close(self, found: Sequence[Judgment]) -> bool:
        values = [judgment.value for judgment in found if judgment.value is not None]
        return bool(values) and abs(fmean(values) - 0.5) <= self.escalate_within + _EVEN

    async def _in_order(self, pair: Pair, ctx: JudgeContext, shown: Shown, order: Order, model: ModelSpec) -> Judgment:
        production_first = order is Order.PRODUCTION_FIRST
        answer_a, answer_b = shown.production, shown.candidate
        if not production_first:
            answer_a, answer_b = answer_b, answer_a
        question = Question(
            prompt=self.prompt,
            menu=MENU,
            trusted={"criteria": self.criteria},
            untrusted={"conversation": shown.conversation, "answer_a": answer_a, "answer_b": answer_b},
            identity=(pair.exchange_id, pair.arm, str(order)),
        )
        answer = await ask(
            question,
            ctx,
            model,
            rungs_of(self.mode),
            memory=self.memory,
            max_tokens=self.max_tokens,
            min_mass=self.min_menu_mass,
        )
        details = {
            **shown.details,
            **answer.details,
            "shown_first": "production" if production_first else "candidate",
        }
        provenance = answer.provenance(question, model)
        if answer.reading.problem is not None:
            note = answer.reading.note
            return ctx.unscored(
                pair, answer.reading.problem, order=order, explanation=note, details=details, **provenance
            )
        value = _share(answer, "B" if production_first else "A")
        label = _label(answer, value, "B" if production_first else "A")
        return ctx.scored(
            pair,
            value=value,
            label=label,
            order=order,
            explanation=answer.reading.explanation,
            details=details,
            **provenance,
        )


def _escalated(first: Judgment, second: Judgment) -> Judgment:
    """The stronger model's judgment, verdict or not, with the first one's verdict beside it and both on the bill."""
    verdict: dict[str, Json] = {"model": first.model, "explanation": first.explanation}
    if first.value is not None:
        verdict |= {"value": first.value, "label": first.label}
    else:
        verdict["reason"] = first.reason
    return replace(
        second,
        details={**second.details, "escalated": True, "first_verdict": verdict},
        tokens_in=plus(first.tokens_in, second.tokens_in),
        tokens_out=plus(first.tokens_out, second.tokens_out),
        cost_usd=plus(first.cost_usd, second.cost_usd),
        attempts=first.attempts + second.attempts,
        latency_ms=plus(first.latency_ms, second.latency_ms),
    )


def _share(answer: Answer, candidate: Choice) -> float:
    if answer.distribution is not None:
        shares = answer.distribution.shares
        return shares[candidate] + shares[TIE] / 2
    return 0.5 if answer.reading.choice == TIE else float(answer.reading.choice == candidate)


def _label(answer: Answer, value: float, candidate: Choice) -> Label:
    """The likeliest verdict; a tie when it is the likeliest or neither side is."""
    if answer.reading.choice == TIE or (answer.distribution is not None and abs(value - 0.5) < _EVEN):
        return Label.TIE
    return Label.WIN if answer.reading.choice == candidate else Label.LOSS
