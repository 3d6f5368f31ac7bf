"""What an event of the history keeps of the evidence it was made on, so that an audit can check it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from enum import Enum
from typing import Any

from harness.config.rollout import ROLL_BACK_TESTS, Rollout
from harness.domain.json import Json
from harness.rollout.evidence import RolloutEvidence
from harness.store.rollouts import RolloutRecord


def kept(evidence: RolloutEvidence, record: RolloutRecord, policy: Rollout, *, run_id: str) -> dict[str, Json]:
    """Hashes of evidence and configuration, the alpha ledger, and the figures people ask for."""
    found: dict[str, Json] = {
        "evidence_sha256": digest(evidence),
        "configuration_sha256": record.configuration_sha256,
        "fingerprint": record.fingerprint,
        "alpha": alpha_of(policy),
    }
    if evidence.spend_usd is not None:
        found["spend_usd"] = evidence.spend_usd
    if evidence.stages:
        found["served"] = {
            stage.phase: {
                arm: {"begun": conversations.begun, "failed": conversations.failed}
                for arm, conversations in (("candidate", stage.candidate), ("control", stage.control))
            }
            for stage in evidence.stages
        }
    if evidence.pairs is not None:
        found["pairs"] = {"due": evidence.pairs.due, "complete": evidence.pairs.complete}
    for decision in evidence.decisions.values():
        found["decision"] = {"verdict": decision.verdict.value, "sentence": decision.sentence, "run_id": run_id}
    return found


def alpha_of(policy: Rollout) -> dict[str, Json]:
    """What the tests that may roll back may spend."""
    section = policy.rollback
    names = ("sequential.errors", "sequential.error_difference", "sequential.latency")
    assert len(names) == ROLL_BACK_TESTS  # noqa: S101  they share it
    return {"attempt_alpha": section.alpha, "tests": dict.fromkeys(names, section.test_alpha)}


def digest(evidence: RolloutEvidence) -> str:
    """SHA-256 of the evidence as canonical JSON."""
    text = json.dumps(asdict(evidence), sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Json:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)
