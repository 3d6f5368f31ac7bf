"""Where the requests went, from production's doorstep to a judged pair; every sum is checked, and a gap is said."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.config import Live
from harness.domain.mirror import NotEligible, SkipReason
from harness.domain.reduction import Reduced
from harness.judging.protocol import Embedder
from harness.pipeline.arms import Arm, arms_of
from harness.pipeline.live.intake import DUPLICATE, EXCHANGE
from harness.pipeline.seats import SeatedJudge, default_embedder, seat_judges
from harness.spool import control, counters
from harness.spool.reader import COUNTERS, LOCK, saved_position, waiting_bytes
from harness.store import Store

ENDINGS = (
    EXCHANGE, DUPLICATE, SkipReason.NOT_READABLE.value, SkipReason.TOO_OLD.value, SkipReason.ENDED.value,
    SkipReason.SERVED_BY_CANDIDATE.value,
)  # fmt: skip
"""What a record can become."""
_SETTLE_S = 0.3
"""Counts of processes that are at work are not read at one moment; a gap that is none is gone after this time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmFunnel:
    """What became of the exchanges in one arm."""

    arm: str
    exchanges: int
    completed: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    """By ErrorKind."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """By SkipReason."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """By SkipReason."""
    pending: int = 0
    """Not asked yet, or being asked."""
    comparable: int = 0
    """Both sides completed."""
    judged: Mapping[str, int] = field(default_factory=dict)
    """Judge to the number of pairs it has scored."""

    @property
    def asked(self) -> int:
        """Calls that were made and have an ending."""
        return self.completed + sum(self.failed.values())

    @property
    def accounted(self) -> int:
        """All endings, and what has none yet."""
        return self.asked + sum(self.dropped.values()) + sum(self.skipped.values()) + self.pending


@dataclass(frozen=True, kw_only=True, slots=True)
class Funnel:
    """Production's requests on their way to a judged pair.

    ``requests = refused + not_eligible + eligible``, ``eligible = sampled_out + sampled``,
    ``sampled = mirror_dropped + in_progress + spooled``, ``spooled = waiting + read``, ``read`` is the sum of
    ``endings``, and every arm accounts for every exchange. What does not add up is in ``problems``.
    """

    run_id: str
    requests: int = 0
    refused: int = 0
    """By the gateway itself, or not looked at."""
    not_eligible: Mapping[str, int] = field(default_factory=dict)
    """By NotEligible."""
    sampled_out: int = 0
    sampled: int = 0
    mirror_dropped: Mapping[str, int] = field(default_factory=dict)
    """By MirrorDrop."""
    in_progress: int = 0
    """Sampled, and not answered by production or not written yet."""
    spooled: int = 0
    waiting: int = 0
    """In the spool and not read."""
    waiting_bytes: int = 0
    damaged_bytes: int = 0
    read: int = 0
    endings: Mapping[str, int] = field(default_factory=dict)
    """What became of the records that were read: ``exchange``, ``duplicate``, or a SkipReason."""
    exchanges: int = 0
    """In the store."""
    deleted: int = 0
    """Were in the store until they were deleted for their age or a user."""
    arms: tuple[ArmFunnel, ...] = ()
    worker_running: bool = False
    mirroring: bool = True
    """Whether the kill switch lets traffic through."""
    problems: tuple[str, ...] = ()
    why: str | None = None
    """Why nothing was compared, in one sentence; ``None`` when something was."""

    @property
    def eligible(self) -> int:
        """Requests that could have been sampled."""
        return self.sampled_out + self.sampled


def read_funnel(live: Live, store: Store, run_id: str, *, embedder: Embedder | None = None) -> Funnel:
    """The funnel as it stands; a gap is looked at again before it is called one."""
    judges = seat_judges(live.experiment, embedder or default_embedder())
    found = _read(live, store, run_id, judges)
    for _ in range(2):
        if not found.problems:
            break
        time.sleep(_SETTLE_S)
        found = _read(live, store, run_id, judges)
    return found


def _read(live: Live, store: Store, run_id: str, judges: Sequence[SeatedJudge]) -> Funnel:
    folder = Path(live.spool.folder)
    # From the end to the beginning: what moves on meanwhile is counted too early, never too late. The position goes
    # before the exchanges, since it is saved after them.
    arms = tuple(_arm(store, run_id, arm, judges) for arm in arms_of(live.experiment))
    position = saved_position(folder)
    waiting_b = waiting_bytes(folder, position)
    exchanges = store.count_exchanges(run_id)
    # After the exchanges: what is deleted in between counts twice, and is no gap.
    deleted = sum(item.n_exchanges for item in store.reductions(run_id) if item.what is Reduced.EXCHANGES)
    counts = counters.totals(folder / COUNTERS)
    endings = {name: position.counts[name] for name in ENDINGS if position.counts.get(name)}
    not_eligible = {reason.value: number for reason in NotEligible if (number := counts[f"not_eligible.{reason}"])}
    dropped = dict(counters.dropped(counts))
    looked_at = sum(not_eligible.values()) + counts["sampled_out"] + counts["sampled"]
    funnel = Funnel(
        run_id=run_id,
        requests=counts["requests"],
        refused=max(0, counts["requests"] - looked_at),
        not_eligible=not_eligible,
        sampled_out=counts["sampled_out"],
        sampled=counts["sampled"],
        mirror_dropped=dropped,
        in_progress=max(0, counts["sampled"] - counts["spooled"] - sum(dropped.values())),
        spooled=counts["spooled"],
        waiting=max(0, counts["spooled"] - position.records),
        waiting_bytes=waiting_b,
        damaged_bytes=position.damaged_bytes,
        read=position.records,
        endings=endings,
        exchanges=exchanges,
        deleted=deleted,
        arms=arms,
        worker_running=counters.is_held(folder / LOCK),
        mirroring=control.is_mirroring(folder),
    )
    return _explained(funnel, live)


def _arm(store: Store, run_id: str, arm: Arm, judges: Sequence[SeatedJudge]) -> ArmFunnel:
    counts, pending = store.arm_counts(run_id, arm.name, arm.fingerprint)
    judged = {
        judge.name: store.pairs_judged(run_id, arm.name, arm.fingerprint, judge_fingerprint=judge.fingerprint).scored
        for judge in judges
    }
    return ArmFunnel(
        arm=arm.name,
        exchanges=counts.sampled,
        completed=counts.completed,
        failed=counts.failed,
        dropped=counts.dropped,
        skipped=counts.skipped,
        pending=pending,
        comparable=counts.comparable,
        judged=judged,
    )


def _explained(funnel: Funnel, live: Live) -> Funnel:
    return replace(funnel, problems=tuple(_problems(funnel)), why=_why(funnel, live))


def _problems(f: Funnel) -> list[str]:
    found = []
    parts = f.refused + sum(f.not_eligible.values()) + f.eligible
    if f.requests != parts:
        found.append(f"{f.requests:,} requests, but {parts:,} are accounted for")
    parts = sum(f.mirror_dropped.values()) + f.in_progress + f.spooled
    if f.sampled != parts:
        found.append(f"{f.sampled:,} requests sampled, but {parts:,} were dropped, are in progress or were spooled")
    if f.read > f.spooled and f.requests:
        found.append(f"{f.spooled:,} records spooled, but {f.read:,} were read")
    if f.waiting and not f.waiting_bytes:
        damaged = f" ({f.damaged_bytes:,} bytes of the spool are damaged)" if f.damaged_bytes else ""
        found.append(f"{f.waiting:,} spooled records were not read, and nothing waits in the spool{damaged}")
    parts = sum(f.endings.values())
    if f.read != parts:
        found.append(f"{f.read:,} records read, but {parts:,} have an ending")
    kept = f.endings.get(EXCHANGE, 0)
    if f.exchanges + f.deleted < kept:
        gone = f" and {f.deleted:,} were deleted" if f.deleted else ""
        found.append(f"{kept:,} records became exchanges, but {f.exchanges:,} are in the store{gone}")
    found += [
        f"{arm.arm}: {arm.exchanges:,} exchanges, but {arm.accounted:,} are accounted for"
        for arm in f.arms
        if arm.accounted != arm.exchanges
    ]
    return found


def _why(f: Funnel, live: Live) -> str | None:
    """The first stage that nothing has got past, and what became of what came to it."""
    if any(arm.comparable for arm in f.arms):
        return None
    running = "the worker is running" if f.worker_running else "no worker is running: start `harness worker`"
    if not (f.requests or f.spooled or f.read or f.exchanges or f.waiting_bytes):
        return f"No request has come to a gateway that writes to {live.spool.folder}: is `harness serve` in front?"
    reached_worker = f.read or f.waiting_bytes or f.exchanges
    if not f.eligible and not reached_worker:
        return f"None of {f.requests:,} requests was eligible: {_reasons(f.not_eligible)}."
    if not f.sampled and not reached_worker:
        return f"None of {f.eligible:,} eligible requests fell into the sample: `mirror.rate` is {live.mirror.rate:g}."
    if not f.spooled and not reached_worker:
        lost = _reasons(f.mirror_dropped) or "they are still being answered"
        return f"None of {f.sampled:,} sampled requests has reached the spool: {lost}."
    if not f.read and not f.exchanges:
        return f"What was captured waits in the spool ({f.waiting_bytes:,} bytes), and {running}."
    if not f.exchanges:
        return f"None of {f.read:,} records could be used: {_reasons(f.endings)}."
    arms = "; ".join(f"{arm.arm}: {_arm_reasons(arm)}" for arm in f.arms)
    return f"None of {f.exchanges:,} exchanges has an answer to compare ({arms}), and {running}."


def _arm_reasons(arm: ArmFunnel) -> str:
    pending = {"not asked yet": arm.pending} if arm.pending else {}
    failed = {f"failed {kind}": n for kind, n in arm.failed.items()}
    return _reasons({**failed, **arm.dropped, **arm.skipped, **pending}) or "production failed on all of them"


def _reasons(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{number:,} {reason.replace('_', ' ')}" for reason, number in ordered)
