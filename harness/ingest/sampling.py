"""Which exchanges are used: one pass, deterministic in the seed and the exchange ids, independent of their order.

Every exchange has a priority in [0, 1), a hash of the seed and its id. A rate keeps priorities below it; a size keeps
the smallest ones (bottom-k), so any prefix of the sample in ascending priority is a random sample too, and a larger
size with the same seed contains the smaller. Order matters in one place: of several exchanges with the same id or the
same request, the first one read stands for all.

Stratified, every stratum gets the same number of places. What a small stratum cannot fill is shared equally among the
others; places left over by the division go one each to the strata whose next exchange has the smallest priority. With
more strata than places, the strata whose best exchange has the smallest priority get one place each. The inverse of a
stratum's sampling fraction, population over sample count, is the weight that makes a stratified estimate speak for
the traffic.
"""

import hashlib
import heapq
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import orjson

from harness.config import Sampling
from harness.domain.exchange import ChatRequest, Exchange
from harness.errors import ConfigurationError
from harness.ingest.hashes import HashSet
from harness.ingest.summary import as_utc, user_turns

_FIELDS = ("model", "user", "session", "has_tools", "turns", "error", "tag")
_TURNS = ((1, "1"), (3, "2-3"), (7, "4-7"))
_SLACK = 100


class Admission(StrEnum):
    """What sampling says to one exchange when it is read."""

    DUPLICATE = "duplicate"
    OUT_OF_WINDOW = "out_of_window"
    SAMPLED_OUT = "sampled_out"
    ADMITTED = "admitted"
    """In the sample as of now; a size limit may evict it later."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One exchange's admission, with what had to leave for it."""

    admission: Admission
    priority: float = 0.0
    evicted: tuple[str, ...] = ()


@dataclass
class _Stratum:
    seen: int = 0
    heap: list[tuple[float, str]] = field(default_factory=list)
    """Negated priority and id, so that the worst member is on top."""


class Sampler:
    """Decides on exchanges one by one; holds ids and priorities of the sample and 64-bit hashes of what it has seen.

    Attributes:
        undated: exchanges without a timestamp that a time window left out.

    Raises:
        ConfigurationError: a field to stratify by is not known.
    """

    def __init__(self, config: Sampling) -> None:
        self.config = config
        self.undated = 0
        self._since = as_utc(config.since)
        self._until = as_utc(config.until)
        for name in config.stratify_by:
            _check_field(name)
        self._ids = HashSet()
        self._requests = HashSet()
        self._strata: dict[str, _Stratum] = {}
        self._level = config.size or 0
        self._held = 0

    def offer(self, exchange: Exchange) -> Offer:
        """Admit, refuse or evict; duplicates go first, so a popular request is not likelier to be drawn."""
        identity = _hash64(exchange.id.encode("utf-8", "surrogatepass"))
        if not self._ids.add(identity):
            return Offer(Admission.DUPLICATE)
        if not self._in_window(exchange.timestamp):
            return Offer(Admission.OUT_OF_WINDOW)
        if self.config.deduplicate:
            content = int(request_digest(exchange.request), 16)
            if not self._requests.add(content):
                return Offer(Admission.DUPLICATE)
        priority = priority_of(self.config.seed, exchange.id)
        if self.config.size is not None:
            return self._offer_sized(stratum_of(exchange, self.config.stratify_by), exchange.id, priority)
        if self.config.rate is not None and priority >= self.config.rate:
            return Offer(Admission.SAMPLED_OUT, priority)
        return Offer(Admission.ADMITTED, priority)

    def finish(self) -> tuple[str, ...]:
        """Evict down to the exact allocation; the ids that have to leave."""
        return tuple(self._prune(final=True)) if self.config.size is not None else ()

    def _in_window(self, moment: datetime | None) -> bool:
        if self._since is None and self._until is None:
            return True
        moment = as_utc(moment)
        if moment is None:
            self.undated += 1
            return False
        return (self._since is None or moment >= self._since) and (self._until is None or moment < self._until)

    def _offer_sized(self, name: str, identity: str, priority: float) -> Offer:
        stratum = self._strata.setdefault(name, _Stratum())
        stratum.seen += 1
        member = (-priority, identity)
        capacity = self._level + bool(self.config.stratify_by)
        if len(stratum.heap) >= capacity and member < stratum.heap[0]:
            return Offer(Admission.SAMPLED_OUT, priority)
        if len(stratum.heap) >= capacity:
            return Offer(Admission.ADMITTED, priority, (heapq.heapreplace(stratum.heap, member)[1],))
        heapq.heappush(stratum.heap, member)
        self._held += 1
        evicted: list[str] = []
        # The equal share only shrinks as more is read, so members beyond it never come back: prune now and then.
        if self._held > 3 * (self.config.size or 0) + _SLACK:
            evicted = self._prune(final=False)
        if identity in evicted:
            return Offer(Admission.SAMPLED_OUT, priority, tuple(other for other in evicted if other != identity))
        return Offer(Admission.ADMITTED, priority, tuple(evicted))

    def _prune(self, *, final: bool) -> list[str]:
        """Cut every stratum to the equal share; the places left over are given out for good only when all is read."""
        size = self.config.size or 0
        self._level = equal_share([stratum.seen for stratum in self._strata.values()], size)
        evicted: list[str] = []
        spare: list[tuple[float, str, str]] = []
        for name, stratum in self._strata.items():
            while len(stratum.heap) > self._level + 1:
                evicted.append(heapq.heappop(stratum.heap)[1])
            if len(stratum.heap) > self._level:
                spare.append((-stratum.heap[0][0], stratum.heap[0][1], name))
        if final or self._level == 0:
            left = size - sum(min(len(stratum.heap), self._level) for stratum in self._strata.values())
            for _, identity, name in sorted(spare)[left:]:
                heapq.heappop(self._strata[name].heap)
                evicted.append(identity)
        self._held = sum(len(stratum.heap) for stratum in self._strata.values())
        return evicted


