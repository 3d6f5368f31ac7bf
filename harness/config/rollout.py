"""The gradual rollout: one YAML file for its phases, and for what ends it."""

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from harness.config.base import NAME, Section
from harness.config.experiment import problems
from harness.config.live import AdminSection
from harness.domain.rollout import EventKind, Gate, Phase, PhaseKind, WhenInconclusive
from harness.errors import ConfigurationError

ROLL_BACK_TESTS = 3
"""Sequential tests that may roll back: errors by count, error difference, P95 ratio. They share alpha."""
_HOUR, _DAY = 3_600.0, 86_400.0
_ORDER = tuple(PhaseKind)
_GATES: Mapping[PhaseKind, frozenset[Gate]] = {
    PhaseKind.CALIBRATION: frozenset({Gate.CALIBRATED}),
    PhaseKind.SHADOW: frozenset({Gate.SAFE, Gate.REACHABLE, Gate.GO}),
    PhaseKind.CANARY: frozenset({Gate.SAFE, Gate.SERVES_AS_WELL}),
    PhaseKind.FULL: frozenset({Gate.SAFE, Gate.SERVES_AS_WELL}),
}


class PhaseSection(Section):
    """One step of the rollout."""

    name: Annotated[str, Field(pattern=NAME)]
    kind: PhaseKind
    share: Annotated[float, Field(gt=0, le=1)]
    """Of the requests that are mirrored, or of the conversations the candidate serves."""
    gate: Gate
    min_pairs: Annotated[int, Field(ge=1)]
    """Evidence before the gate is looked at: pairs, or conversations per arm where users are served."""
    min_bake_s: Annotated[float, Field(ge=0)]
    max_s: Annotated[float, Field(gt=0)]
    """Time after which a phase whose gate is still not passed ends the rollout."""
    when_inconclusive: WhenInconclusive = WhenInconclusive.WAIT
    ask_after_s: Annotated[float, Field(gt=0)] = 72 * _HOUR
    """How long it may stay inconclusive, with `ask`, or on hold for a slice, before people are asked."""
    approval: bool = False

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.gate not in _GATES[self.kind]:
            fitting = ", ".join(sorted(_GATES[self.kind]))
            raise ValueError(f"gate `{self.gate}` says nothing about a {self.kind} phase; one of: {fitting}")
        if self.kind.serves_users and self.share >= 1:
            raise ValueError("a share below 1 is needed: without a holdback nothing can be compared or rolled back on")
        if self.max_s <= self.min_bake_s:
            raise ValueError("`max_s` is not longer than `min_bake_s`, so the phase could only expire")
        return self

    def phase(self) -> Phase:
        """The phase as the domain sees it."""
        return Phase(**self.model_dump())


def _phase(name: str, kind: PhaseKind, share: float, gate: Gate, **more: Any) -> PhaseSection:
    return PhaseSection(name=name, kind=kind, share=share, gate=gate, **more)


DEFAULT_PHASES: tuple[PhaseSection, ...] = (
    _phase("calibration", PhaseKind.CALIBRATION, 0.05, Gate.CALIBRATED,
           min_pairs=500, min_bake_s=_HOUR, max_s=7 * _DAY),
    _phase("shadow_5", PhaseKind.SHADOW, 0.05, Gate.SAFE,
           min_pairs=500, min_bake_s=_HOUR, max_s=7 * _DAY),
    _phase("shadow_25", PhaseKind.SHADOW, 0.25, Gate.REACHABLE,
           min_pairs=2_000, min_bake_s=6 * _HOUR, max_s=7 * _DAY),
    _phase("shadow_100", PhaseKind.SHADOW, 1.0, Gate.GO,
           min_pairs=10_000, min_bake_s=_DAY, max_s=21 * _DAY, approval=True),
    _phase("canary_5", PhaseKind.CANARY, 0.05, Gate.SAFE,
           min_pairs=1_000, min_bake_s=4 * _HOUR, max_s=7 * _DAY, when_inconclusive=WhenInconclusive.HOLD),
    _phase("canary_25", PhaseKind.CANARY, 0.25, Gate.SAFE,
           min_pairs=5_000, min_bake_s=12 * _HOUR, max_s=7 * _DAY, when_inconclusive=WhenInconclusive.HOLD),
    _phase("canary_50", PhaseKind.CANARY, 0.5, Gate.SERVES_AS_WELL,
           min_pairs=10_000, min_bake_s=_DAY, max_s=14 * _DAY, when_inconclusive=WhenInconclusive.ASK, approval=True),
    _phase("full", PhaseKind.FULL, 0.95, Gate.SERVES_AS_WELL,
           min_pairs=1_000, min_bake_s=72 * _HOUR, max_s=30 * _DAY, when_inconclusive=WhenInconclusive.ASK,
           ask_after_s=7 * _DAY),
)  # fmt: skip


