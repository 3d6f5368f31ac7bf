"""On both databases, in schemas of their own."""

from tests.integration.store.conftest import store, store_url
from tests.postgres import postgres

__all__ = ["postgres", "store", "store_url"]
