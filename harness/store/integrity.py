"""Whether a store holds together: what its database says of itself, and what our rows say of each other."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import zstandard

from harness.domain.label import LabelSource
from harness.domain.observation import PRODUCTION, Status
from harness.domain.reduction import Reduced
from harness.domain.run import Stage
from harness.errors import InfrastructureError
from harness.store import bodies, paging, retention, tables
from harness.store.connection import DAMAGED, Database, is_damage

SAMPLE = 1_000
"""Bodies of each table that are read unless all are."""
_PAGE = 500
_NAMED = 3
"""Keys that one finding names."""
_CANARY = "canary"
_FOLLOWING = tuple(Stage)

_e, _o, _j = tables.exchanges, tables.observations, tables.judgments
_eb, _ob, _jb = tables.exchange_bodies, tables.observation_bodies, tables.judgment_bodies


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something that is not as it has to be."""

    check: str
    message: str
    todo: str
    """What to do about it."""
    run_id: str | None = None
    n: int = 1
    keys: tuple[str, ...] = ()
    """Of the first rows it is about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """Rows there must be none of."""

    check: str
    table: sa.Table
    condition: sa.ColumnElement[bool]
    message: str
    todo: str


def _partner(table: sa.Table, other: sa.Table, **columns: str) -> sa.Exists:
    """That the row has one in ``other``: by the columns both keys have, or those named."""
    shared = {c.name: c.name for c in other.primary_key.columns if c.name in table.c} | columns
    return sa.exists().where(*(other.c[theirs] == table.c[ours] for theirs, ours in shared.items()))


def _production(table: sa.Table) -> sa.Exists:
    c = _o.alias("production").c
    return sa.exists().where(
        c.run_id == table.c.run_id, c.arm == PRODUCTION, c.fingerprint == "", c.exchange_id == table.c.exchange_id
    )


def _judged(table: sa.Table) -> sa.Exists:
    return _partner(table, _o, fingerprint="observation_fingerprint")


def _known() -> Sequence[str]:
    return [status.value for status in Status]


_BACKUP = "restore a backup; or delete the run (`harness runs delete`) and make it again"
_AGAIN = "`harness run` asks and judges again what is missing; or " + _BACKUP


def rules() -> Iterator[Rule]:
    """Every rule about rows, for both databases."""
    for narrow, body in ((_e, _eb), (_o, _ob)):
        yield Rule(
            check="missing_body", table=narrow, condition=sa.and_(narrow.c.body_bytes > 0, ~_partner(narrow, body)),
            message=f"rows of {narrow.name} whose text is missing, though nobody deleted it", todo=_BACKUP,
        )  # fmt: skip
        yield Rule(
            check="body_alone", table=body, condition=~_partner(body, narrow),
            message=f"texts in {body.name} that belong to no row of {narrow.name}", todo=_BACKUP,
        )  # fmt: skip
        wrong = sa.select(narrow.c.body_bytes).where(*_same(narrow, body)).scalar_subquery()
        yield Rule(
            check="body_size", table=body, condition=sa.func.length(body.c.body) != wrong,
            message=f"texts in {body.name} of another size than {narrow.name} says", todo=_BACKUP,
        )  # fmt: skip
    of_texts = _o.alias("answered").c
    has_texts = sa.exists().where(
        of_texts.run_id == _j.c.run_id, of_texts.arm == _j.c.arm, of_texts.exchange_id == _j.c.exchange_id,
        of_texts.fingerprint == _j.c.observation_fingerprint, of_texts.body_bytes > 0,
    )  # fmt: skip
    yield Rule(
        check="missing_body", table=_j, condition=sa.and_(has_texts, ~_partner(_j, _jb)),
        message="judgments whose words are missing, though nobody deleted them", todo=_BACKUP,
    )  # fmt: skip
    yield Rule(
        check="body_alone", table=_jb, condition=~_partner(_jb, _j),
        message="texts in judgment_bodies that belong to no judgment", todo=_AGAIN,
    )  # fmt: skip
    yield Rule(
        check="no_production", table=_e, condition=~_production(_e),
        message="exchanges without production's observation", todo=_BACKUP,
    )  # fmt: skip
    yield Rule(
        check="no_exchange", table=_o, condition=sa.and_(_o.c.arm == PRODUCTION, ~_partner(_o, _e)),
        message="observations of production without their exchange", todo="`harness db delete --strays` removes them",
    )  # fmt: skip
    yield Rule(
        check="text_left", table=_o,
        condition=sa.and_(
            _o.c.body_bytes > 0,
            sa.exists().where(_e.c.run_id == _o.c.run_id, _e.c.exchange_id == _o.c.exchange_id, _e.c.body_bytes == 0),
        ),
        message="answers that were stored after the texts of their exchanges had been deleted",
        todo="delete the exchanges for good: `harness db delete --older-than ... --run RUN`",
    )  # fmt: skip
    for table in (_j, tables.labels, tables.label_plans):
        yield Rule(
            check="no_observation", table=table, condition=sa.and_(table.c.arm != _CANARY, ~_judged(table)),
            message=f"{table.name} about answers that are not stored", todo=_AGAIN,
        )  # fmt: skip
    yield Rule(
        check="no_exchange", table=tables.exchange_attributes, condition=~_partner(tables.exchange_attributes, _e),
        message="attributes of exchanges that are not in the run", todo="`harness db delete --strays` removes them",
    )  # fmt: skip
    yield Rule(
        check="outside_plan", table=tables.labels,
        condition=sa.and_(
            tables.labels.c.source == LabelSource.PAGE.value, ~_partner(tables.labels, tables.label_plans)
        ),
        message="labels given on the page to pairs that were not drawn: they may not correct a win rate",
        todo=_BACKUP,
    )  # fmt: skip
    for table in (_o, _j):
        # Not a number compares as larger than every number on PostgreSQL; SQLite stores it as NULL.
        off = sa.or_(table.c.cost_usd < 0, table.c.superseded_usd < 0, table.c.cost_usd > 1e9)
        yield Rule(
            check="spend", table=table, condition=off,
            message=f"costs in {table.name} that no call can have", todo=_BACKUP,
        )  # fmt: skip
    yield Rule(
        check="unknown_value", table=_o, condition=_o.c.status.not_in(_known()),
        message="observations with a status this version does not know", todo=_BACKUP,
    )  # fmt: skip
    for table in retention.OF_RUNS:
        yield Rule(
            check="no_run", table=table, condition=~sa.exists().where(tables.runs.c.run_id == table.c.run_id),
            message=f"rows of {table.name} that belong to no run",
            todo="`harness db delete --strays` removes them; or restore a backup",
        )  # fmt: skip


def _same(narrow: sa.Table, body: sa.Table) -> list[sa.ColumnElement[bool]]:
    return [narrow.c[column.name] == column for column in body.primary_key.columns]


def check(
    database: Database, *, every_body: bool = False, quick: bool = False, told: Callable[[str], None] = lambda _: None
) -> list[Finding]:
    """Everything that is wrong with the store; an empty list is a clean bill.

    Args:
        database: The store.
        every_body: Unpack and parse every text, not a sample of each table.
        quick: Have SQLite skip the comparison of indexes with tables.
        told: Told of every part as it begins.
    """
    found: list[Finding] = []
    if database.is_sqlite:
        told("pages of the file")
        found += _pages(database, quick=quick)
        if found:
            # What the database cannot read it would not read right either.
            return found
    for rule in rules():
        told(rule.message)
        found += database.reading(_broken, rule)
    told("runs")
    found += database.reading(_runs)
    for table in (_eb, _ob, _jb):
        told(f"texts in {table.name}")
        found += _unreadable(database, table, None if every_body else SAMPLE)
    return found


def _pages(database: Database, *, quick: bool) -> list[Finding]:
    statement = sa.text(f"PRAGMA {'quick' if quick else 'integrity'}_check(20)")
    try:
        said = [row[0] for row in database.reading(paging.fetch, statement)]
    except InfrastructureError as error:
        cause = getattr(error.__cause__, "orig", None)
        if not is_damage(cause):
            raise
        said = [cause]  # it cannot even look
    return [Finding(check="file", message=str(line), todo=DAMAGED) for line in said if line != "ok"]


def _broken(connection: sa.Connection, rule: Rule) -> list[Finding]:
    t = rule.table
    counted = sa.select(t.c.run_id, sa.func.count()).where(rule.condition).group_by(t.c.run_id)
    groups = connection.execute(counted.order_by(t.c.run_id)).all()
    return [
        Finding(
            check=rule.check, run_id=run_id, n=n, message=rule.message, todo=rule.todo,
            keys=_keys(connection, rule, run_id),
        )
        for run_id, n in groups
    ]  # fmt: skip


def _keys(connection: sa.Connection, rule: Rule, run_id: str) -> tuple[str, ...]:
    columns = [column for column in rule.table.primary_key.columns if column.name != "run_id"]
    if not columns:
        return ()
    statement = sa.select(*columns).where(rule.table.c.run_id == run_id, rule.condition).limit(_NAMED)
    return tuple(_named(columns, row) for row in connection.execute(statement))


def _named(columns: Sequence[sa.Column[Any]], row: Sequence[Any]) -> str:
    return " ".join(f"{column.name}={value}" for column, value in zip(columns, row, strict=True) if value != "")


def _runs(connection: sa.Connection) -> list[Finding]:
    """Stages against what is there."""
    return [found for row in connection.execute(sa.select(tables.runs)).all() for found in _run(connection, row)]


def _run(connection: sa.Connection, row: Any) -> Iterator[Finding]:
    stages = [stage.value for stage in Stage]
    if row.stage not in stages:
        yield Finding(
            check="stage",
            run_id=row.run_id,
            message=f"the run is at a stage {row.stage!r} that does not exist",
            todo=_BACKUP,
        )
        return
    at = _FOLLOWING.index(Stage(row.stage))
    for name, text in (("experiment", row.experiment), ("versions", row.versions)):
        try:
            bodies.loads(text)
        except ValueError:
            yield Finding(check="unreadable", run_id=row.run_id, message=f"runs.{name} is not JSON", todo=_BACKUP)

    def count(table: sa.Table) -> int:
        return connection.scalar(sa.select(sa.func.count()).where(table.c.run_id == row.run_id)) or 0

    report = tables.ingest_reports
    sampled = connection.execute(
        sa.select(report.c.n_sampled, report.c.report).where(report.c.run_id == row.run_id)
    ).first()
    if at >= _FOLLOWING.index(Stage.INGESTED) and sampled is None:
        yield Finding(
            check="stage", run_id=row.run_id, message=f"the run is {row.stage} and has no ingest report",
            todo="`harness ingest` writes it",
        )  # fmt: skip
    gone = sum(r.n_exchanges for r in retention.load(connection, row.run_id) if r.what is Reduced.EXCHANGES)
    # A live run's report is renewed now and then, and lags behind.
    if sampled is not None and '"spool' not in sampled.report and sampled.n_sampled != (n := count(_e)) + gone:
        yield Finding(
            check="stage", run_id=row.run_id,
            message=f"{sampled.n_sampled:,} exchanges were sampled, {n:,} are there and {gone:,} were deleted",
            todo=_BACKUP,
        )  # fmt: skip
    if row.stage == Stage.DECIDED.value and not count(tables.decisions):
        yield Finding(
            check="stage", run_id=row.run_id, message="the run is decided and has no decision", todo="`harness decide`"
        )


def _unreadable(database: Database, table: sa.Table, limit: int | None) -> Iterator[Finding]:
    """Bodies that cannot be unpacked or parsed, read by key."""
    keys = list(table.primary_key.columns)
    ordered = sa.select(*keys, table.c.body).order_by(*keys)
    bad: dict[str, list[str]] = {}
    for page in _sampled(database, table, ordered, keys, limit):
        for row in page:
            try:
                bodies.decode(row[-1])
            except (zstandard.ZstdError, ValueError, RecursionError):
                bad.setdefault(row[0], []).append(_named(keys[1:], row[1:-1]))
    for run_id, names in sorted(bad.items()):
        yield Finding(
            check="unreadable", run_id=run_id, n=len(names), keys=tuple(names[:_NAMED]),
            message=f"texts in {table.name} that cannot be read", todo=_BACKUP,
        )  # fmt: skip


def _sampled(
    database: Database, table: sa.Table, ordered: sa.Select[Any], keys: Sequence[sa.Column[Any]], limit: int | None
) -> Iterator[Sequence[Any]]:
    """All rows in pages, or about ``limit`` of them from everywhere in the table."""
    if limit is not None:
        [(n,)] = database.reading(paging.fetch, sa.select(sa.func.count()).select_from(table))
        if n > limit:
            share = sa.cast(sa.func.random(), sa.Double)
            # SQLite draws a 64 bit integer, PostgreSQL a share of 1.
            drawn = sa.func.abs(sa.func.random() % n) < limit if database.is_sqlite else share < limit / n
            yield database.reading(paging.fetch, ordered.where(drawn))
            return
    statement = ordered.limit(_PAGE)
    while True:
        page = database.reading(paging.fetch, statement)
        yield page
        if len(page) < _PAGE:
            return
        last = sa.tuple_(*(sa.literal(value, c.type) for value, c in zip(page[-1][:-1], keys, strict=True)))
        statement = ordered.limit(_PAGE).where(sa.tuple_(*keys) > last)
