"""The tables of the comparison DB; docs/database.md says what every column means.

Narrow rows that analysis reads are apart from compressed bodies that only replay, judges and examples read.
Primary keys are natural keys, so that writing the same thing twice changes nothing.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
)


class SafeText(TypeDecorator[str]):
    """Text as both databases can hold it.

    PostgreSQL refuses NUL and neither takes lone surrogates, and both come out of real traffic. Here they become
    U+2400 and a question mark; bodies keep the original. Compared byte by byte, so that order is the same on every
    server.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Plain text; collation ``C`` on PostgreSQL, as SQLite's own."""
        return Text(collation="C") if dialect.name == "postgresql" else Text()

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Replace what cannot be stored."""
        return None if value is None else storable(value)


def storable(text: str) -> str:
    """The text as a narrow column holds it."""
    if "\x00" in text:
        text = text.replace("\x00", "\N{SYMBOL FOR NULL}")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


class UtcTime(TypeDecorator[datetime]):
    """An aware moment: ``timestamptz`` on PostgreSQL, ISO text in UTC on SQLite."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """With time zone where the database knows them."""
        return DateTime(timezone=dialect.name == "postgresql")

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """A moment without a zone is taken as UTC."""
        if value is None:
            return None
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Always aware, always UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData()


def _key(name: str, **options: Any) -> Column[str]:
    return Column(name, SafeText, primary_key=True, nullable=False, **options)


def _text(name: str, *, nullable: bool = True) -> Column[str]:
    return Column(name, SafeText, nullable=nullable)


def _number(name: str, *, nullable: bool = True) -> Column[float]:
    return Column(name, Double, nullable=nullable)


def _count(name: str, *, nullable: bool = True) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean(create_constraint=False), nullable=False)


def _time(name: str, *, nullable: bool = True) -> Column[datetime]:
    return Column(name, UtcTime, nullable=nullable)


# The natural key is the row's place in the file: one B-tree less to write than a hidden row id would cost.
_NARROW: dict[str, Any] = {"sqlite_with_rowid": False}

# One partition for each run on PostgreSQL; see harness.store.partitions.
_BY_RUN: dict[str, Any] = {"postgresql_partition_by": "LIST (run_id)"}

runs = Table(
    "runs",
    metadata,
    _key("run_id"),
    _text("name", nullable=False),
    _time("created_at", nullable=False),
    _time("updated_at", nullable=False),
    _text("stage", nullable=False),
    _text("ingest_fingerprint", nullable=False),
    _count("seed", nullable=False),
    _text("stop_reason"),
    _text("experiment", nullable=False),
    _text("versions", nullable=False),
    **_NARROW,
)

ingest_reports = Table(
    "ingest_reports",
    metadata,
    _key("run_id"),
    _count("n_read", nullable=False),
    _count("n_rejected", nullable=False),
    _count("n_deduplicated", nullable=False),
    _count("n_kept", nullable=False),
    _count("n_sampled", nullable=False),
    _text("report", nullable=False),
    **_NARROW,
)

decisions = Table(
    "decisions",
    metadata,
    _key("run_id"),
    Column("decided_at", UtcTime, primary_key=True, nullable=False),
    _text("experiment_sha256", nullable=False),
    _text("decision", nullable=False),
    **_NARROW,
)

looks = Table(
    "looks",
    metadata,
    _key("run_id"),
    _key("arm"),
    _key("metric"),
    Column("looked_at", UtcTime, primary_key=True, nullable=False),
    _number("value"),
    _number("low"),
    _number("high"),
    _number("strict_low"),
    _number("strict_high"),
    _count("n", nullable=False),
    _text("outcome", nullable=False),
    _text("verdict", nullable=False),
    **_NARROW,
)

reductions = Table(
    "reductions",
    metadata,
    _key("run_id"),
    _key("what"),
    _key("reason"),
    _time("first_at", nullable=False),
    _time("last_at", nullable=False),
    _time("older_than"),
    _count("n_exchanges", nullable=False),
    _number("candidates_usd", nullable=False),
    _number("judges_usd", nullable=False),
    **_NARROW,
)

exchanges = Table(
    "exchanges",
    metadata,
    _key("run_id"),
    _key("exchange_id"),
    _number("position", nullable=False),
    _text("session"),
    _text("user_id"),
    _text("cluster", nullable=False),
    _text("model", nullable=False),
    _time("timestamp"),
    _count("n_messages", nullable=False),
    _count("n_turns", nullable=False),
    _flag("has_tools"),
    _count("prompt_chars", nullable=False),
    _text("source_file"),
    _count("source_line"),
    _text("source_sha256"),
    _count("body_bytes", nullable=False),
    Index("exchanges_by_position", "run_id", "position", "exchange_id"),
    **_NARROW,
    **_BY_RUN,
)

exchange_attributes = Table(
    "exchange_attributes",
    metadata,
    _key("run_id"),
    _key("exchange_id"),
    _key("key"),
    _key("value"),
    Index("exchange_attributes_by_value", "run_id", "key", "value"),
    **_NARROW,
    **_BY_RUN,
)

exchange_bodies = Table(
    "exchange_bodies",
    metadata,
    _key("run_id"),
    _key("exchange_id"),
    Column("body", LargeBinary, nullable=False),
    **_BY_RUN,
)

observations = Table(
    "observations",
    metadata,
    _key("run_id"),
    _key("arm"),
    _key("fingerprint"),
    _key("exchange_id"),
    _text("status", nullable=False),
    _text("reason"),
    _text("error_kind"),
    _text("error_code"),
    _text("error_message"),
    Column("http_status", Integer),
    _number("latency_ms"),
    _number("ttft_ms"),
    _number("queue_ms"),
    _number("retry_ms"),
    _count("attempts"),
    _count("tokens_in"),
    _count("tokens_out"),
    _count("tokens_cached"),
    _count("tokens_reasoning"),
    _number("cost_usd"),
    _flag("cost_estimated"),
    _number("superseded_usd", nullable=False),
    _time("started_at"),
    _flag("cache_hit"),
    _text("finish_reason"),
    _text("answered_model"),
    _count("answer_chars"),
    _count("n_tool_calls"),
    _text("dropped_params"),
    _count("body_bytes", nullable=False),
    _time("recorded_at", nullable=False),
    **_NARROW,
    **_BY_RUN,
)

observation_bodies = Table(
    "observation_bodies",
    metadata,
    _key("run_id"),
    _key("arm"),
    _key("fingerprint"),
    _key("exchange_id"),
    Column("body", LargeBinary, nullable=False),
    **_BY_RUN,
)

judgments = Table(
    "judgments",
    metadata,
    _key("run_id"),
    _key("arm"),
    _key("observation_fingerprint"),
    _key("judge_fingerprint"),
    _key("exchange_id"),
    _key("answer_order"),
    _text("judge", nullable=False),
    _text("state", nullable=False),
    _text("reason"),
    _number("value"),
    _text("label"),
    _text("model"),
    _text("answered_model"),
    _text("prompt_sha256"),
    _text("parser"),
    _count("tokens_in"),
    _count("tokens_out"),
    _number("cost_usd"),
    _number("superseded_usd", nullable=False),
    _count("attempts", nullable=False),
    _number("latency_ms"),
    _time("recorded_at", nullable=False),
    **_NARROW,
    **_BY_RUN,
)

judgment_bodies = Table(
    "judgment_bodies",
    metadata,
    _key("run_id"),
    _key("arm"),
    _key("observation_fingerprint"),
    _key("judge_fingerprint"),
    _key("exchange_id"),
    _key("answer_order"),
    Column("body", LargeBinary, nullable=False),
    **_BY_RUN,
)

label_plans = Table(
    "label_plans",
    metadata,
    _key("run_id"),
    _key("arm"),
    _key("observation_fingerprint"),
    _key("exchange_id"),
    _text("design", nullable=False),
    _count("rank", nullable=False),
    _number("probability", nullable=False),
    _time("planned_at", nullable=False),
    **_NARROW,
)

labels = Table(
    "labels",
    metadata,
    _key("run_id"),
    _key("arm"),
    _key("observation_fingerprint"),
    _key("exchange_id"),
    _key("labeller"),
    _text("label"),
    _text("shown_first"),
    _number("probability"),
    _text("source", nullable=False),
    _text("note"),
    _number("seconds"),
    _time("recorded_at", nullable=False),
    **_NARROW,
)

attempts = Table(
    "attempts",
    metadata,
    _key("family"),
    _key("fingerprint"),
    _key("sequence"),
    _count("number", nullable=False),
    _text("arm", nullable=False),
    _text("run_id", nullable=False),
    _number("alpha", nullable=False),
    _text("verdict"),
    _count("n_pairs"),
    _time("begun_at", nullable=False),
    _time("decided_at"),
    **_NARROW,
)

rollouts = Table(
    "rollouts",
    metadata,
    _key("rollout_id"),
    _text("live", nullable=False),
    _text("candidate", nullable=False),
    _text("fingerprint", nullable=False),
    _text("configuration", nullable=False),
    _text("configuration_sha256", nullable=False),
    _time("started_at", nullable=False),
    **_NARROW,
)

rollout_events = Table(
    "rollout_events",
    metadata,
    _key("rollout_id"),
    Column("number", BigInteger, primary_key=True, nullable=False, autoincrement=False),
    _text("kind", nullable=False),
    _text("phase", nullable=False),
    _time("happened_at", nullable=False),
    _text("actor", nullable=False),
    _text("reason", nullable=False),
    _text("evidence", nullable=False),
    **_NARROW,
)

served_requests = Table(
    "served_requests",
    metadata,
    _key("rollout_id"),
    _key("request_id"),
    _count("number", nullable=False),
    _text("arm", nullable=False),
    _text("conversation", nullable=False),
    _time("at", nullable=False),
    _text("surface", nullable=False),
    _text("outcome", nullable=False),
    Column("status", Integer, nullable=False),
    _flag("failed"),
    _number("latency_ms"),
    _number("ttft_ms"),
    _text("reason"),
    _time("stored_at", nullable=False),
    Index("served_requests_by_time", "rollout_id", "stored_at", "request_id"),
    **_NARROW,
)

rollout_control = Table(
    "rollout_control",
    metadata,
    _key("rollout_id"),
    _text("holder"),
    _time("held_until"),
    _time("halted_at"),
    _text("halted_reason"),
    **_NARROW,
)

rollout_actions = Table(
    "rollout_actions",
    metadata,
    _key("rollout_id"),
    Column("number", BigInteger, primary_key=True, nullable=False, autoincrement=False),
    _key("name"),
    _time("begun_at", nullable=False),
    _time("done_at"),
    _text("outcome"),
    **_NARROW,
)

batches = Table(
    "batches",
    metadata,
    _key("run_id"),
    _key("batch_id"),
    _text("vendor", nullable=False),
    _text("vendor_id"),
    _text("model", nullable=False),
    _text("base_url", nullable=False),
    _text("api_base"),
    _text("api_key_env"),
    _text("state", nullable=False),
    _count("n_requests", nullable=False),
    _count("n_done", nullable=False),
    _count("n_failed", nullable=False),
    _time("created_at", nullable=False),
    _time("updated_at"),
    **_NARROW,
)

batch_items = Table(
    "batch_items",
    metadata,
    _key("run_id"),
    _key("batch_id"),
    _key("custom_id"),
    _text("item_key", nullable=False),
    _flag("taken"),
    **_NARROW,
)
