"""Money: reserved before a call, reconciled after it, never spent past the limit knowingly."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from harness.domain.exchange import ChatRequest
from harness.domain.json import Json
from harness.domain.model import BudgetExhausted, ModelClient, ModelError, ModelReply, ModelSpec
from harness.domain.observation import ErrorKind
from harness.errors import ConfigurationError
from harness.models.limiter import QueueTimeout
from harness.models.litellm_client import list_price

TokenPrice = tuple[float, float]
"""US dollars per input and per output token."""

DEFAULT_OUTPUT_TOKENS = 4_096
"""Worst case assumed for a request that sets no limit."""
EXPECTED_OUTPUT_TOKENS = 400
"""Expected answer when neither the request nor a recording says more."""
TYPICAL_CHARS_PER_TOKEN = 4.0
_WORST_CHARS_PER_TOKEN = 2.5
_TOKENS_PER_MESSAGE = 8
_TOKENS_PER_IMAGE = 1_600

# The provider answered with an error instead of an answer, which nobody bills.
_NOT_BILLED = frozenset({
    ErrorKind.BAD_REQUEST, ErrorKind.CONTEXT_WINDOW, ErrorKind.AUTHENTICATION, ErrorKind.PERMISSION,
    ErrorKind.NOT_FOUND, ErrorKind.RATE_LIMIT, ErrorKind.QUOTA_EXHAUSTED, ErrorKind.OVERLOADED, ErrorKind.SERVER_ERROR,
})  # fmt: skip


class Purse:
    """A limit in US dollars shared by many calls at once.

    A reservation never takes ``spent_usd + reserved_usd`` above ``limit_usd``. Spending may pass the limit only by what
    calls cost above their own reservation (a provider that ignores ``max_tokens``, or an answer longer than the assumed
    4,096 tokens where the request sets no limit), summed over the calls in flight at that moment. Without a limit
    nothing is reserved, and everything still counted.
    """

    def __init__(self, name: str, limit_usd: float | None, spent_usd: float = 0.0) -> None:
        self.name = name
        self.limit_usd = limit_usd
        self.spent_usd = spent_usd
        self.reserved_usd = 0.0
        self.unpriced_calls = 0
        """Calls whose cost is unknown and is therefore in no total."""
        self._waiters: dict[asyncio.Future[None], None] = {}
        """In the order in which they came, and are served."""

    @property
    def left_usd(self) -> float | None:
        """What is neither spent nor reserved; ``None`` without a limit."""
        return None if self.limit_usd is None else self.limit_usd - self.spent_usd - self.reserved_usd

    async def reserve(self, amount_usd: float) -> None:
        """Set an amount aside, waiting for calls in flight when only their reservations stand in the way.

        Raises:
            BudgetExhausted: what is already spent leaves too little, whatever the calls in flight turn out to cost.
        """
        while not self.try_reserve(amount_usd):
            if self.limit_usd is not None and (self.reserved_usd <= 0 or self.spent_usd + amount_usd > self.limit_usd):
                raise BudgetExhausted(self.name, self.limit_usd, self.spent_usd)
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters[waiter] = None
            try:
                await waiter
            finally:
                del self._waiters[waiter]

    def try_reserve(self, amount_usd: float) -> bool:
        """Set an amount aside if it fits now."""
        if self.limit_usd is not None and self.spent_usd + self.reserved_usd + amount_usd > self.limit_usd:
            return False
        self.reserved_usd += amount_usd
        return True

    def settle(self, reserved_usd: float, cost_usd: float) -> None:
        """Swap a reservation for what the call cost; 0 gives it back whole."""
        # Sums of floats drift; a purse with nothing in flight must read exactly zero.
        self.reserved_usd = max(0.0, self.reserved_usd - reserved_usd)
        if self.reserved_usd < 1e-12:
            self.reserved_usd = 0.0
        self.spent_usd += cost_usd
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


@dataclass(frozen=True, kw_only=True, slots=True)
class CostEstimate:
    """What a set of requests will probably cost one model, in US dollars; no number for a model without a price."""

    requests: int
    low_usd: float | None
    expected_usd: float | None
    high_usd: float | None
    """Every answer as long as its request allows."""
    unpriced: bool = False


class BudgetedClient:
    """Reserves each attempt's worst case from the purse and reconciles with what it cost.

    A failed attempt that the provider may have worked on (timeout, cut stream, unreadable answer) keeps its whole
    reservation when its cost is unknown, and the error says so, or whoever reads the store would take it for free; an
    error answer or a refused connection gives it back. With ``queue_within_deadline`` the deadline begins with the wait
    for money that other calls may give back.
    """

    def __init__(
        self,
        inner: ModelClient,
        purse: Purse,
        price_of: Callable[[ModelSpec], TokenPrice | None],
        *,
        allow_unpriced: bool = False,
        queue_within_deadline: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner = inner
        self._purse = purse
        self._price_of = price_of
        self._allow_unpriced = allow_unpriced
        self._queue_within_deadline = queue_within_deadline
        self._clock = clock

    async def complete(self, request: ChatRequest, model: ModelSpec, *, deadline_s: float) -> ModelReply:
        """Ask when the purse covers the worst case.

        Raises:
            BudgetExhausted: it does not; nothing was sent.
            QueueTimeout: the deadline includes the wait for money, and there was none within it.
            ConfigurationError: the purse has a limit, the model has no price, and that was not allowed.
        """
        price = self._price_of(model)
        if price is None:
            return await self._unpriced(request, model, deadline_s)
        reserved = worst_case_usd(request, model, price) if self._purse.limit_usd is not None else 0.0
        deadline_s = await self._reserved(reserved, deadline_s)
        # Cancelled or crashed in flight: the provider may have done the work, so the reservation counts as spent.
        cost = reserved
        try:
            reply = await self._inner.complete(request, model, deadline_s=deadline_s)
            if reply.cost_usd is None:
                self._purse.unpriced_calls += 1
            else:
                cost = reply.cost_usd
        except ModelError as error:
            if error.cost_usd is not None:
                cost = error.cost_usd
            elif error.error.kind in _NOT_BILLED:
                cost = 0.0
            elif reserved > 0:
                error.cost_usd = reserved
            raise
        finally:
            self._purse.settle(reserved, cost)
        return reply

    async def _reserved(self, amount_usd: float, deadline_s: float) -> float:
        """Reserve; returns what is left of the deadline."""
        if not self._queue_within_deadline:
            await self._purse.reserve(amount_usd)
            return deadline_s
        begin = self._clock()
        try:
            async with asyncio.timeout(deadline_s):
                await self._purse.reserve(amount_usd)
        except TimeoutError:
            raise QueueTimeout(f"no money within {deadline_s:g} s: calls in flight hold it") from None
        return max(deadline_s - (self._clock() - begin), 0.001)

    async def _unpriced(self, request: ChatRequest, model: ModelSpec, deadline_s: float) -> ModelReply:
        if self._purse.limit_usd is not None and not self._allow_unpriced:
            raise unpriced_error(model, self._purse)
        self._purse.unpriced_calls += 1
        return await self._inner.complete(request, model, deadline_s=deadline_s)


def unpriced_error(model: ModelSpec, purse: Purse) -> ConfigurationError:
    """The refusal of a model without a price under a limit, with the ways out."""
    return ConfigurationError(
        f"the price of {model.model!r} is unknown, so the {purse.name} budget of ${purse.limit_usd:.2f} "
        "cannot be kept: set `price: {input_per_mtok: ..., output_per_mtok: ...}` on the model, "
        "or `budget.allow_unpriced: true`"
    )


def estimate_cost(
    requests: Iterable[ChatRequest],
    spec: ModelSpec,
    *,
    expected_output: Mapping[int, int] | int | None = None,
) -> CostEstimate:
    """What asking ``spec`` all ``requests`` once will cost, before anything is sent.

    The price is the configured one, else litellm's. Prompt tokens are taken from characters, 4 to a token in
    ``expected_usd`` (3 to 5 at the ends). Answers are taken to be ``expected_output`` tokens long (by position, or one
    number for all) where that is given, else 400; half of it in ``low_usd`` and the most allowed in ``high_usd``.
    """
    price = list_price(spec)
    low = expected = high = 0.0
    count = 0
    for position, request in enumerate(requests):
        count += 1
        if price is None:
            continue
        chars, fixed = _prompt_size(request, spec)
        allowed = output_limit(request, spec)
        known = expected_output if isinstance(expected_output, int) else (expected_output or {}).get(position)
        recorded = EXPECTED_OUTPUT_TOKENS if known is None else known
        usual = min(recorded, allowed)
        low += (chars / 5 + fixed) * price[0] + usual / 2 * price[1]
        expected += (chars / TYPICAL_CHARS_PER_TOKEN + fixed) * price[0] + usual * price[1]
        high += (chars / 3 + fixed) * price[0] + allowed * price[1]
    if price is None:
        return CostEstimate(requests=count, low_usd=None, expected_usd=None, high_usd=None, unpriced=True)
    return CostEstimate(requests=count, low_usd=low, expected_usd=expected, high_usd=high)


def worst_case_usd(request: ChatRequest, model: ModelSpec, price: TokenPrice) -> float:
    """An upper estimate of one call: 2.5 characters to a token, and the longest answer allowed.

    Counting real tokens would cost more CPU than the call itself. Text is measured in UTF-8 bytes, since scripts
    outside Latin take about a token per character.
    """
    chars, fixed = _prompt_size(request, model)
    return (chars / _WORST_CHARS_PER_TOKEN + fixed) * price[0] + output_limit(request, model) * price[1]


def output_limit(request: ChatRequest, model: ModelSpec) -> int:
    """The most tokens the answer may have by the settings in force; 4,096 when they set no limit."""
    settings = {**request.params, **model.params}
    for name in ("max_completion_tokens", "max_tokens"):
        value = settings.get(name)
        if isinstance(value, int | float) and value > 0:
            return int(value)
    return DEFAULT_OUTPUT_TOKENS


def _prompt_size(request: ChatRequest, model: ModelSpec) -> tuple[int, int]:
    """Length of everything that will be read, and the tokens that do not come from text."""
    chars, images = _measure(request.tools)
    if model.system_prompt is not None:
        chars += len(model.system_prompt.encode())
    for message in request.messages:
        if model.system_prompt is not None and message.get("role") in {"system", "developer"}:
            continue
        more, pictures = _measure(message)
        chars, images = chars + more, images + pictures
    return chars, _TOKENS_PER_MESSAGE * (len(request.messages) + 1) + _TOKENS_PER_IMAGE * images


def _measure(value: Json) -> tuple[int, int]:
    """Text in UTF-8 bytes and number of images; the data of an image is not text."""
    if isinstance(value, str):
        return (0, 1) if value.startswith("data:image/") else (len(value.encode()), 0)
    if isinstance(value, Mapping):
        if "image_url" in value or value.get("type") == "image":
            return 0, 1
        parts = [_measure(item) for item in value.values()]
        return sum(len(str(key)) for key in value) + sum(part[0] for part in parts), sum(part[1] for part in parts)
    if isinstance(value, list | tuple):
        parts = [_measure(item) for item in value]
        return sum(part[0] for part in parts), sum(part[1] for part in parts)
    return (0 if value is None else len(str(value))), 0