class WindowBreaker(Section):
    """When the last minutes alone are bad enough, without waiting for a sequential test."""

    window_s: Annotated[float, Field(gt=0)] = 300.0
    min_requests: Annotated[int, Field(ge=1)] = 20
    """Requests of the candidate below which errors do not trigger."""
    error_ratio: Annotated[float, Field(gt=1)] = 5.0
    """The candidate's error rate over production's usual one, or over the control's now where that is higher."""
    least_baseline: Annotated[float, Field(gt=0, lt=1)] = 0.001
    """Error rate taken for production's where it is lower: 5 times nothing is nothing."""
    latency_ratio: Annotated[float, Field(gt=1)] = 2.0
    """The candidate's P95 over the control's."""
    latency_min_requests: Annotated[int, Field(ge=20)] = 100
    """Requests of either arm below which latency does not trigger: P95 of 20 is the slowest of them."""
    p_below: Annotated[float, Field(gt=0, lt=0.05)] = 1e-6
    """Chance of so many failed or slow requests in a candidate like production, below which it triggers.

    A canary of days is a thousand windows: at 1e-4 the breaker alone would roll back about one good candidate in 100.
    """


class RollbackSection(Section):
    """What takes the candidate away from users, and when it may come back."""

    automatic: bool = True
    """Whether the controller may roll back by itself; otherwise it pauses and says so, and users see what they saw."""
    breaker: WindowBreaker = WindowBreaker()
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    """Chance that a candidate like production is ever rolled back by the sequential tests, which share it."""
    error_concentration: Annotated[float, Field(gt=0)] = 10.0
    """Prior conversations of the error test: small finds gross differences sooner, large finds small ones."""
    error_margin: Annotated[float, Field(ge=0, lt=1)] = 0.005
    """Candidate's less control's share of failed conversations that is still as good."""
    latency_margin: Annotated[float, Field(gt=1)] = 1.2
    """Candidate's P95 over control's that is still as good."""
    gate_alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Chance that `serves_as_well` is said of a candidate at a margin."""
    cool_down_s: Annotated[float, Field(ge=0)] = _DAY
    """After a roll back, before another rollout of the candidate may begin."""

    @property
    def test_alpha(self) -> float:
        """What one of the sequential tests may spend."""
        return self.alpha / ROLL_BACK_TESTS

    @property
    def strict_level(self) -> float:
        """Two-sided level of the bounds that condemn."""
        return 1 - 2 * self.test_alpha

    @property
    def gate_level(self) -> float:
        """Two-sided level of the bounds that promise."""
        return 1 - 2 * self.gate_alpha


class ValiditySection(Section):
    """When the evidence is not believed, whatever it says."""

    completeness: Annotated[float, Field(gt=0, le=1)] = 0.99
    """Least share of the sampled requests that became pairs: the missing ones are seldom the easy ones."""
    sample_ratio_alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.001
    """Chance of ever doubting an assignment that works."""
    no_traffic_s: Annotated[float, Field(gt=0)] = _DAY
    stale_s: Annotated[float, Field(gt=0)] = 900.0
    """Age at which evidence no longer says how things stand."""


class ApprovalsSection(Section):
    """Who may agree to the next phase, and for how long that holds."""

    people: list[Annotated[str, Field(min_length=1)]] = []
    """Names that may; anybody who gives a name when empty."""
    valid_s: Annotated[float, Field(gt=0)] = 72 * _HOUR
    """An approval that was not used by then is asked for again."""


ASKED_BEFORE = frozenset({EventKind.ADVANCED, EventKind.COMPLETED})
"""What gives the candidate more; nothing is asked before anything else happens."""
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""Name of an environment variable."""


