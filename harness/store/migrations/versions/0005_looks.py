"""What the looks at a run said of each criterion."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TIME = sa.DateTime().with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "looks",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("arm", TEXT, nullable=False),
        sa.Column("metric", TEXT, nullable=False),
        sa.Column("looked_at", TIME, nullable=False),
        sa.Column("value", sa.Double()),
        sa.Column("low", sa.Double()),
        sa.Column("high", sa.Double()),
        sa.Column("strict_low", sa.Double()),
        sa.Column("strict_high", sa.Double()),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("outcome", TEXT, nullable=False),
        sa.Column("verdict", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "arm", "metric", "looked_at"),
        sqlite_with_rowid=False,
    )
