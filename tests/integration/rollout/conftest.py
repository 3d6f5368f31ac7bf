"""A server of PostgreSQL for several machines."""

from tests.postgres import postgres

__all__ = ["postgres"]
