"""The replay stage: every arm gets every sampled request it has not answered yet."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from harness.domain.exchange import Exchange
from harness.domain.model import ModelClient, ModelSpec
from harness.domain.observation import ErrorKind, Observation, Status
from harness.domain.stop import StopSignal
from harness.errors import root_cause
from harness.ingest.redaction import Redactor
from harness.ingest.responses import JoinIndex, RecordedResponses
from harness.models.budget import Purse
from harness.pipeline.arms import Arm, arms_of
from harness.pipeline.clients import opened_client
from harness.pipeline.session import EVERYTHING, Portion, Session, StageCounts
from harness.replay.runner import ReplayResult, replay

_BATCH = 500


async def replay_arms(session: Session, portion: Portion = EVERYTHING) -> StageCounts:
    """Ask every arm what it has not answered yet; recorded responses are taken whole, whatever the portion."""
    with session.clocked("replay") as stop:
        return await _replay_arms(session, portion, stop)


async def _replay_arms(session: Session, portion: Portion, stop: StopSignal) -> StageCounts:
    found: dict[str, Mapping[str, int]] = {}
    asked: list[tuple[Arm, ModelSpec]] = []
    for arm in arms_of(session.experiment):
        if arm.spec is None:
            found[arm.name] = await asyncio.to_thread(_take_recorded, session, arm)
        elif arm.name in portion.without:
            found[arm.name] = {}
        elif await asyncio.to_thread(_pending, session, arm, portion.first):
            asked.append((arm, arm.spec))
        else:
            found[arm.name] = {}
            session.reporter.finish(f"replay {arm.name}", "" if portion.first else "nothing to ask")
    results = await _ask(session, asked, portion.first, stop) if asked else {}
    found |= {name: _endings(result) for name, result in results.items()}
    reasons = [result.stop_reason for result in results.values() if result.stop_reason is not None]
    return StageCounts(counts=found, stop_reason=reasons[0] if reasons else stop.reason)


async def _ask(
    session: Session, asked: Sequence[tuple[Arm, ModelSpec]], first: int | None, stop: StopSignal
) -> Mapping[str, ReplayResult]:
    """Arms of different providers at the same time, arms of one provider after each other.

    Two arms of one provider would only compete for the same limits and blur each other's latency.
    """
    results: dict[str, ReplayResult] = {}
    by_provider: dict[str, list[tuple[Arm, ModelSpec]]] = defaultdict(list)
    for arm, spec in asked:
        by_provider[spec.provider].append((arm, spec))

    async with opened_client(session, candidates_purse(session), [spec for _, spec in asked]) as client:

        async def one_provider(group: Sequence[tuple[Arm, ModelSpec]]) -> None:
            for arm, spec in group:
                results[arm.name] = await _replay_arm(session, arm, spec, first, client, stop)

        try:
            async with asyncio.TaskGroup() as tasks:
                for group in by_provider.values():
                    tasks.create_task(one_provider(group))
        except BaseExceptionGroup as failure:
            raise root_cause(failure) from None
    return results


def candidates_purse(session: Session) -> Purse:
    """What is left of the candidates' budget in this run."""
    return Purse(
        name="candidates",
        limit_usd=session.experiment.budget.candidates_usd,
        spent_usd=session.store.spent(session.run_id)["candidates"],
    )


async def _replay_arm(
    session: Session, arm: Arm, spec: ModelSpec, first: int | None, client: ModelClient, stop: StopSignal
) -> ReplayResult:
    settings = session.experiment.replay
    task = f"replay {arm.name}"
    total = await asyncio.to_thread(_pending, session, arm, first)
    before = await asyncio.to_thread(session.store.observation_counts, session.run_id, arm.name, arm.fingerprint)
    session.reporter.start(task, total=total)

    def on_progress(progress: ReplayResult) -> None:
        failed = sum(progress.failed.values())
        session.reporter.update(task, done=progress.written, total=total, note=f"{failed:,} failed" if failed else "")

    result = await replay(
        pending_exchanges(session, arm, first),
        client=client,
        spec=spec,
        arm=arm.name,
        fingerprint=arm.fingerprint,
        write=lambda observations: session.store.put_observations(session.run_id, observations),
        concurrency=settings.concurrency,
        deadline_s=settings.deadline_s,
        stop=stop,
        on_progress=on_progress,
        answered_before=before.completed > 0,
    )
    note = ", ".join(f"{n:,} {ending}" for ending, n in _endings(result).items()) or "nothing asked"
    note += f"; stopped: {result.stop_reason}" if result.stop_reason else ""
    session.reporter.finish(task, "" if first is not None and result.stop_reason is None else note)
    return result


