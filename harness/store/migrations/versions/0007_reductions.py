"""What was deleted from a run for its age, or for a user."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TIME = sa.DateTime().with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "reductions",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("what", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("first_at", TIME, nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.Column("older_than", TIME),
        sa.Column("n_exchanges", sa.BigInteger(), nullable=False),
        sa.Column("candidates_usd", sa.Double(), nullable=False),
        sa.Column("judges_usd", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "what", "reason"),
        sqlite_with_rowid=False,
    )
