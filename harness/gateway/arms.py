"""Which requests belong to a rollout's arms, and a small record of how each of them was answered."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from harness.domain.served import Arm, ServedOutcome
from harness.gateway.mirror import GatewayMirror, RawHeaders, Tap
from harness.spool import headers, record
from harness.spool.assignment import Assignment, arm_of
from harness.spool.counters import INDEX
from harness.spool.sampling import SURFACES, fields_of
from harness.spool.writer import SpoolWriter

SERVED = "served"
"""Folder inside the spool for the records of arms."""
_CONTROL = INDEX["control"]
_CANARY = {outcome: INDEX[f"canary.{outcome}"] for outcome in ServedOutcome}
_RECORD_BYTES = 512
_SURFACES: Mapping[bytes, str] = {
    end.encode(): name for end, name in SURFACES.items() if name in {"chat", "responses", "messages"}
}


class Drawn:
    """One request of an arm, until it is known how it was answered; ends in exactly one record."""

    __slots__ = ("_arms", "_assignment", "_at_ns", "_conversation", "_id", "_path", "arm", "is_over", "surface")

    def __init__(
        self, arms: "Arms", assignment: Assignment, arm: Arm, surface: str, path: str, key: str, id_: str
    ) -> None:
        self.arm = arm
        self.surface = surface
        self.is_over = False
        self._arms = arms
        self._assignment = assignment
        self._at_ns = time.time_ns()
        self._conversation = hashlib.blake2b(f"{assignment.salt}\0{key}".encode(), digest_size=8).hexdigest()
        self._id = id_
        self._path = path

    def ended(
        self,
        outcome: ServedOutcome,
        status: int,
        *,
        latency_s: float | None,
        ttft_s: float | None = None,
        reason: str | None = None,
        tap: Tap | None = None,
    ) -> None:
        """Note how it was answered; ``tap`` is told too, before it ends itself."""
        if self.is_over:
            return
        self.is_over = True
        served = {
            "rollout_id": self._assignment.rollout_id,
            "number": self._assignment.number,
            "arm": self.arm.value,
            "conversation": self._conversation,
            "surface": self.surface,
            "outcome": outcome.value,
            "reason": reason,
        }
        if tap is not None:
            tap.served = served
        values = {
            "id": self._id,
            "at_ns": self._at_ns,
            "method": "POST",
            "path": self._path,
            "status": status,
            "latency_ms": None if latency_s is None else latency_s * 1000,
            "ttft_ms": None if ttft_s is None else ttft_s * 1000,
            "served": served,
        }
        self._arms.note(self.arm, outcome, values)


class Arms:
    """Draws requests for the arms of the assignment in force, and keeps the records of how they were answered."""

    def __init__(self, mirror: GatewayMirror, writer: SpoolWriter, name: str) -> None:
        self.is_ready = False
        """Whether the candidate can be asked. While it cannot, nobody is drawn for either arm: neither has an hour to
        itself, and no user waits for a process that begins."""
        self._mirror = mirror
        self._writer = writer
        self._name = name
        self._number = 0

    @property
    def candidate(self) -> str:
        """Whom the assignment is about."""
        return self._mirror.assignment.candidate

    def draw(
        self, method: str, raw_path: bytes, request_headers: RawHeaders, body: bytes, tap: Tap | None
    ) -> Drawn | None:
        """The arm a request belongs to; ``None`` for most of them."""
        assignment = self._mirror.assignment
        if not self.is_ready or assignment.share <= 0 or method != "POST" or not assignment.holds(time.time()):
            return None
        path = raw_path.rstrip(b"/")
        surface = next((name for end, name in _SURFACES.items() if path.endswith(end)), None)
        # The messages of an assistant's thread live at production.
        if surface is None or b"/threads/" in path:
            return None
        rules = self._mirror.rules
        if rules.closed is not None:
            return None
        decided_by = rules.headers.to_decide(request_headers)
        if headers.INTERNAL in decided_by:
            return None
        named, sampler = raw_path.decode("latin-1"), rules.sampler
        fields = fields_of(body, sampler.body_fields) if sampler.body_fields else {}
        rule = next((one for one in rules.mirror.rules if one.fits(named, decided_by, fields)), None)
        if rule is not None and rule.rate == 0:
            return None
        key, id_ = self._key(decided_by, fields, tap)
        arm = arm_of(assignment, key)
        if arm is Arm.NEITHER:
            return None
        return Drawn(self, assignment, arm, surface, named, key, id_)

    def _key(self, decided_by: Mapping[str, str], fields: Mapping[str, str], tap: Tap | None) -> tuple[str, str]:
        """What is served alike, and the request's id."""
        self._number += 1
        id_ = tap.id if tap is not None else f"{self._name}-s{self._number:x}"
        mirror = self._mirror.rules.mirror
        conversation = decided_by.get(mirror.conversation_header) or fields.get(mirror.conversation_field or "")
        if conversation:
            return f"conversation\0{conversation}", id_
        user = decided_by.get(mirror.user_header) or fields.get(mirror.user_field or "")
        return (f"user\0{user}" if user else f"request\0{id_}"), id_

    def note(self, arm: Arm, outcome: ServedOutcome, values: Mapping[str, Any]) -> None:
        """Count a request and hand its record to the writer."""
        self._mirror.counts[_CANARY[outcome] if arm is Arm.CANDIDATE else _CONTROL] += 1

        def draft() -> Sequence[bytes]:
            meta = orjson.dumps({name: value for name, value in values.items() if value is not None})
            return record.frame(meta, (), ())

        self._writer.offer(draft, _RECORD_BYTES)

    def close(self) -> None:
        """Write what waits."""
        self._writer.close()
