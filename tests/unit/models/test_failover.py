import pytest

from harness.domain.exchange import ChatRequest
from harness.domain.model import ModelError, ModelReply, ModelSpec
from harness.domain.observation import ErrorKind
from harness.models.budget import BudgetedClient, Purse
from harness.models.failover import AttemptLost, FailoverClient
from harness.testing import ScriptedModelClient, model_error, reply

REQUEST = ChatRequest(model="p", messages=({"role": "user", "content": "Hello"},), params={"max_tokens": 10})
SPEC = ModelSpec(model="openai/m")


async def ask(*script: ModelReply | Exception, purse: Purse | None = None) -> ModelReply:
    client = ScriptedModelClient(list(script))
    paid = client if purse is None else BudgetedClient(client, purse, lambda _: (0.01, 0.01))
    return await FailoverClient(paid).complete(REQUEST, SPEC, deadline_s=5.0)


async def test_a_lost_attempt_is_made_again() -> None:
    found = await ask(AttemptLost("a worker"), reply("Hi."))
    assert (found.completion.text, found.attempts) == ("Hi.", 2)


async def test_what_a_lost_attempt_may_have_cost_counts_as_spent() -> None:
    purse = Purse("candidates", limit_usd=10.0)
    found = await ask(AttemptLost("a worker"), reply("Hi.", cost_usd=0.02), purse=purse)
    assert found.cost_usd is not None
    assert found.cost_usd > 0.02 + 10 * 0.01
    assert purse.spent_usd == pytest.approx(found.cost_usd)
    assert purse.reserved_usd == 0.0


async def test_a_request_that_three_processes_did_not_survive_fails() -> None:
    with pytest.raises(ModelError) as caught:
        await ask(*[AttemptLost("a worker")] * 3)
    assert caught.value.error.kind is ErrorKind.OTHER
    assert not caught.value.error.kind.is_retryable
    assert caught.value.attempts == 3


async def test_the_providers_own_errors_are_left_to_the_retries() -> None:
    with pytest.raises(ModelError, match="scripted"):
        await ask(model_error(ErrorKind.SERVER_ERROR))