def priority_of(seed: int, exchange_id: str) -> float:
    """Uniform on [0, 1), the same for the same seed and id wherever and whenever it is read."""
    return (_hash64(f"{seed}\0{exchange_id}".encode("utf-8", "surrogatepass")) >> 11) / float(1 << 53)


def equal_share(counts: list[int], size: int) -> int:
    """Largest whole number of places per stratum such that all strata together take at most ``size``."""
    left = size
    ordered = sorted(counts)
    for index, count in enumerate(ordered):
        share = left // (len(ordered) - index)
        if count > share:
            return share
        left -= count
    return size


def stratum_of(exchange: Exchange, fields: list[str]) -> str:
    """The stratum's name, ``model=gpt-4o, error=no``; empty without fields. Turns are grouped as 1, 2-3, 4-7 and 8+."""
    return ", ".join(f"{name}={_value(exchange, name)}" for name in fields)


def request_digest(request: ChatRequest) -> str:
    """16 hex digits of what was asked: messages, tools, parameters and model."""
    content = {"messages": request.messages, "tools": request.tools, "params": request.params, "model": request.model}
    return digest_of(content)


def digest_of(value: object) -> str:
    """16 hex digits of a JSON value, the same whatever the order of its keys."""
    try:
        data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=_plain)
    except (TypeError, ValueError, RecursionError):
        # Integers beyond 64 bits and lone surrogates: no JSON for orjson, still a value to tell apart.
        data = repr(value).encode("utf-8", "surrogatepass")
    return f"{_hash64(data):016x}"


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _hash64(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def _value(exchange: Exchange, name: str) -> str:
    match name:
        case "model":
            return exchange.request.model
        case "user":
            return exchange.user or "(none)"
        case "session":
            return exchange.session or "(none)"
        case "has_tools":
            return "yes" if exchange.request.tools else "no"
        case "turns":
            turns = user_turns(exchange)
            return next((label for most, label in _TURNS if turns <= most), "8+")
        case "error":
            return exchange.production.error.kind.value if exchange.production.error is not None else "no"
        case "tag":
            return "+".join(sorted(exchange.tags)) or "(none)"
        case _:
            return exchange.metadata.get(name.removeprefix("metadata."), "(none)")


def _check_field(name: str) -> None:
    if name not in _FIELDS and not re.fullmatch(r"metadata\..+", name):
        raise ConfigurationError(
            f"traffic.sample.stratify_by: {name!r} is not known; available: {', '.join(_FIELDS)}, metadata.<key>"
        )
