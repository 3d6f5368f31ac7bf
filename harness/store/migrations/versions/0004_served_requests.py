"""Requests that a rollout's arms answered, who controls a rollout, and what was done about its events."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TIME = sa.DateTime().with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Create the three tables."""
    op.create_table(
        "served_requests",
        sa.Column("rollout_id", TEXT, nullable=False),
        sa.Column("request_id", TEXT, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("arm", TEXT, nullable=False),
        sa.Column("conversation", TEXT, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("surface", TEXT, nullable=False),
        sa.Column("outcome", TEXT, nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("latency_ms", sa.Double()),
        sa.Column("ttft_ms", sa.Double()),
        sa.Column("reason", TEXT),
        sa.Column("stored_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("rollout_id", "request_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("served_requests_by_time", "served_requests", ["rollout_id", "stored_at", "request_id"])
    op.create_table(
        "rollout_control",
        sa.Column("rollout_id", TEXT, nullable=False),
        sa.Column("holder", TEXT),
        sa.Column("held_until", TIME),
        sa.Column("halted_at", TIME),
        sa.Column("halted_reason", TEXT),
        sa.PrimaryKeyConstraint("rollout_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollout_actions",
        sa.Column("rollout_id", TEXT, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("begun_at", TIME, nullable=False),
        sa.Column("done_at", TIME),
        sa.Column("outcome", TEXT),
        sa.PrimaryKeyConstraint("rollout_id", "number", "name"),
        sqlite_with_rowid=False,
    )