class HookSection(Section):
    """A command or a webhook that is told of a step of the rollout."""

    name: Annotated[str, Field(pattern=NAME)]
    """With the rollout and the number of the event it is the key by which a repetition is known."""
    command: Annotated[list[str], Field(min_length=1)] | None = None
    """A program and its arguments; no shell reads them."""
    webhook_env: Variable | None = None
    """Environment variable with the address, which may hold a secret and so is not put here."""
    events: list[EventKind] = []
    """What it is told of; everything when empty."""
    timeout_s: Annotated[float, Field(gt=0)] = 30.0

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if (self.command is None) is (self.webhook_env is None):
            raise ValueError("either `command` or `webhook_env` is wanted")
        if self.command is not None and (not self.command[0] or any("\0" in word for word in self.command)):
            raise ValueError("`command` begins with a program, and no word of it holds a zero byte")
        return self


class HooksSection(Section):
    """Who is asked before the candidate gets more, and who is told after anything happened."""

    before: list[HookSection] = []
    after: list[HookSection] = []

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        names = [hook.name for hook in (*self.before, *self.after)]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"more than one hook is named {', '.join(repeated)}")
        for hook in self.before:
            if never := sorted(set(hook.events) - ASKED_BEFORE):
                raise ValueError(
                    f"before: {hook.name} would never be asked before {', '.join(never)}: "
                    f"only {', '.join(sorted(ASKED_BEFORE))} give the candidate more; tell it `after`"
                )
        return self


class GatewayActuator(Section):
    """The gateways themselves, which follow the store."""

    kind: Literal["gateway"] = "gateway"

    @property
    def label(self) -> str:
        """Name within the rollout."""
        return self.kind

    @property
    def longest_s(self) -> float:
        """What it may take."""
        return 0.0


class LiteLLMActuator(Section):
    """The weights of two deployments of one model group of a LiteLLM proxy."""

    kind: Literal["litellm"]
    url: str
    """Of the proxy, such as http://litellm:4000."""
    key_env: Variable
    """Environment variable with a key of the proxy that may change models."""
    production_id: Annotated[str, Field(min_length=1)]
    """`model_info.id` of production's deployment."""
    candidate_id: Annotated[str, Field(min_length=1)]
    block: bool = True
    """Whether a share of 0 also blocks the candidate's deployment, which needs an administrator's key.

    A weight of 0 alone still gets requests while production's deployment rests after failures.
    """
    timeout_s: Annotated[float, Field(gt=0)] = 10.0
    """For one call of the proxy's API."""
    settle_s: Annotated[float, Field(ge=0)] = 60.0
    """How long the proxy may show old weights after new ones were written, before they are written again."""

    @property
    def label(self) -> str:
        """Name within the rollout."""
        return f"{self.kind}.{self.candidate_id}"

    @property
    def longest_s(self) -> float:
        """What it may take: weights are read, both written, and read again."""
        return 4 * self.timeout_s

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{value!r} is not an http or https address")
        _ = parts.port  # raises when it is none
        if parts.query or parts.fragment or parts.username:
            raise ValueError("an address without query, fragment and credentials is wanted")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _are_two(self) -> Self:
        if self.production_id == self.candidate_id:
            raise ValueError("`production_id` and `candidate_id` name the same deployment")
        return self


ActuatorSection = Annotated[GatewayActuator | LiteLLMActuator, Field(discriminator="kind")]


