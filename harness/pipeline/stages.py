"""The stages of a run; each reads its input from the store, writes its output there, and can be run again alone."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.config import Traffic, digest
from harness.domain.decision import Decision, Verdict
from harness.domain.report import EvaluationReport
from harness.domain.run import IngestReport, Stage
from harness.domain.side_by_side import SideBySide
from harness.domain.stop import StopSignal
from harness.errors import ConfigurationError, Interrupted
from harness.ingest.stage import ExchangeSink, Progress, ingest
from harness.pipeline import attempts, estimates, evaluation, look_history, looking, reporting
from harness.pipeline.checks import check_settings
from harness.pipeline.judging import judge_arms
from harness.pipeline.pair_texts import Texts, writing
from harness.pipeline.replaying import replay_arms
from harness.pipeline.seats import SeatedJudge, default_embedder, seat_judges, vector_cache
from harness.pipeline.session import Reporter, Session, reached
from harness.pipeline.table import write_table
from harness.pipeline.topics import find_topics


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run came to."""

    run_id: str
    decisions: tuple[Decision, ...]
    verdict: Verdict
    files: Mapping[str, Path]
    stop_reason: str | None
    side_by_side: SideBySide | None = None
    """``None`` with fewer than two candidates."""

    def as_json(self) -> dict[str, Any]:
        """The result for machines; requests that the report shows are in the report alone."""
        beside = None if self.side_by_side is None else asdict(replace(self.side_by_side, requests=()))
        return {
            "side_by_side": beside and {name: value for name, value in beside.items() if name != "requests"},
            "run": self.run_id,
            "verdict": self.verdict.value,
            "decisions": [asdict(decision) for decision in self.decisions],
            "files": {name: str(path) for name, path in self.files.items()},
            "stop_reason": self.stop_reason,
        }


async def run_all(session: Session, *, command: str = "") -> Result:
    """Every stage, each going on where it stopped; a spent budget or time limit still judges and reports what there is.

    Asking and judging take turns, and end for a candidate whose decision stands or is out of reach.

    Raises:
        ConfigurationError: something a later stage needs is wrong; found before anything is read or asked.
        Interrupted: somebody asked for the end; they want the prompt, not a report.
    """
    embedder = session.engine.embedder(vector_cache(session.runs_dir))
    judges = seat_judges(session.experiment, embedder)
    check_settings(session.experiment, judges)
    await ingest_stage(session)
    looking.check(session)
    for expected in (estimates.of_arms, lambda session: estimates.of_judges(session, judges)):
        _show(session, await asyncio.to_thread(expected, session))
    reason = await looking.ask_and_judge(session, judges, embedder)
    session.advance(Stage.JUDGED, stop_reason=reason)
    return await decide_stage(session, command=command)


async def ingest_stage(session: Session) -> IngestReport:
    """Read, redact and sample the export into the store, once, and find what it is about when that is asked for."""
    report = await _ingested(session)
    await find_topics(session)
    return report


async def _ingested(session: Session) -> IngestReport:
    done = session.store.ingest_report(session.run_id)
    if done is not None and reached(session.run, Stage.INGESTED):
        session.reporter.finish("ingest", f"{done.sampled:,} exchanges, read before")
        return done
    # A killed ingest left a part of the sample: it is cheap to read again and impossible to continue.
    session.store.clear_exchanges(session.run_id)
    report = await read_export(
        session.experiment.traffic,
        _StoreSink(session),
        rejects_path=session.folder / "rejects.jsonl",
        reporter=session.reporter,
        stop=session.stop,
    )
    session.store.save_ingest_report(session.run_id, report)
    session.advance(Stage.INGESTED)
    for warning in report.warnings:
        session.reporter.warn(warning)
    return report


async def read_export(
    traffic: Traffic, sink: ExchangeSink, *, rejects_path: Path, reporter: Reporter, stop: StopSignal
) -> IngestReport:
    """Read an export into ``sink``, with progress.

    Raises:
        Interrupted: ``stop`` fired; what is in the sink is of no use.
    """
    reporter.start("ingest")

    def on_progress(progress: Progress) -> None:
        if stop.reason is not None:
            # Raised in the reading thread, which nothing else could end.
            raise Interrupted("interrupted; nothing was asked yet, and the same command reads the export again")
        note = f"MB · {progress.kept:,} kept" + (f", {progress.rejected:,} rejected" if progress.rejected else "")
        megabytes = progress.bytes_read / 1e6
        total = None if progress.bytes_total is None else progress.bytes_total / 1e6
        reporter.update("ingest", done=round(megabytes, 1), total=total and round(total, 1), note=note)

    report = await asyncio.to_thread(ingest, traffic, sink, rejects_path=rejects_path, on_progress=on_progress)
    dialects = ", ".join(sorted(set(report.dialects.values())))
    lost = f", {report.rejected:,} rejected" if report.rejected else ""
    reporter.finish("ingest", f"{report.read:,} records as {dialects}: {report.sampled:,} sampled{lost}")
    return report


async def replay_stage(session: Session) -> Mapping[str, Mapping[str, int]]:
    """Ask every arm what it has not been asked yet, and return the endings by arm.

    Raises:
        ConfigurationError: nothing has been ingested.
    """
    _require(session, Stage.INGESTED, "harness ingest")
    check_settings(session.experiment, seat_judges(session.experiment, default_embedder()))
    _say_reductions(session)
    _show(session, await asyncio.to_thread(estimates.of_arms, session))
    result = await replay_arms(session)
    session.advance(Stage.REPLAYED, stop_reason=result.stop_reason)
    return result.counts


