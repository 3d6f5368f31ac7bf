"""Partitions for every run on PostgreSQL; what is there stays where it is, as a partition of the runs it holds."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

KEYS = {
    "exchange_attributes": "run_id, exchange_id, key, value",
    "exchange_bodies": "run_id, exchange_id",
    "exchanges": "run_id, exchange_id",
    "judgment_bodies": "run_id, arm, observation_fingerprint, judge_fingerprint, exchange_id, answer_order",
    "judgments": "run_id, arm, observation_fingerprint, judge_fingerprint, exchange_id, answer_order",
    "observation_bodies": "run_id, arm, fingerprint, exchange_id",
    "observations": "run_id, arm, fingerprint, exchange_id",
}
DISTINCT = {
    "exchange_attributes": -0.12,
    "exchange_bodies": -1,
    "exchanges": -1,
    "judgment_bodies": -0.25,
    "judgments": -0.25,
    "observation_bodies": -0.4,
    "observations": -0.4,
}
INDEXES = {
    "exchange_attributes": ("exchange_attributes_by_value", "run_id, key, value"),
    "exchanges": ("exchanges_by_position", "run_id, position, exchange_id"),
}
OPTIONS = (
    "WITH (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_scale_factor = 0.05,"
    " autovacuum_analyze_scale_factor = 0.05)"
)
RUNS = """
WITH RECURSIVE found AS (
    (SELECT run_id FROM {table} ORDER BY run_id LIMIT 1)
    UNION ALL
    SELECT (SELECT t.run_id FROM {table} t WHERE t.run_id > found.run_id ORDER BY t.run_id LIMIT 1)
    FROM found WHERE found.run_id IS NOT NULL
) SELECT run_id FROM found WHERE run_id IS NOT NULL
"""
"""One look into the index for each run, however many rows it has."""


def upgrade() -> None:
    """Turn the large tables into partitioned ones."""
    if op.get_bind().dialect.name == "postgresql":
        for table in KEYS:
            _partition(table)


def _partition(table: str) -> None:
    run, before = op.get_bind().exec_driver_sql, f"{table}_before"
    run(f"ALTER TABLE {table} RENAME TO {before}")
    run(f"ALTER INDEX {table}_pkey RENAME TO {before}_pkey")
    if table in INDEXES:
        run(f"ALTER INDEX {INDEXES[table][0]} RENAME TO {INDEXES[table][0]}_before")
    run(f"CREATE TABLE {table} (LIKE {before} INCLUDING DEFAULTS) PARTITION BY LIST (run_id)")
    run(f"ALTER TABLE {table} ADD PRIMARY KEY ({KEYS[table]})")
    run(f"ALTER TABLE {table} ALTER COLUMN exchange_id SET (n_distinct_inherited = {DISTINCT[table]})")
    if table in INDEXES:
        index, columns = INDEXES[table]
        run(f"CREATE INDEX {index} ON {table} ({columns})")
    if table.endswith("_bodies"):
        run(f"ALTER TABLE {table} ALTER COLUMN body SET STORAGE EXTERNAL")
    runs = list(op.get_bind().scalars(sa.text(RUNS.format(table=before))))
    if runs:
        # Read once to check that it holds no other runs; no row is written.
        values = ", ".join("'" + run_id.replace("'", "''") + "'" for run_id in runs)
        op.get_bind().execute(
            sa.text(f"ALTER TABLE {table} ATTACH PARTITION {before} FOR VALUES IN ({_plain(values)})")
        )
    else:
        run(f"DROP TABLE {before}")
    run(f"CREATE TABLE {table}_rest PARTITION OF {table} DEFAULT {OPTIONS}")
    if table.endswith("_bodies"):
        run(f"ALTER TABLE {table}_rest ALTER COLUMN body SET STORAGE EXTERNAL")


def _plain(text: str) -> str:
    """As SQLAlchemy leaves it alone: a colon would begin a parameter."""
    return text.replace(":", "\\:")
