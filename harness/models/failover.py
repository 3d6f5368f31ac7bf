"""Asks elsewhere when the process that made an attempt is lost."""

from dataclasses import replace

from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelClient, ModelError, ModelReply, ModelSpec
from harness.domain.observation import CallError, ErrorKind

_MOST_LOSSES = 3


class AttemptLost(ModelError):  # noqa: N818  reads as the state it reports
    """The process that made an attempt ended before it answered; the provider may have done the work."""

    def __init__(self, where: str) -> None:
        super().__init__(CallError(kind=ErrorKind.CUT_STREAM, message=f"{where} ended during the call"))


class FailoverClient:
    """Repeats a lost attempt at once, up to three in all: our machine failed, and not the provider.

    Belongs outside the budget, which keeps a lost attempt's reservation and makes another for the next, and inside the
    retries, so that the losses of a request use up none of its attempts. A request that three processes did not
    survive is the likely cause of that and fails.
    """

    def __init__(self, inner: ModelClient) -> None:
        self._inner = inner

    async def complete(self, request: ChatRequest, model: ModelSpec, *, deadline_s: float) -> ModelReply:
        """Ask; what the lost attempts may have cost is added to the cost.

        Raises:
            ModelError: as the inner client's; of kind ``other`` when three processes were lost.
        """
        losses, spent = 0, 0.0
        while True:
            try:
                reply = await self._inner.complete(request, model, deadline_s=deadline_s)
            except AttemptLost as lost:
                losses, spent = losses + 1, spent + (lost.cost_usd or 0.0)
                if losses == _MOST_LOSSES:
                    raise self._given_up(lost, spent) from None
            except ModelError as error:
                if spent:
                    error.cost_usd = (error.cost_usd or 0.0) + spent
                raise
            else:
                if not losses:
                    return reply
                cost = None if reply.cost_usd is None else reply.cost_usd + spent
                return replace(reply, attempts=reply.attempts + losses, cost_usd=cost)

    @staticmethod
    def _given_up(lost: AttemptLost, spent: float) -> ModelError:
        message = f"{_MOST_LOSSES} processes ended while they made this call; the last: {lost.error.message}"
        error = CallError(kind=ErrorKind.OTHER, message=message, code="attempt_lost")
        return ModelError(error, cost_usd=spent or None, attempts=_MOST_LOSSES)
