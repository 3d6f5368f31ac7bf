"""Rollouts and the append-only history of each."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TIME = sa.DateTime().with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Create the two tables."""
    op.create_table(
        "rollouts",
        sa.Column("rollout_id", TEXT, nullable=False),
        sa.Column("live", TEXT, nullable=False),
        sa.Column("candidate", TEXT, nullable=False),
        sa.Column("fingerprint", TEXT, nullable=False),
        sa.Column("configuration", TEXT, nullable=False),
        sa.Column("configuration_sha256", TEXT, nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("rollout_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollout_events",
        sa.Column("rollout_id", TEXT, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("phase", TEXT, nullable=False),
        sa.Column("happened_at", TIME, nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("evidence", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("rollout_id", "number"),
        sqlite_with_rowid=False,
    )