def _endings(result: ReplayResult) -> dict[str, int]:
    found = {"completed": result.completed} | {f"failed {kind}": n for kind, n in sorted(result.failed.items())}
    return {ending: count for ending, count in found.items() if count}


def pending_exchanges(session: Session, arm: Arm, first: int | None = None) -> Iterator[Exchange]:
    """What this arm still has to be asked, of all requests or of the ``first`` ones."""
    return session.store.pending_exchanges(
        session.run_id,
        arm.name,
        arm.fingerprint,
        share=arm.share,
        first=first,
        retry_errors=_retry_errors(session, arm),
    )


def _pending(session: Session, arm: Arm, first: int | None = None) -> int:
    return session.store.count_pending_exchanges(
        session.run_id,
        arm.name,
        arm.fingerprint,
        share=arm.share,
        first=first,
        retry_errors=_retry_errors(session, arm),
    )


def _retry_errors(session: Session, arm: Arm) -> bool:
    """Whether failures are asked again: when wanted, and while the arm has never been heard of."""
    if session.retry_errors or arm.spec is None:
        return session.retry_errors
    counts = session.store.observation_counts(session.run_id, arm.name, arm.fingerprint)
    return not counts.completed and all(ErrorKind(kind).is_setup_alone for kind in counts.failed)


def _take_recorded(session: Session, arm: Arm) -> Mapping[str, int]:
    """Join a file of responses to the sampled exchanges; what the file lacks is skipped as not recorded."""
    candidate = arm.recorded
    assert candidate is not None  # noqa: S101  called for recorded arms only
    store, run_id = session.store, session.run_id
    task = f"read {arm.name}"
    if not _pending(session, arm):
        session.reporter.finish(task, "")
        return {}
    session.reporter.start(task, total=store.count_exchanges(run_id))
    redaction = session.experiment.traffic.redaction
    responses = RecordedResponses(candidate.responses or [], dialect=candidate.dialect, mapping=candidate.mapping)
    observations = responses.observations(
        arm=arm.name,
        fingerprint=arm.fingerprint,
        wanted=JoinIndex.of(store.exchanges(run_id)),
        redactor=Redactor(redaction) if redaction.enabled else None,
    )
    endings: Counter[str] = Counter()
    while batch := list(islice(observations, _BATCH)):
        store.put_observations(run_id, batch)
        endings.update(observation.status.value for observation in batch)
        session.reporter.update(task, done=sum(endings.values()))
        if session.stop.reason is not None:
            session.reporter.finish(task, f"{sum(endings.values()):,} joined; stopped: {session.stop.reason}")
            return endings
    # Skipped exchanges stay pending, for a file that is completed later: the ids are taken before any is written.
    lacking = [exchange.id for exchange in pending_exchanges(session, arm)]
    for start in range(0, len(lacking), _BATCH):
        store.put_observations(run_id, [_not_recorded(arm, id_) for id_ in lacking[start : start + _BATCH]])
    if lacking:
        endings["skipped, not recorded"] = len(lacking)
    session.reporter.finish(task, ", ".join(f"{n:,} {ending}" for ending, n in endings.items()) or "no record joined")
    counts = responses.counts
    for n, what in (
        (counts.unmatched, "answer requests that are not in the sample"),
        (counts.ambiguous, "fit several requests and were left out; give them the ids of the export"),
        (counts.duplicate, "are further answers to a request that has one"),
        (counts.unusable, "hold no answer to a request"),
    ):
        if n:
            session.reporter.warn(f"{arm.name}: {n:,} of {counts.read:,} records {what}")
    return endings


def _not_recorded(arm: Arm, exchange_id: str) -> Observation:
    return Observation(
        exchange_id=exchange_id,
        arm=arm.name,
        status=Status.SKIPPED,
        reason="not_recorded",
        fingerprint=arm.fingerprint,
    )
