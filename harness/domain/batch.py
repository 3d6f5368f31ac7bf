"""Requests handed to a vendor together, answered within a day at a lower price."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

ASKER: ContextVar[str] = ContextVar("asker", default="")
"""What the calls of this context are for; tells equal requests apart, so that each gets an answer of its own."""


@contextmanager
def asking_for(*parts: str) -> "Iterator[None]":
    """Name what the calls within are for."""
    token = ASKER.set("\x1f".join(parts))
    try:
        yield
    finally:
        ASKER.reset(token)


class BatchState(StrEnum):
    """How far a batch has come, as far as we know."""

    INTENDED = "intended"
    """About to be submitted; after a kill it may be at the vendor, or not."""
    OPEN = "open"
    """At the vendor."""
    CANCELLING = "cancelling"
    """At the vendor, which was asked to end it."""
    ENDED = "ended"
    """Answered, expired or cancelled; its results are at the vendor."""
    ABANDONED = "abandoned"
    """Never reached the vendor, or was refused as a whole; nothing was paid."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VendorBatch:
    """One batch, as the store keeps it."""

    id: str
    """Ours; the vendor has it in every item's id."""
    run_id: str
    vendor: str
    """``openai`` or ``anthropic``."""
    model: str
    """Name as litellm takes it."""
    base_url: str
    api_base: str | None
    api_key_env: str | None
    state: BatchState
    requests: int
    created_at: datetime
    vendor_id: str | None = None
    done: int = 0
    """Requests the vendor is through with, however they ended."""
    failed: int = 0
    updated_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchItem:
    """One request of a batch."""

    batch_id: str
    custom_id: str
    """The vendor's results come under it."""
    key: str
    """Hash of what is asked and for what."""


class BatchLedger(Protocol):
    """Where batches outlive the process that submitted them; synchronous, one run's."""

    run_id: str

    def intend(self, batch: VendorBatch, items: Sequence[BatchItem]) -> None:
        """Record a batch before it is submitted."""
        ...

    def update(self, batch: VendorBatch) -> None:
        """Record what is new about a batch."""
        ...

    def batches(self) -> Sequence[VendorBatch]:
        """Every batch of the run, oldest first."""
        ...

    def untaken(self) -> Iterable[BatchItem]:
        """Items whose answer may still be wanted, of batches that were not abandoned, oldest first."""
        ...

    def take(self, items: Iterable[BatchItem]) -> None:
        """Have these items answer nobody again: they failed, and the next attempt is a new one."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchProgress:
    """What the vendor has said of all open batches of a stage together."""

    done: int
    total: int
    batches: Mapping[str, str]
    """The vendor's id to the vendor's word for its state."""
