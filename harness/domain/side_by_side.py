"""Several candidates held against each other: what can be told apart, and on which of their answers one can see it.

A decision holds one candidate against production. This compares candidates among themselves, on the requests that two
of them share; it decides nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.domain.estimate import Estimate
from harness.domain.json import Message
from harness.domain.judgment import Judgment
from harness.domain.metrics import COST_PER_1K, ERROR_RATE, latency
from harness.domain.observation import Observation


@dataclass(frozen=True, kw_only=True, slots=True)
class BestSet:
    """The candidates that cannot be told from the best one on one metric."""

    metric: str
    arms: tuple[str, ...]
    """Candidates with a value, in the order of the experiment; the others are not compared."""
    best: tuple[str, ...]
    """Those no other candidate is shown to beat: with ``confidence`` the truly best one is among them."""
    beaten_by: Mapping[str, str] = field(default_factory=dict)
    """Each of the others, and a candidate that is shown to beat it."""
    confidence: float = 0.95
    """For the set as a whole, whatever the number of candidates."""
    looks: str = "one"
    """At how many looks at growing data it holds: ``one`` or ``any``."""
    n: int = 0
    """Fewest requests on which two candidates were compared; 0 when no two share one."""

    @property
    def told(self) -> bool:
        """Whether any candidate is shown not to be the best."""
        return len(self.best) < len(self.arms)


@dataclass(frozen=True, kw_only=True, slots=True)
class Frontier:
    """Who is not outdone in quality and in one other metric at once, by the measured values alone."""

    quality: str
    """Metric that is better when it is higher."""
    against: str
    """Metric that is better when it is lower."""
    arms: tuple[str, ...]
    """From the lowest of ``against`` to the highest quality; ``production`` may be among them."""
    production_quality: float | None = None
    """Production's place: one half of a win rate, since neither side is preferred to itself."""
    production_against: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Duel:
    """Two candidates on the requests both answered, by one judge's scores of each against production."""

    first: str
    second: str
    judge: str
    n: int
    """Requests that both answered and on which the judge scored both."""
    first_better: int
    same: int
    second_better: int
    share: Estimate | None
    """How often the first one scored better, a tie counting half; ``None`` without a common score."""
    told: bool = False
    """Whether the share lies on one side of one half, with the number of duels taken into account."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceBest:
    """The best candidates on the requests that share one value of one attribute."""

    attribute: str
    value: str
    n: int
    estimates: Mapping[str, Estimate]
    """The metric of quality by candidate, each interval for one look at one slice."""
    best: BestSet | None = None
    """``None`` where the slice is too small to say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmAnswer:
    """What one candidate made of a request."""

    arm: str
    observation: Observation | None
    """``None`` when it was not asked."""
    score: float | None = None
    judgments: tuple[Judgment, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedRequest:
    """One request with everybody's answer."""

    exchange_id: str
    why: str
    """``disagree``, ``worst``, ``best`` or ``all_failed``."""
    about: str
    """The candidate that did worst or best on it compared with the others; empty when it is about all."""
    messages: tuple[Message, ...]
    production: Observation
    answers: tuple[ArmAnswer, ...]
    """In the order of the experiment."""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SideBySide:
    """All candidates of a run beside each other."""

    arms: tuple[str, ...]
    quality: str
    """Metric that stands for quality in the picture, the slices and the pick; empty without any."""
    judge: str
    """Whose scores it comes from; empty without any."""
    best_sets: tuple[BestSet, ...]
    """One per metric that has a better side and two candidates with a value."""
    frontiers: tuple[Frontier, ...] = ()
    duels: tuple[Duel, ...] = ()
    """By judge; each pair of candidates in both directions, in the order of the experiment."""
    slices: tuple[SliceBest, ...] = ()
    slices_tested: int = 0
    """Slices whose best sets hold together with ``confidence``."""
    min_slice: int = 0
    """Fewest requests of a slice for a best set."""
    confidence: float = 0.95
    looks: str = "one"
    requests: tuple[SharedRequest, ...] = ()

    @property
    def headline(self) -> tuple[str, ...]:
        """Metrics that are told first, as far as candidates were compared on them: quality, errors, latency, cost."""
        wanted = (self.quality, ERROR_RATE.name, latency("p95").name, COST_PER_1K.name)
        return tuple(name for name in wanted if self.best_set(name) is not None)

    def best_set(self, metric: str) -> BestSet | None:
        """The best set of one metric; ``None`` when candidates were not compared on it."""
        return next((item for item in self.best_sets if item.metric == metric), None)
