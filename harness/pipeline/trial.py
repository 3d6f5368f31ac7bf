"""Judges on a labelled set: pairs somebody knows the better answer of, before a judge is believed about others.

The set becomes exchanges with two arms, answer 1 as production and answer 2 as the candidate, and judging them is the
judge stage of any run: every judgment is stored when it is made and nothing is paid for twice.
"""

import asyncio
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from harness.config import Experiment, JudgeSection, Redaction, Replay, digest, parse_experiment
from harness.domain.exchange import ChatRequest, Exchange
from harness.domain.judgment import Judgment, JudgmentState, Label, Order, UnscoredReason
from harness.domain.metrics import WIN_RATE
from harness.domain.observation import PRODUCTION, Completion, Observation, Status
from harness.domain.pair import Pair
from harness.ingest.labelled import LabelledPair, LabelledSet, Words
from harness.ingest.redaction import Redactor
from harness.judging import transcript
from harness.judging.protocol import counts_verdicts, models_of
from harness.judging.scorecard import LabelledColumns, Scorecard, Unscored, scorecard
from harness.pipeline import estimates
from harness.pipeline.arms import Arm, arms_of
from harness.pipeline.judging import judge_arms
from harness.pipeline.seats import SeatedJudge, seat_judges
from harness.pipeline.session import Session
from harness.registry import build_judge

ARM = "answer-2"
_BATCH = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedVerdicts:
    """Verdicts that stand in the set itself; either ``alone``, or one for each order."""

    name: str
    alone: str | None = None
    """Column with the verdict of a judge that read a pair once."""
    first: str | None = None
    """Column with the verdict when answer 1 was shown first."""
    second: str | None = None

    @property
    def columns(self) -> Mapping[Order, str]:
        """The columns by the order in which the judge read the answers."""
        named = ((Order.NONE, self.alone), (Order.PRODUCTION_FIRST, self.first), (Order.CANDIDATE_FIRST, self.second))
        return {order: column for order, column in named if column is not None}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What judges said about the pairs."""

    found: Mapping[str, Sequence[Judgment]]
    """By judge."""
    models: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Those that each judge asks."""
    by_verdict: frozenset[str] = frozenset()
    """Judges whose token probabilities count as the verdict they come to."""
    stop_reason: str | None = None
    """Why pairs are left over: ``budget``, ``interrupted``; ``None`` when all were judged."""


def asking(sections: Sequence[JudgeSection]) -> tuple[JudgeSection, ...]:
    """Those of the judges that ask a model; the others have no opinion to hold against people's.

    Raises:
        ConfigurationError: a judge is not installed or its options are wrong.
    """
    return tuple(section for section in sections if models_of(build_judge(section)))


def trial_experiment(
    labelled: LabelledSet, source: str, judges: Sequence[JudgeSection], *, budget_usd: float | None, replay: Replay
) -> Experiment:
    """The experiment that judging a labelled set comes down to.

    Raises:
        ConfigurationError: two judges have one name.
    """
    where = source if "://" in source else os.path.abspath(source)  # noqa: PTH100  globs are no paths
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", labelled.name.split(".")[0]).strip("-._")[:40]
    raw = {
        "name": f"judges-{stem or 'labelled'}",
        "traffic": {"source": [where]},
        "candidates": [{"name": ARM, "responses": [where]}],
        "judges": [section.model_dump() for section in judges],
        "canaries": "off",
        "budget": {"judges_usd": budget_usd},
        "replay": replay.model_dump(),
    }
    return parse_experiment(raw, origin="the command line")


def trial_run_id(experiment: Experiment, labelled: LabelledSet) -> str:
    """The same for the same file and columns, whichever judges and however many pairs: judgments are kept there."""
    columns = labelled.columns
    shown = [list(columns.prompt), columns.answer_1, columns.answer_2]
    return f"{experiment.name}-{digest([experiment.ingest_fingerprint, labelled.sha256, shown])[:8]}"


async def judge_pairs(session: Session, pairs: Sequence[LabelledPair]) -> Judged:
    """Let the experiment's judges read the pairs they have not read yet, and return all they said about them."""
    [arm] = arms_of(session.experiment)
    embedder = session.engine.embedder()
    seats = seat_judges(session.experiment, embedder)
    await asyncio.to_thread(_store, session, arm, pairs)
    for item in await asyncio.to_thread(estimates.of_judges, session, seats):
        if item.calls:
            session.reporter.finish(f"estimate {item.who}", item.line())
    result = await judge_arms(session, seats, embedder)
    return Judged(
        found={seat.name: await asyncio.to_thread(_load, session, arm, seat, pairs) for seat in seats},
        models={seat.name: [model.model for model in seat.models] for seat in seats},
        by_verdict=frozenset(seat.name for seat in seats if counts_verdicts(seat.judge)),
        stop_reason=result.stop_reason,
    )


def scorecards(judged: Judged, pairs: Sequence[LabelledPair], *, unscored: Unscored) -> tuple[Scorecard, ...]:
    """Every judge held against people."""
    columns = _columns(pairs)
    return tuple(
        scorecard(
            judge,
            judgments,
            columns,
            unscored=unscored,
            models=judged.models.get(judge, ()),
            by_verdict=judge in judged.by_verdict,
        )
        for judge, judgments in judged.found.items()
    )


