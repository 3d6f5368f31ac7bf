"""Opens the model client of a stage, after checking that it can work at all."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from harness.domain.model import ModelClient, ModelSpec
from harness.models.budget import Purse
from harness.models.factory import build_client, preflight
from harness.pipeline.session import Session


@asynccontextmanager
async def opened_client(session: Session, purse: Purse, specs: Sequence[ModelSpec]) -> AsyncIterator[ModelClient]:
    """The client stack with its purse, on the session's engine; closed again whatever happens.

    Raises:
        ConfigurationError: a key is missing, a provider unknown, or a budget is set for a model without a price.
    """
    experiment = session.experiment
    preflight(specs, purse=purse, allow_unpriced=experiment.budget.allow_unpriced)
    client = build_client(
        replay=experiment.replay,
        purse=purse,
        seed=experiment.traffic.sample.seed,
        allow_unpriced=experiment.budget.allow_unpriced,
        attempts=session.engine.attempts(session.warn_once),
    )
    try:
        yield client
    finally:
        await client.aclose()
