"""Which engine a name and its options come to."""

import sys

import pytest

from harness.engine.choice import build_engine
from harness.engine.local import LocalEngine
from harness.errors import ConfigurationError


def test_the_local_engine_is_what_one_gets_unasked() -> None:
    assert isinstance(build_engine(), LocalEngine)
    assert build_engine("ray").name == "ray"


def test_without_ray_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'shadow-harness\[ray\]'"):
        build_engine("ray")


def test_an_address_without_a_cluster_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="add --engine ray"):
        build_engine("local", address="127.0.0.1:6379")


def test_an_unknown_engine_names_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="local, ray"):
        build_engine("spark")
