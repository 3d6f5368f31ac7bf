"""Requests handed to vendors together, so that a killed process finds them again."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TIME = sa.DateTime().with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "batches",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("batch_id", TEXT, nullable=False),
        sa.Column("vendor", TEXT, nullable=False),
        sa.Column("vendor_id", TEXT),
        sa.Column("model", TEXT, nullable=False),
        sa.Column("base_url", TEXT, nullable=False),
        sa.Column("api_base", TEXT),
        sa.Column("api_key_env", TEXT),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("n_requests", sa.BigInteger(), nullable=False),
        sa.Column("n_done", sa.BigInteger(), nullable=False),
        sa.Column("n_failed", sa.BigInteger(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME),
        sa.PrimaryKeyConstraint("run_id", "batch_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "batch_items",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("batch_id", TEXT, nullable=False),
        sa.Column("custom_id", TEXT, nullable=False),
        sa.Column("item_key", TEXT, nullable=False),
        sa.Column("taken", sa.Boolean(create_constraint=False), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "batch_id", "custom_id"),
        sqlite_with_rowid=False,
    )
