"""Rollouts as the store has them: each is read by the configuration that it was started with."""

from collections.abc import Sequence

from harness.config.rollout import Rollout, parse_rollout
from harness.domain.rollout import Event, RolloutState
from harness.rollout import history
from harness.store import RolloutRecord, Store


def stored_policy(record: RolloutRecord) -> Rollout:
    """The configuration a rollout was started with, whatever has become of its file.

    Raises:
        ConfigurationError: this version does not understand it.
    """
    return parse_rollout(record.configuration, origin=f"the configuration of rollout {record.id}")


def attempt_policy(record: RolloutRecord, events: Sequence[Event]) -> Rollout:
    """The same, with the alpha that this attempt may spend, which its start has on record.

    Raises:
        ConfigurationError: this version does not understand it.
    """
    policy = stored_policy(record)
    alpha = events[0].evidence.get("attempt_alpha") if events else None
    if not isinstance(alpha, int | float):
        return policy
    return policy.model_copy(update={"rollback": policy.rollback.model_copy(update={"alpha": float(alpha)})})


def stored_state(store: Store, record: RolloutRecord) -> RolloutState:
    """Where a rollout stands by what the store has of it now.

    Raises:
        ConfigurationError: this version does not understand its configuration.
        InfrastructureError: the store cannot be read, or the history contradicts itself or the configuration.
    """
    return history.state_of(store.rollout_events(record.id), stored_policy(record).steps)
