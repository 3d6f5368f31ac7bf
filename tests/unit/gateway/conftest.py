"""One gateway and one production per module; a test sets what production does."""

import pytest

from tests.gateways import echo_again, gateway, served, upstream  # noqa: F401  fixtures


@pytest.fixture(scope="module")
def strict(upstream, tmp_path_factory):  # noqa: F811  the fixture above
    """A gateway whose limits are small enough to be met."""
    limits = {"read_timeout_s": 0.5, "client_timeout_s": 0.6, "max_request_bytes": 2_000_000, "max_connections": 6}
    mirror = {"rate": 1, "max_request_bytes": 1_000_000, "max_response_bytes": 1_000_000}
    with gateway(tmp_path_factory.mktemp("strict"), upstream.port, gateway=limits, mirror=mirror) as running:
        yield running