class Rollout(Section):
    """One candidate's way to all users, step by step."""

    name: Annotated[str, Field(pattern=NAME)]
    live: Annotated[str, Field(min_length=1)]
    """The live experiment that mirrors and serves; relative to this file."""
    candidate: Annotated[str, Field(pattern=NAME)]
    """The name of one of its candidates."""
    budget_usd: Annotated[float, Field(gt=0)] | None = None
    """What candidate and judges may cost over the whole rollout; more ends it."""
    horizon: Annotated[int, Field(ge=1)] | None = None
    """Pairs within which every criterion has to be within reach; those of the largest shadow phase when not given."""
    phases: Annotated[list[PhaseSection], Field(min_length=1)] = list(DEFAULT_PHASES)
    rollback: RollbackSection = RollbackSection()
    validity: ValiditySection = ValiditySection()
    approvals: ApprovalsSection = ApprovalsSection()
    hooks: HooksSection = HooksSection()
    actuators: list[ActuatorSection] = [GatewayActuator()]
    """What carries a share out; a LiteLLM proxy beside or instead of the gateways."""
    lease_s: Annotated[float, Field(gt=0)] = 60.0
    """How long a controller may act without renewing its claim; another takes over after that."""
    admin: AdminSection = AdminSection(port=9092)
    """The controller's port."""

    @model_validator(mode="after")
    def _goes_forward(self) -> Self:
        names = [phase.name for phase in self.phases]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"phases: more than one is named {', '.join(repeated)}")
        for before, after in pairwise(self.phases):
            if _ORDER.index(after.kind) < _ORDER.index(before.kind):
                raise ValueError(f"phases: {after.name} ({after.kind}) cannot follow {before.name} ({before.kind})")
            if after.kind is before.kind and after.share < before.share:
                raise ValueError(f"phases: {after.name} has a smaller share than {before.name} before it")
        shadows = [phase for phase in self.phases if phase.kind is PhaseKind.SHADOW]
        served = any(phase.kind.serves_users for phase in self.phases)
        if served and not (shadows and shadows[-1].gate is Gate.GO):
            raise ValueError("phases: the last shadow phase before users are served needs the gate `go`")
        return self

    @model_validator(mode="after")
    def _acts_within_its_lease(self) -> Self:
        waits = [(f"hooks: {hook.name}", hook.timeout_s) for hook in (*self.hooks.before, *self.hooks.after)]
        waits += [(f"actuators: {one.label}", one.longest_s) for one in self.actuators]
        for what, longest_s in waits:
            if longest_s >= self.lease_s:
                raise ValueError(
                    f"{what}: by its `timeout_s` it may take {longest_s:g} s, which is not below `lease_s` "
                    f"{self.lease_s:g}: another controller would take over meanwhile"
                )
        labels = [actuator.label for actuator in self.actuators]
        if repeated := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"actuators: more than one is {', '.join(repeated)}")
        return self

    @property
    def steps(self) -> tuple[Phase, ...]:
        """The phases as the domain sees them."""
        return tuple(section.phase() for section in self.phases)

    @property
    def reach(self) -> int:
        """Pairs within which every criterion has to be within reach."""
        pairs = [phase.min_pairs for phase in self.phases if phase.kind is PhaseKind.SHADOW]
        return self.horizon or max(pairs, default=0)

    @property
    def error_threshold(self) -> float:
        """Natural logarithm of the e-value at which the error test rolls back."""
        return -math.log(self.rollback.test_alpha)


def load_rollout(path: Path) -> Rollout:
    """Read a rollout; the path in it is relative to the file.

    Raises:
        ConfigurationError: the file is missing, not YAML, or says something the product does not know.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path}: no such file; it needs `name`, `live` and `candidate`, and may say more"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{path}: expected a mapping with `name`, `live` and `candidate`")
    return parse_rollout(raw, base=path.parent, origin=str(path))


def parse_rollout(raw: Mapping[str, Any], *, base: Path = Path(), origin: str = "rollout") -> Rollout:
    """Validate a rollout and resolve its path against ``base``.

    Raises:
        ConfigurationError: with every problem on its own line, named by its place in the file.
    """
    resolved = dict(raw)
    if isinstance(raw.get("live"), str) and raw["live"]:
        resolved["live"] = str((base / raw["live"]).absolute())
    try:
        return Rollout.model_validate(resolved)
    except ValidationError as error:
        raise ConfigurationError(f"{origin} is not a valid rollout:\n{problems(error)}") from None
