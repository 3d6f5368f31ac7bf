"""Tells a set-up that cannot work (wrong key, wrong address, no network) from a model that fails."""

from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelClient, ModelError, ModelReply, ModelSpec
from harness.domain.observation import CallError, ErrorKind
from harness.errors import InfrastructureError

SETUP_CALLS = 20
"""So many calls that all fail on our own set-up, and no other outcome, are enough to stop asking."""


def setup_error(who: str, spec: ModelSpec, error: CallError, *, calls: int) -> InfrastructureError:
    """The end of somebody whose calls all failed on our own set-up: the provider's words and what to do."""
    return InfrastructureError(
        f"{who}: all of the first {calls} calls to {spec.model} failed with {error.kind}: "
        f"{error.message}; {_advice(spec, error.kind)}, then run the same command again"
    )


class SetupWatch:
    """A ModelClient that ends the run when nothing but failures of our own set-up has been heard."""

    def __init__(self, inner: ModelClient, *, who: str) -> None:
        self._inner = inner
        self._who = who
        self._heard = False
        self._calls = 0
        self._first: tuple[ModelSpec, CallError] | None = None

    async def complete(self, request: ChatRequest, model: ModelSpec, *, deadline_s: float) -> ModelReply:
        """Ask, and count what comes of it.

        Raises:
            InfrastructureError: so far all of 20 calls or more failed on our own set-up.
        """
        try:
            reply = await self._inner.complete(request, model, deadline_s=deadline_s)
        except ModelError as error:
            self._heard = self._heard or not error.error.kind.is_setup_alone
            self._calls += 1
            self._first = self._first or (model, error.error)
            if self._calls >= SETUP_CALLS:
                self.check()
            raise
        self._heard = True
        return reply

    def check(self) -> None:
        """Raise InfrastructureError when every call failed on our own set-up, however few there were."""
        if self._first is not None and not self._heard:
            model, error = self._first
            raise setup_error(self._who, model, error, calls=self._calls)


def _advice(spec: ModelSpec, kind: ErrorKind) -> str:
    if kind is ErrorKind.CONNECTION:
        return f"check that {spec.api_base or spec.provider} is up and can be reached from here"
    variable = spec.api_key_env or f"{spec.provider.split('@')[0].upper()}_API_KEY"
    if kind is ErrorKind.NOT_FOUND:
        where = f" at {spec.api_base}" if spec.api_base else ""
        return f"check the name of the model{where} and that the account of {variable} may use it"
    if kind is ErrorKind.QUOTA_EXHAUSTED:
        return f"add credit to the account of {variable} or set {variable} to another one's key"
    named = "" if spec.api_key_env or not spec.api_base else " (name it in `api_key_env`)"
    return f"set {variable}{named} to a key that may use this model"
