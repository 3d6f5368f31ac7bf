"""What the documentation of hooks, actuators and alerts promises is what the code takes."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from harness.config import rollout
from harness.controller import hooks
from harness.domain.rollout import EventKind
from tests.unit.controller.happening import news, policy

PAGE = (Path(__file__).parents[3] / "docs" / "rollout.md").read_text(encoding="utf-8")
WORDS = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`[^`]*`", PAGE))))


@pytest.mark.parametrize("section", [rollout.HookSection, rollout.GatewayActuator, rollout.LiteLLMActuator])
def test_every_key_is_explained(section: type[BaseModel]):
    assert set(section.model_fields) - {"kind"} - WORDS == set()


def test_every_event_a_hook_may_be_told_of_is_named():
    assert {str(kind) for kind in EventKind} - WORDS == set()


def test_the_examples_are_valid():
    examples = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
    ours = [example for example in examples if {"hooks", "actuators"} & example.keys()]
    assert len(ours) == 2
    for example in ours:
        policy(**example)


def test_every_variable_a_command_gets_is_named():
    given = hooks._environment(news(), "after", "tickets")
    assert {name.removeprefix("HARNESS_ROLLOUT") for name in given} - set(re.findall(r"_[A-Z]+", PAGE)) == set()


def test_the_example_of_what_a_hook_gets_has_every_part():
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    parts = set(re.findall(r'"([a-z]+)":', example)) - {"checks"}
    assert parts == {"key", "hook", "stage", *news().document()}
