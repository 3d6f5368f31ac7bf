"""People's labels, the plans they were drawn by, and the attempts of a candidate family."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TIME = sa.DateTime().with_variant(sa.DateTime(timezone=True), "postgresql")
_PAIR = ("run_id", "arm", "observation_fingerprint", "exchange_id")


def upgrade() -> None:
    """Create the three tables."""
    op.create_table(
        "label_plans",
        *(sa.Column(name, TEXT, nullable=False) for name in _PAIR),
        sa.Column("design", TEXT, nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("planned_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint(*_PAIR),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "labels",
        *(sa.Column(name, TEXT, nullable=False) for name in (*_PAIR, "labeller")),
        sa.Column("label", TEXT, nullable=True),
        sa.Column("shown_first", TEXT, nullable=True),
        sa.Column("probability", sa.Double(), nullable=True),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("note", TEXT, nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("recorded_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint(*_PAIR, "labeller"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "attempts",
        *(sa.Column(name, TEXT, nullable=False) for name in ("family", "fingerprint", "sequence")),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("arm", TEXT, nullable=False),
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("alpha", sa.Double(), nullable=False),
        sa.Column("verdict", TEXT, nullable=True),
        sa.Column("n_pairs", sa.BigInteger(), nullable=True),
        sa.Column("begun_at", TIME, nullable=False),
        sa.Column("decided_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("family", "fingerprint", "sequence"),
        sqlite_with_rowid=False,
    )
