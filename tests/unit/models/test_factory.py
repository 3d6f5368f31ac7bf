"""Building the stack, checking it beforehand, and what that costs at import."""

import subprocess
import sys

import pytest

from harness.config import Replay
from harness.domain.model import ModelSpec, Price
from harness.errors import ConfigurationError
from harness.models.budget import Purse
from harness.models.factory import build_client, preflight
from harness.models.litellm_client import list_price


def test_importing_and_building_loads_no_litellm():
    code = (
        "import sys\n"
        "from harness.config import Replay\n"
        "from harness.domain.model import ModelSpec, Price\n"
        "from harness.models import budget, factory, faults, limiter, litellm_client, replies, retry\n"
        "spec = ModelSpec(model='openai/gpt-4o', price=Price(input_per_mtok=1, output_per_mtok=1))\n"
        "factory.build_client(replay=Replay(), purse=budget.Purse('candidates', 1.0), seed=1)\n"
        "budget.estimate_cost([], spec)\n"
        "heavy = {'litellm', 'openai', 'torch', 'pandas', 'scipy', 'httpx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_missing_key_names_its_variable(monkeypatch):
    monkeypatch.delenv("SHADOW_TEST_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="SHADOW_TEST_KEY is not set"):
        preflight([ModelSpec(model="openai/gpt-4o", api_key_env="SHADOW_TEST_KEY")])

    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="ANTHROPIC_API_KEY"):
        preflight([ModelSpec(model="anthropic/claude-sonnet-4-5")])


def test_keys_that_are_there_pass(monkeypatch):
    monkeypatch.setenv("SHADOW_TEST_KEY", "x" * 20)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "y" * 20)

    preflight(
        [
            ModelSpec(model="openai/gpt-4o", api_key_env="SHADOW_TEST_KEY"),
            ModelSpec(model="anthropic/claude-sonnet-4-5"),
            ModelSpec(model="openai/anything", api_base="http://127.0.0.1:1/v1"),
        ]
    )


def test_an_unknown_provider_is_refused_with_an_example():
    with pytest.raises(ConfigurationError, match="openai/gpt-4o-mini"):
        preflight([ModelSpec(model="my-own-model")])


def test_an_unpriced_model_is_refused_before_anything_runs():
    local = ModelSpec(model="openai/x", api_base="http://127.0.0.1:1/v1")

    with pytest.raises(ConfigurationError, match="price"):
        preflight([local], purse=Purse("candidates", 5.0))
    preflight([local], purse=Purse("candidates", None))
    preflight([local], purse=Purse("candidates", 5.0), allow_unpriced=True)


@pytest.mark.parametrize(
    ("spec", "price"),
    [
        (ModelSpec(model="openai/x", price=Price(input_per_mtok=1, output_per_mtok=4)), (1e-6, 4e-6)),
        (ModelSpec(model="anthropic/claude-sonnet-4-5"), (3e-6, 15e-6)),
        (ModelSpec(model="openai/no-such-model-at-all"), None),
        (ModelSpec(model="openai/gpt-4o", api_base="http://localhost:8000/v1"), None),
        (ModelSpec(model="openai/gpt-4o", api_base="http://[::1]:8000/v1"), None),
    ],
)
def test_prices_come_from_the_experiment_then_the_map_and_are_else_unknown(spec, price):
    assert list_price(spec) == (pytest.approx(price) if price else None)


async def test_a_stack_that_was_never_used_closes():
    stack = build_client(replay=Replay())
    await stack.aclose()
    await stack.aclose()
