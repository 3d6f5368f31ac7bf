"""One gateway and one production per module; a test sets what production does."""

from tests.gateways import echo_again, served, upstream  # noqa: F401  fixtures
