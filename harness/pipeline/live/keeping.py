"""The worker's loop that deletes what is older than the experiment keeps it."""

import asyncio
from collections.abc import Sequence

from harness.domain.reduction import Reduced
from harness.judging.protocol import orders_of
from harness.pipeline import retention
from harness.pipeline.arms import arms_of
from harness.pipeline.live.looking import pause
from harness.pipeline.live.room import Room
from harness.pipeline.seats import SeatedJudge
from harness.store.retention import Wanted


class KeepingLoop:
    """Applies ``retention`` now and then, batch by batch, beside everything else that uses the store."""

    def __init__(self, room: Room, judges: Sequence[SeatedJudge]) -> None:
        self._room = room
        orders = tuple((judge.fingerprint, tuple(orders_of(judge.judge))) for judge in judges)
        self._sparing = tuple(
            Wanted(arm=arm.name, fingerprint=arm.fingerprint, judges=orders) for arm in arms_of(room.session.experiment)
        )

    async def run(self) -> None:
        """Until it is time to stop; returns at once when everything is kept for good."""
        policy = self._room.live.retention
        while policy.limits and not self._room.stopping:
            with self._room.abandoned_when_cancelled():
                await asyncio.to_thread(self.once)
            await pause(self._room, policy.every_s)

    def once(self) -> dict[Reduced, int]:
        """Delete what is too old now; ended early, the next time goes on."""
        room, session = self._room, self._room.session
        found = room.persist(
            lambda: retention.apply_policy(
                session.store, session.run_id, room.live.retention, sparing=self._sparing,
                stopped=lambda: room.stopping,
            )
        )  # fmt: skip
        if any(found.values()):
            # Written anew at the next look, of what is left.
            retention.remove(tuple(retention.files_with_texts(session.folder)))
            parts = [f"{n:,} exchanges lost their {_LOST[what]}" for what, n in found.items() if n]
            session.reporter.finish("retention", "; ".join(parts))
        return found


_LOST = {Reduced.TEXTS: "texts", Reduced.EXCHANGES: "rows"}