async def estimate_stage(session: Session) -> tuple[estimates.ExpectedCost, ...]:
    """What replay and judging would cost from here; ingests first if that has not been done, and asks no model."""
    await _ingested(session)
    judges = seat_judges(session.experiment, default_embedder())
    arms = await asyncio.to_thread(estimates.of_arms, session)
    return arms + await asyncio.to_thread(estimates.of_judges, session, judges)


async def judge_stage(session: Session) -> Mapping[str, Mapping[str, int]]:
    """Judge every comparable pair not judged yet, and return the counts by arm and judge.

    Raises:
        ConfigurationError: nothing has been replayed, or a judge is not installed.
    """
    _require(session, Stage.REPLAYED, "harness replay")
    _say_reductions(session)
    embedder = session.engine.embedder(vector_cache(session.runs_dir))
    before = session.run.stop_reason
    judges = seat_judges(session.experiment, embedder)
    _show(session, await asyncio.to_thread(estimates.of_judges, session, judges))
    result = await judge_arms(session, judges, embedder)
    session.advance(Stage.JUDGED, stop_reason=before or result.stop_reason)
    return result.counts


async def decide_stage(session: Session, *, command: str = "") -> Result:
    """Estimate and decide from what is stored, and write the report.

    Raises:
        ConfigurationError: nothing has been ingested.
        Interrupted: somebody asked for the end while topics were being found.
    """
    _require(session, Stage.INGESTED, "harness ingest")
    _say_reductions(session)
    await find_topics(session)
    run = session.run
    run = session.advance(Stage.DECIDED if reached(run, Stage.JUDGED) else run.stage, stop_reason=run.stop_reason)
    await asyncio.to_thread(attempts.begin_all, session)
    judges, evaluations = await asyncio.to_thread(evaluated, session)
    await asyncio.to_thread(evaluation.record, session, evaluations)
    await asyncio.to_thread(look_history.keep, session, evaluations, at=run.updated_at)
    decisions = tuple(item.decision for item in evaluations if item.decision is not None)
    reduced = session.store.reductions(session.run_id)
    session.store.save_decision(
        session.run_id,
        decided_at=run.updated_at,
        experiment_sha256=digest(run.experiment),
        decision={
            "command": command or f"harness decide --run {session.run_id}",
            **({"reduced": [item.record for item in reduced]} if reduced else {}),
            "arms": {decision.arm: asdict(decision) for decision in decisions},
        },
    )
    session.reporter.start("report")
    report, files = await asyncio.to_thread(_written, session, judges, evaluations)
    session.reporter.finish("report", str(files["html"]))
    return Result(
        run_id=session.run_id,
        decisions=decisions,
        verdict=evaluation.overall(decisions),
        files=files,
        stop_reason=run.stop_reason,
        side_by_side=report.side_by_side,
    )


async def report_stage(session: Session, *, folder: Path | None = None) -> Mapping[str, Path]:
    """Render what is stored again, without changing it."""
    _require(session, Stage.INGESTED, "harness ingest")
    return await asyncio.to_thread(_reported, session, folder or session.folder)


def evaluated(session: Session) -> tuple[Sequence[SeatedJudge], Sequence[evaluation.ArmEvaluation]]:
    """The judges, and what every arm comes to by what is stored now."""
    judges = seat_judges(session.experiment, default_embedder())
    return judges, evaluation.evaluate(session, judges)


def write_files(
    session: Session,
    judges: Sequence[SeatedJudge],
    evaluations: Sequence[evaluation.ArmEvaluation],
    folder: Path,
    *,
    texts: Texts | None = None,
) -> Mapping[str, Path]:
    """The report in every format, and the pairs as numbers; with ``texts`` their words too, which are waited for."""
    return _write(reporting.build_report(session, judges, evaluations), evaluations, folder, texts)


def _write(
    report: EvaluationReport, evaluations: Sequence[evaluation.ArmEvaluation], folder: Path, texts: Texts | None
) -> Mapping[str, Path]:
    files = {**reporting.write_report(report, folder), "pairs": write_table(evaluations, folder)}
    return files if texts is None else {**files, "texts": texts.wait()}


def _written(
    session: Session, judges: Sequence[SeatedJudge], evaluations: Sequence[evaluation.ArmEvaluation]
) -> tuple[EvaluationReport, Mapping[str, Path]]:
    with writing(session, judges, session.folder) as texts:
        report = reporting.build_report(session, judges, evaluations)
        return report, _write(report, evaluations, session.folder, texts)


def _reported(session: Session, folder: Path) -> Mapping[str, Path]:
    """Evaluate and write everything; words are written beside it, which takes as long as the figures do."""
    judges = seat_judges(session.experiment, default_embedder())
    with writing(session, judges, folder) as texts:
        return write_files(session, judges, evaluation.evaluate(session, judges), folder, texts=texts)


def _show(session: Session, expected: Sequence[estimates.ExpectedCost]) -> None:
    for item in expected:
        if item.calls:
            session.reporter.finish(f"estimate {item.who}", item.line())


def _say_reductions(session: Session) -> None:
    """What was deleted from the run is missing from whatever comes next."""
    for item in session.store.reductions(session.run_id):
        session.warn_once(item.sentence)


def _require(session: Session, stage: Stage, command: str) -> None:
    if not reached(session.run, stage):
        raise ConfigurationError(f"run {session.run_id!r} is not that far; `{command}` comes first")


@dataclass(frozen=True)
class _StoreSink:
    session: Session

    def put_exchanges(self, exchanges: Any) -> None:
        self.session.store.put_exchanges(self.session.run_id, exchanges)

    def remove_exchanges(self, ids: Sequence[str]) -> None:
        self.session.store.remove_exchanges(self.session.run_id, ids)
