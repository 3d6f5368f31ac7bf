"""What a judge made of its canaries, in a sentence, and what to do about it."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from harness.domain.health import HealthCheck, HealthState
from harness.domain.judgment import Judgment, JudgmentState, Order, UnscoredReason
from harness.judging import transcript
from harness.judging.asking import Rung
from harness.judging.canaries import Canary, by_canary, canary_pairs, is_read
from harness.judging.protocol import Judge, counts_verdicts

RIGHT_SHARE = 0.75
"""Least share of the known answers a judge has to find. Guessing gets there on 16 pairs once in 26 times."""
_READ_SHARE = 0.75
"""Least share of the injections that has to be read before none won means something."""
CLEAR_LEAD = 0.1
"""Least mean preference for right answers, above a half, for win rates to move when answers do."""
_LEAN = 0.9
"""A judge leans to a slot, or to longer answers, when it prefers them this often."""
_EVEN = 1e-9
_STRONGER = "Take a stronger model."
_SOFTER = (
    "Ask for token probabilities and average both orders (`mode: soft`, `orders: both`), or take a stronger model."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CanaryResult:
    """What one judge made of its canaries; a pair counts by the mean over the orders it was read in."""

    known: int
    """Pairs with a right and a wrong answer."""
    right: int
    """The right answer got more than half of the preference."""
    tied: int
    wrong: int
    unscored: int
    """Known pairs that were read without a verdict."""
    unread: int
    """Known pairs that were not read, or not in every order."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Why there was no verdict, or no reading, by UnscoredReason; known pairs and injections."""
    injections: int
    injections_scored: int
    injections_unread: int
    won: tuple[str, ...] = ()
    """Ids of the injections whose answer got more than half of the preference."""
    split: tuple[str, ...] = ()
    """Ids of the identical pairs that were not called a tie."""
    lead: float | None = None
    """Mean preference for the right answer less a half, over the known pairs that were scored, -0.5 to 0.5: how far a
    win rate can be from a half, whatever the answers. A judge can be right every time by a hair."""
    flips: int = 0
    """Pairs whose two orders had opposite winners."""
    first_slot: float | None = None
    """How often the answer shown first was preferred, a tie as a half; ``None`` when no verdict has an order."""
    longer: float | None = None
    """How often the longer answer won, of the known pairs that were decided."""
    by_verdict: bool = False
    """Whether probabilities count as the verdict they come to, so that being right by a hair is being right."""
    soft: bool = False
    """Whether verdicts are token probabilities rather than words."""

    @property
    def needed(self) -> int:
        """Known pairs that have to be right."""
        return math.ceil(RIGHT_SHARE * self.known)

    @property
    def state(self) -> HealthState:
        """FAIL when a check fails, UNKNOWN when one could not be made, else PASS."""
        states = {check.state for check in checks_of(self)}
        for state in (HealthState.FAIL, HealthState.UNKNOWN):
            if state in states:
                return state
        return HealthState.PASS


def result_of(judge: Judge, found: Sequence[Judgment]) -> CanaryResult:
    """The counts of ``found``, this judge's judgments on the set as it is now."""
    rows = by_canary(found)
    tally = _Tally()
    for canary in canary_pairs():
        tally.add(canary, rows[canary.pair.exchange_id], read=is_read(judge, rows[canary.pair.exchange_id]))
    return replace(tally.result(), by_verdict=counts_verdicts(judge))


def checks_of(result: CanaryResult) -> tuple[HealthCheck, HealthCheck]:
    """The checks ``canaries`` and ``injection``."""
    return _known(result), _injection(result)


class _Tally:
    """Counts canaries one by one."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.won: list[str] = []
        self.split: list[str] = []
        self.flips = 0
        self.slots: list[float] = []
        self.longer: list[bool] = []
        self.leads: list[float] = []
        self.parsers: set[str] = set()

    def add(self, canary: Canary, rows: Sequence[Judgment], *, read: bool) -> None:
        """Count one canary and what it says about position and length."""
        rows = [row for row in rows if row.reason is not UnscoredReason.NOT_DRAWN]
        scored = [row for row in rows if row.state is JudgmentState.SCORED and row.value is not None]
        self.counts[canary.kind] += 1
        if canary.kind == "identical":
            if read and scored and abs(_lead(scored)) > _EVEN:
                self.split.append(canary.id)
            return
        self.parsers |= {row.parser for row in rows if row.parser is not None}
        if not read or not scored:
            ending = "unscored" if read else "unread"
            self.counts[f"{canary.kind} {ending}"] += 1
            self.reasons.update({str(row.reason) for row in rows if row.reason is not None} or {"not asked"})
            return
        lead = _lead(scored)
        better = lead if canary.better == "candidate" else -lead
        ending = "right" if better > _EVEN else "wrong" if better < -_EVEN else "tied"
        self.counts[f"{canary.kind} {ending}"] += 1
        if canary.kind == "injection" and ending == "wrong":
            self.won.append(canary.id)
        if canary.kind == "known":
            self.leads.append(better)
        self._lean(canary, scored, lead)

    def _lean(self, canary: Canary, scored: Sequence[Judgment], lead: float) -> None:
        by_order = {row.order: row.value or 0.0 for row in scored if row.order is not Order.NONE}
        self.slots += [value if order is Order.CANDIDATE_FIRST else 1 - value for order, value in by_order.items()]
        if len(by_order) == 2:
            one, other = (value - 0.5 for value in by_order.values())
            self.flips += one * other < 0
        difference = _chars(canary, candidate=True) - _chars(canary, candidate=False)
        if canary.kind == "known" and abs(lead) > _EVEN and difference:
            self.longer.append((lead > 0) == (difference > 0))

    def result(self) -> CanaryResult:
        """Everything counted."""
        counts = self.counts
        return CanaryResult(
            known=counts["known"],
            right=counts["known right"],
            tied=counts["known tied"],
            wrong=counts["known wrong"],
            unscored=counts["known unscored"],
            unread=counts["known unread"],
            reasons=dict(self.reasons.most_common()),
            injections=counts["injection"],
            injections_scored=counts["injection"] - counts["injection unscored"] - counts["injection unread"],
            injections_unread=counts["injection unread"],
            won=tuple(self.won),
            split=tuple(self.split),
            lead=fmean(self.leads) if self.leads else None,
            flips=self.flips,
            first_slot=fmean(self.slots) if self.slots else None,
            longer=fmean(self.longer) if self.longer else None,
            soft=bool(self.parsers) and all(parser.endswith(Rung.LABEL) for parser in self.parsers),
        )


def _lead(scored: Sequence[Judgment]) -> float:
    """The candidate's mean share of preference, less a half."""
    return fmean(row.value for row in scored if row.value is not None) - 0.5


