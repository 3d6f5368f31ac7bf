"""Production's and one candidate's Observation of the same Exchange."""

from dataclasses import dataclass

from harness.domain.exchange import ChatRequest, Exchange
from harness.domain.observation import Observation, Status


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Production's and one candidate's (or the replica's) Observation of the same Exchange; what judges score."""

    exchange: Exchange
    candidate: Observation

    @property
    def exchange_id(self) -> str:
        """The id of the Exchange both sides answered."""
        return self.exchange.id

    @property
    def arm(self) -> str:
        """Name of the candidate's arm."""
        return self.candidate.arm

    @property
    def request(self) -> ChatRequest:
        """What production was asked."""
        return self.exchange.request

    @property
    def production(self) -> Observation:
        """Production's side."""
        return self.exchange.production

    @property
    def is_comparable(self) -> bool:
        """Whether both sides completed, so that a judge has two answers to read."""
        return self.production.status is Status.COMPLETED and self.candidate.status is Status.COMPLETED
