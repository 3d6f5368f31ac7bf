"""Actuators: what carries a share of the conversations out, beside the history that says which it is to be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from harness.config.rollout import ActuatorSection, GatewayActuator, LiteLLMActuator
from harness.controller.litellm_weights import LiteLLMWeights


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """Who serves whom, as actuators are told."""

    rollout_id: str
    number: int
    """Of the event it follows from, or would be recorded as."""
    candidate: str
    share: float
    """Of the conversations, for the candidate; 0 to 1."""
    reason: str


class Actuator(Protocol):
    """Carries a share out."""

    @property
    def name(self) -> str:
        """Unique in the rollout."""
        ...

    def apply(self, route: Route) -> None:
        """Put the route in force, and see that it is; the same one again changes nothing.

        A share of 0 has to be reached with as little as possible: whatever is known to be wrong else is said after it.

        Raises:
            HarnessError: it is not known to be in force.
        """
        ...


@dataclass(frozen=True)
class GatewayRoute:
    """The gateways, which need not be told: each follows the store, and looks twice a second.

    Nothing is written and nothing checked. A gateway that cannot reach the store serves production when its lease has
    passed, and so does one of a rollout that no controller holds; `harness live status` shows what each of them does.
    """

    name: str = "gateway"

    def apply(self, route: Route) -> None:
        """Nothing: what the history says is what they do."""


_KINDS: Mapping[type[Any], Callable[[Any], Actuator]] = {
    GatewayActuator: lambda section: GatewayRoute(section.label),
    LiteLLMActuator: LiteLLMWeights,
}


def actuators_of(sections: Sequence[ActuatorSection]) -> list[Actuator]:
    """The actuators a rollout asks for, in its order."""
    return [_KINDS[type(section)](section) for section in sections]
