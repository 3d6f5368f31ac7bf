"""Rollouts as the store has them: each is read by the configuration that it was started with."""

from harness.config.rollout import Rollout, parse_rollout
from harness.domain.rollout import RolloutState
from harness.rollout import history
from harness.store import RolloutRecord, Store


def stored_policy(record: RolloutRecord) -> Rollout:
    """The configuration a rollout was started with, whatever has become of its file.

    Raises:
        ConfigurationError: this version does not understand it.
    """
    return parse_rollout(record.configuration, origin=f"the configuration of rollout {record.id}")


def stored_state(store: Store, record: RolloutRecord) -> RolloutState:
    """Where a rollout stands by what the store has of it now.

    Raises:
        ConfigurationError: this version does not understand its configuration.
        InfrastructureError: the store cannot be read, or the history contradicts itself or the configuration.
    """
    return history.state_of(store.rollout_events(record.id), stored_policy(record).steps)
