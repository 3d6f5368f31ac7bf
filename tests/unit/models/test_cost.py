"""What a call costs by litellm's price map, cache reads and writes apart."""

import pytest

from harness.domain.model import ModelSpec, Price
from harness.models import litellm_client
from harness.models.replies import Fold


def cost(spec, *usages):
    import litellm

    route = litellm_client.find_route(spec)
    fold = Fold(usages=[litellm.Usage(**usage) for usage in usages])
    return litellm_client._cost(route, spec, fold.usage(), fold)


def test_cache_reads_and_writes_have_their_own_price():
    started = {
        "prompt_tokens": 11,
        "completion_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 5, "cache_creation_tokens": 2},
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 2,
    }
    ended = {"prompt_tokens": 0, "completion_tokens": 7}

    found = cost(ModelSpec(model="anthropic/claude-sonnet-4-5"), started, ended)

    assert found == pytest.approx((4 * 3 + 5 * 0.3 + 2 * 3.75 + 7 * 15) / 1e6)


def test_a_configured_price_wins():
    spec = ModelSpec(model="anthropic/claude-sonnet-4-5", price=Price(input_per_mtok=1, output_per_mtok=2))

    assert cost(spec, {"prompt_tokens": 10, "completion_tokens": 5}) == pytest.approx(20 / 1e6)


@pytest.mark.parametrize(
    ("model", "usages"),
    [
        ("openai/no-such-model-at-all", [{"prompt_tokens": 10, "completion_tokens": 5}]),
        ("anthropic/claude-sonnet-4-5", []),
        ("anthropic/claude-sonnet-4-5", [{"prompt_tokens": 0, "completion_tokens": 0}]),
    ],
)
def test_an_unknown_price_or_count_makes_an_unknown_cost(model, usages):
    assert cost(ModelSpec(model=model), *usages) is None
