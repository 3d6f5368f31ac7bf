"""One gateway and one production per module; a test sets what production does."""

from collections.abc import Iterator

import pytest

from tests.gateways import Gateway, Production, echo, gateway, production


@pytest.fixture(scope="module")
def upstream() -> Iterator[Production]:
    with production() as served:
        yield served


@pytest.fixture(scope="module")
def served(upstream, tmp_path_factory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("gateway"), upstream.port) as running:
        yield running


@pytest.fixture(autouse=True)
def _echo_again(request) -> Iterator[None]:
    yield
    if "upstream" in request.fixturenames:
        request.getfixturevalue("upstream").handler = echo