def recorded(verdicts: RecordedVerdicts, pairs: Sequence[LabelledPair], words: Words) -> list[Judgment]:
    """Verdicts of the set as judgments; a word that means nothing is OFF_MENU, no word a reply that said nothing."""
    found = []
    for pair in pairs:
        for order, column in verdicts.columns.items():
            word = pair.further.get(column)
            label = None if word is None else words.read(word)
            reason = UnscoredReason.PARSE_FAILED if word is None else UnscoredReason.OFF_MENU
            found.append(
                Judgment(
                    exchange_id=pair.id,
                    arm=ARM,
                    judge=verdicts.name,
                    judge_fingerprint="recorded",
                    observation_fingerprint="",
                    order=order,
                    state=JudgmentState.UNSCORED if label is None else JudgmentState.SCORED,
                    reason=reason if label is None else None,
                    value=None if label is None else label.share,
                    label=label,
                    raw=word,
                )
            )
    return found


def write_judgments(judged: Judged, pairs: Sequence[LabelledPair], words: Words, file: Path) -> None:
    """Every judgment as a line of JSON, in the set's own words; a reader never sees a half-written file."""
    by_id = {pair.id: pair for pair in pairs}
    names = {Label.LOSS: words.first[0], Label.WIN: words.second[0], Label.TIE: words.tie[0]}
    scratch = file.with_name(f".{file.name}.tmp")
    with scratch.open("w", encoding="utf-8") as stream:
        for judgment in (item for found in judged.found.values() for item in found):
            pair = by_id[judgment.exchange_id]
            line = {
                "row": pair.row,
                "judge": judgment.judge,
                "shown_first": {Order.PRODUCTION_FIRST: 1, Order.CANDIDATE_FIRST: 2}.get(judgment.order),
                "verdict": None if judgment.label is None else names[judgment.label],
                "people": names[pair.label],
                "value": judgment.value,
                "state": judgment.state,
                "reason": judgment.reason,
                "explanation": judgment.explanation,
                "reply": judgment.raw,
                "model": judgment.answered_model or judgment.model,
                "tokens_in": judgment.tokens_in,
                "tokens_out": judgment.tokens_out,
                "latency_ms": judgment.latency_ms,
                "cost_usd": judgment.cost_usd,
            }
            stream.write(json.dumps(line, default=str) + "\n")
    scratch.replace(file)


def _store(session: Session, arm: Arm, pairs: Sequence[LabelledPair]) -> None:
    """Make the sample exactly these pairs; what was judged of others is kept for when they come back."""
    redactor = Redactor(Redaction())
    store, run_id = session.store, session.run_id
    store.clear_exchanges(run_id)
    for start in range(0, len(pairs), _BATCH):
        made = [_pair(item, arm.name, arm.fingerprint) for item in pairs[start : start + _BATCH]]
        positions = [(start + place) / len(pairs) for place in range(len(made))]
        exchanges = [redactor.exchange(pair.exchange) for pair in made]
        store.put_exchanges(run_id, list(zip(exchanges, positions, strict=True)))
        store.put_observations(run_id, [redactor.observation(pair.candidate) for pair in made])


def _pair(item: LabelledPair, arm: str = ARM, fingerprint: str = "") -> Pair:
    def answered(text: str, name: str, fingerprint: str) -> Observation:
        return Observation(
            exchange_id=item.id,
            arm=name,
            status=Status.COMPLETED,
            completion=Completion(text=text, finish_reason="stop"),
            fingerprint=fingerprint,
        )

    return Pair(
        exchange=Exchange(
            id=item.id,
            request=ChatRequest(model="", messages=item.messages),
            production=answered(item.answer_1, PRODUCTION, ""),
        ),
        candidate=answered(item.answer_2, arm, fingerprint),
    )


def _load(session: Session, arm: Arm, seat: SeatedJudge, pairs: Sequence[LabelledPair]) -> list[Judgment]:
    """The judge's judgments; where its scores are no preference, its labels are."""
    found = session.store.judgments(
        session.run_id,
        arm.name,
        arm.fingerprint,
        ids=[pair.id for pair in pairs],
        judge_fingerprints=[seat.fingerprint],
    )
    if seat.judge.metric.name == WIN_RATE.name:
        return found
    return [replace(item, value=None if item.label is None else item.label.share) for item in found]


def _columns(pairs: Sequence[LabelledPair]) -> LabelledColumns:
    def cluster(pair: LabelledPair) -> str:
        text = json.dumps(pair.messages, sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    return LabelledColumns(
        ids=[pair.id for pair in pairs],
        clusters=[cluster(pair) for pair in pairs],
        labels=np.array([pair.label.share for pair in pairs]),
        labellers=[pair.labellers for pair in pairs],
        chars_1=np.array([float(len(pair.answer_1)) for pair in pairs]),
        chars_2=np.array([float(len(pair.answer_2)) for pair in pairs]),
        identical=[transcript.same_answer(_pair(pair)) for pair in pairs],
    )