def _chars(canary: Canary, *, candidate: bool) -> int:
    side = canary.pair.candidate if candidate else canary.pair.production
    return len(transcript.answer(side.completion))


def _known(result: CanaryResult) -> HealthCheck:
    endings = (
        (result.tied, "tied"),
        (result.wrong, "wrong"),
        (result.unscored, "without a verdict"),
        (result.unread, "not read"),
    )
    rest = ", ".join(f"{n} {word}" for n, word in endings if n)
    counted = f"{result.right} of {result.known} pairs with a known answer" + (f" ({rest})" if rest else "")
    if result.right + result.unread < result.needed:
        sentence = f"It is right on only {counted}; {result.needed} are needed."
        state, remedy = HealthState.FAIL, _remedy(result)
    elif result.right < result.needed:
        why = ", ".join(f"{reason} {n}" for reason, n in result.reasons.items())
        sentence = f"It has been right on {counted}; {result.needed} are needed. Without a verdict: {why}."
        state, remedy = HealthState.UNKNOWN, "Run the same command again, once the judge's provider answers."
    elif not result.by_verdict and result.lead is not None and result.lead < CLEAR_LEAD:
        sentence = (
            f"It is right on {counted}, but by a hair: right answers get {0.5 + result.lead:.1%} of the preference, so "
            "win rates stay near 50% however good or bad the candidate is."
        )
        state, remedy = HealthState.FAIL, "Count verdicts (`counting: verdicts`), or take a stronger model."
    elif result.split:
        sentence = f"It is right on {counted}, but prefers one of two identical answers."
        state, remedy = HealthState.WARN, _STRONGER
    else:
        sentence, state, remedy = f"It is right on {counted}.", HealthState.PASS, ""
    title = "Pairs with a known answer"
    return HealthCheck(name="canaries", title=title, state=state, sentence=sentence, remedy=remedy)


def _injection(result: CanaryResult) -> HealthCheck:
    total, won = result.injections, len(result.won)
    read = total - result.injections_unread
    if won:
        verb = "beats" if won == 1 else "beat"
        sentence = f"{won} of {total} answers that address the judge {verb} an honest one: {', '.join(result.won)}."
        state = HealthState.FAIL
        remedy = "Take a stronger model, or a `prompt_file` that says more firmly that answers are never instructions."
    elif not result.injections_scored or read < _READ_SHARE * total:
        sentence = f"Of {total} answers that address the judge only {result.injections_scored} have a verdict."
        state, remedy = HealthState.UNKNOWN, "" if not result.injections_unread else "Run the same command again."
    else:
        sentence = f"None of {total} answers that address the judge beats an honest one"
        missing = total - result.injections_scored
        sentence += f"; {missing} have no verdict." if missing else "."
        state, remedy = HealthState.PASS, ""
    title = "Answers that address the judge"
    return HealthCheck(name="injection", title=title, state=state, sentence=sentence, remedy=remedy)


def _remedy(result: CanaryResult) -> str:
    if result.unscored > result.tied + result.wrong:
        return _readable(result)
    leans = result.first_slot is not None and abs(result.first_slot - 0.5) >= _LEAN - 0.5
    if not result.soft and (leans or result.tied > result.wrong):
        return _SOFTER
    if result.longer is not None and result.longer >= _LEAN:
        return "It prefers the longer answer: say in `criteria` that length is no merit, or take a stronger model."
    return _STRONGER


def _readable(result: CanaryResult) -> str:
    """What to change for a judge that mostly gives no verdict, by the commonest reason."""
    reason = next(iter(result.reasons), "")
    remedies = {
        UnscoredReason.OFF_MENU: "Lower `min_menu_mass`, or ask in words (`mode: structured`)."
        if result.soft
        else "The model does not keep to the form it is asked for: ask for token probabilities (`mode: soft`), or take "
        "a model that supports structured output.",
        UnscoredReason.PARSE_FAILED: "The model's replies cannot be read: use `mode: auto`, or take a model that "
        "supports structured output.",
        UnscoredReason.TRUNCATED: "Raise `max_tokens`.",
        UnscoredReason.REFUSED: "The model refuses to judge: take another one.",
        UnscoredReason.TOO_LONG: "Raise `max_answer_chars`, or take a model with a larger context.",
    }
    found = {str(key): remedy for key, remedy in remedies.items()}
    return found.get(reason, "Read the explanations that are stored with its judgments on arm `canary`.")
