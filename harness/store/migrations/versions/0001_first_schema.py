"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TIME = sa.DateTime().with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Create every table."""
    _runs()
    _exchanges()
    _observations()
    _judgments()


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("stage", TEXT, nullable=False),
        sa.Column("ingest_fingerprint", TEXT, nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("stop_reason", TEXT, nullable=True),
        sa.Column("experiment", TEXT, nullable=False),
        sa.Column("versions", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ingest_reports",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("n_read", sa.BigInteger(), nullable=False),
        sa.Column("n_rejected", sa.BigInteger(), nullable=False),
        sa.Column("n_deduplicated", sa.BigInteger(), nullable=False),
        sa.Column("n_kept", sa.BigInteger(), nullable=False),
        sa.Column("n_sampled", sa.BigInteger(), nullable=False),
        sa.Column("report", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "decisions",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("decided_at", TIME, nullable=False),
        sa.Column("experiment_sha256", TEXT, nullable=False),
        sa.Column("decision", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "decided_at"),
        sqlite_with_rowid=False,
    )


def _exchanges() -> None:
    op.create_table(
        "exchanges",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("exchange_id", TEXT, nullable=False),
        sa.Column("position", sa.Double(), nullable=False),
        sa.Column("session", TEXT, nullable=True),
        sa.Column("user_id", TEXT, nullable=True),
        sa.Column("cluster", TEXT, nullable=False),
        sa.Column("model", TEXT, nullable=False),
        sa.Column("timestamp", TIME, nullable=True),
        sa.Column("n_messages", sa.BigInteger(), nullable=False),
        sa.Column("n_turns", sa.BigInteger(), nullable=False),
        sa.Column("has_tools", sa.Boolean(), nullable=False),
        sa.Column("prompt_chars", sa.BigInteger(), nullable=False),
        sa.Column("source_file", TEXT, nullable=True),
        sa.Column("source_line", sa.BigInteger(), nullable=True),
        sa.Column("source_sha256", TEXT, nullable=True),
        sa.Column("body_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "exchange_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("exchanges_by_position", "exchanges", ["run_id", "position", "exchange_id"], unique=False)
    op.create_table(
        "exchange_attributes",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("exchange_id", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "exchange_id", "key", "value"),
        sqlite_with_rowid=False,
    )
    op.create_index("exchange_attributes_by_value", "exchange_attributes", ["run_id", "key", "value"], unique=False)
    op.create_table(
        "exchange_bodies",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("exchange_id", TEXT, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "exchange_id"),
    )


def _observations() -> None:
    op.create_table(
        "observations",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("arm", TEXT, nullable=False),
        sa.Column("fingerprint", TEXT, nullable=False),
        sa.Column("exchange_id", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.Column("error_kind", TEXT, nullable=True),
        sa.Column("error_code", TEXT, nullable=True),
        sa.Column("error_message", TEXT, nullable=True),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("latency_ms", sa.Double(), nullable=True),
        sa.Column("ttft_ms", sa.Double(), nullable=True),
        sa.Column("queue_ms", sa.Double(), nullable=True),
        sa.Column("retry_ms", sa.Double(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=True),
        sa.Column("tokens_in", sa.BigInteger(), nullable=True),
        sa.Column("tokens_out", sa.BigInteger(), nullable=True),
        sa.Column("tokens_cached", sa.BigInteger(), nullable=True),
        sa.Column("tokens_reasoning", sa.BigInteger(), nullable=True),
        sa.Column("cost_usd", sa.Double(), nullable=True),
        sa.Column("cost_estimated", sa.Boolean(), nullable=False),
        sa.Column("superseded_usd", sa.Double(), nullable=False),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("cache_hit", sa.Boolean(), nullable=False),
        sa.Column("finish_reason", TEXT, nullable=True),
        sa.Column("answered_model", TEXT, nullable=True),
        sa.Column("answer_chars", sa.BigInteger(), nullable=True),
        sa.Column("n_tool_calls", sa.BigInteger(), nullable=True),
        sa.Column("dropped_params", TEXT, nullable=True),
        sa.Column("body_bytes", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "arm", "fingerprint", "exchange_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "observation_bodies",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("arm", TEXT, nullable=False),
        sa.Column("fingerprint", TEXT, nullable=False),
        sa.Column("exchange_id", TEXT, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "arm", "fingerprint", "exchange_id"),
    )


def _judgments() -> None:
    op.create_table(
        "judgments",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("arm", TEXT, nullable=False),
        sa.Column("observation_fingerprint", TEXT, nullable=False),
        sa.Column("judge_fingerprint", TEXT, nullable=False),
        sa.Column("exchange_id", TEXT, nullable=False),
        sa.Column("answer_order", TEXT, nullable=False),
        sa.Column("judge", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("label", TEXT, nullable=True),
        sa.Column("model", TEXT, nullable=True),
        sa.Column("answered_model", TEXT, nullable=True),
        sa.Column("prompt_sha256", TEXT, nullable=True),
        sa.Column("parser", TEXT, nullable=True),
        sa.Column("tokens_in", sa.BigInteger(), nullable=True),
        sa.Column("tokens_out", sa.BigInteger(), nullable=True),
        sa.Column("cost_usd", sa.Double(), nullable=True),
        sa.Column("superseded_usd", sa.Double(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("latency_ms", sa.Double(), nullable=True),
        sa.Column("recorded_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint(
            "run_id", "arm", "observation_fingerprint", "judge_fingerprint", "exchange_id", "answer_order"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "judgment_bodies",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("arm", TEXT, nullable=False),
        sa.Column("observation_fingerprint", TEXT, nullable=False),
        sa.Column("judge_fingerprint", TEXT, nullable=False),
        sa.Column("exchange_id", TEXT, nullable=False),
        sa.Column("answer_order", TEXT, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(
            "run_id", "arm", "observation_fingerprint", "judge_fingerprint", "exchange_id", "answer_order"
        ),
    )
