"""Alembic's entry point; ``harness.store.schema.upgrade`` hands over the open transaction."""

from alembic import context

from harness.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
