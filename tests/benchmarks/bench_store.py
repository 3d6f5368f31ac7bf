# ruff: noqa: S608  nothing in the statements comes from anybody
"""Rows a second into PostgreSQL, writers beside each other, and what a page costs in a store of millions.

    python tests/benchmarks/bench_store.py [--rows 2000000] [--runs 0]

A server of its own from the wheel, without syncing to disk, so that figures are of processors alone. ``--rows`` narrow
rows are made with generate_series, half of them observations, a quarter each exchanges and judgments; 10,000,000 take
about two minutes and 3 GB, 100,000,000 twenty minutes and 30 GB, deleted afterwards. ``--runs`` makes so many empty
runs with partitions of their own beside.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import sqlalchemy as sa  # noqa: E402

from harness.domain.judgment import Order  # noqa: E402
from harness.domain.observation import Observation  # noqa: E402
from harness.store import Store, bulk, observations, paging, partitions, tables  # noqa: E402
from harness.store.tables import exchanges as e  # noqa: E402
from harness.testing import observation  # noqa: E402
from tests.postgres import server as postgres  # noqa: E402

ANSWER = "It takes effect at once, and nobody else can see it. " * 7
BATCHES = (1, 10, 20, 50, 100, 500, 2_000)
ROUNDS_ROWS = 4_000
SMALL_ROWS = 400_000
WARM_S, WRITE_S = 1.0, 2.5
WRITER = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from harness.store import Store
from harness.testing import observation
with Store.open(sys.argv[1], patience_s=60) as store:
    store.run("w")
    print("ready", flush=True)
    sys.stdin.readline()
    batch, begin = 0, time.perf_counter() + {WARM_S}
    while (now := time.perf_counter()) < begin + {WRITE_S}:
        if now < begin:
            first = batch
        ids = [f"{{{{batch * 7919 % 10007}}}}-{{{{i}}}}" for i in range({{size}})]
        store.put_observations("w", [observation("ok " * 60, arm=sys.argv[2], exchange_id=i) for i in ids])
        batch += 1
    print((batch - first) * {{size}} / (time.perf_counter() - begin))
"""


def written(store: Store, items: Sequence[Observation]) -> float:
    """Seconds that one transaction takes; rows are made before."""
    prepared = observations.prepare("r", items, datetime.now(UTC))
    begin = time.perf_counter()
    store._database.writing(observations.put, prepared)
    return time.perf_counter() - begin


def rates(store: Store) -> None:
    """The table of rows a second, INSERT and COPY in turn."""
    store._database.make_room("r")
    numbers, copies = count(), bulk.FEWEST
    print(f"{'rows in a batch':>16}{'INSERT':>12}{'COPY':>12}{'again: INSERT':>16}{'again: COPY':>14}   rows a second")
    for size in BATCHES:
        took: dict[str, list[float]] = {name: [] for name in ("insert", "copy", "insert again", "copy again")}
        for _ in range(max(3, min(30, ROUNDS_ROWS // size))):
            for name, fewest in (("insert", 1 << 60), ("copy", 1)):
                bulk.FEWEST = fewest
                ids = [f"{number * 7919 % 1_000_003}-{number}" for number in islice(numbers, size)]
                items = [observation(ANSWER, arm="a", exchange_id=id_) for id_ in ids]
                took[name].append(written(store, items))
                took[f"{name} again"].append(written(store, items))
        bulk.FEWEST = copies
        figures = {name: size / median(seconds) for name, seconds in took.items()}
        print(f"{size:>16,}" + "".join(f"{figures[n]:>{w},.0f}" for n, w in zip(took, (12, 16, 12, 14), strict=True)))


def writers(url: str) -> None:
    """What several processes write together, each an arm of the same run."""
    print(f"\n{'writers':>8}{'rows a batch':>14}{'rows a second':>16}{'slowest / fastest':>20}")
    with Store.open(url) as store:
        store._database.make_room("w")
    for n in (1, 2, 4, 8):
        for size in (25, 500):
            script = WRITER.format(size=size)
            processes = [
                subprocess.Popen(
                    [sys.executable, "-c", script, url, f"a{n}-{size}-{i}"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )
                for i in range(n)
            ]  # fmt: skip
            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("\n")
                process.stdin.flush()
            found = [float(process.communicate()[0]) for process in processes]
            print(f"{n:>8}{size:>14}{sum(found):>16,.0f}{min(found) / max(found):>20.2f}")


def fill(store: Store, run: str, rows: int) -> float:
    """A run with so many narrow rows; seconds. A tenth was not asked, a tenth of what was asked is not judged."""
    n = rows // 4
    store._database.make_room(run)
    key = "md5(i::text)"
    narrow = (
        f"INSERT INTO exchanges SELECT '{run}', {key}, ((i::bigint * 7919) % {n})::float8, 's', 'u', {key}, 'gpt-4o',"
        " now(), 1, 1, false, 100, 'f', i, 'x', 200"
        f" FROM generate_series(1, {n}) i",
        *(
            f"INSERT INTO observations SELECT '{run}', '{arm}', '{fingerprint}', {key}, 'completed', NULL, NULL, NULL,"
            f" NULL, NULL, 100 + i % 50, 20, NULL, NULL, {attempts}, 10, 20, NULL, NULL, 0.001, false, 0, now(), false,"
            f" 'stop', 'm', 60, 0, NULL, 200, now() FROM generate_series(1, {n}) i WHERE {which}"
            for arm, fingerprint, attempts, which in (
                ("production", "", "NULL", "true"),
                ("a", "f1", "1", "i % 10 > 0"),
            )
        ),
        f"INSERT INTO judgments SELECT '{run}', 'a', 'f1', 'j1', {key}, 'none', 'exact', 'SCORED', NULL, 1, NULL, NULL,"
        f" NULL, NULL, NULL, 10, 20, 0.001, 0, 1, 5, now() FROM generate_series(1, {n}) i WHERE i % 10 > 1",
    )
    begin = time.perf_counter()
    for statement in narrow:
        store._database.writing(lambda connection, sql=statement: connection.exec_driver_sql(sql.replace("%", "%%")))
    store._database.wrote(rows, run)
    with store._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in partitions.PARTITIONED:
            connection.exec_driver_sql(f"VACUUM ANALYZE {partitions.name(table, run)}")
    return time.perf_counter() - begin


def timed(work: Callable[[], Any], times: int = 3) -> float:
    """Median milliseconds."""
    took = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        took.append((time.perf_counter() - begin) * 1000)
    return median(took)


def questions(store: Store, run: str, *, explain: bool = False) -> dict[str, float]:
    """Milliseconds of what stages ask again and again, and of what they ask once."""
    from harness.store import exchanges, judgments

    n = store.count_exchanges(run)
    asking = exchanges.pending(run, "a", "f1", retry_setup_errors=True, retry_errors=False)
    judging = judgments.pending(run, "a", "f1", judge_fingerprint="j1", orders=[Order.NONE], retry_errors=True)

    def page(statement: sa.Select[Any], share: float) -> Callable[[], Any]:
        ordered = statement.order_by(e.c.position, e.c.exchange_id).limit(paging._PAGE_KEYS)
        behind = sa.tuple_(e.c.position, e.c.exchange_id) > sa.tuple_(sa.literal(n * share, sa.Double), sa.literal(""))
        return lambda: store._database.reading(paging.fetch_page, ordered.where(behind))

    if explain:
        for name, statement in (("pending exchanges", asking), ("pending pairs", judging)):
            ordered = statement.order_by(e.c.position, e.c.exchange_id).limit(paging._PAGE_KEYS)
            behind = sa.tuple_(e.c.position, e.c.exchange_id) > sa.tuple_(
                sa.literal(n * 0.4, sa.Double), sa.literal("")
            )
            print(f"\n{name}")
            with store._database.engine.connect() as connection:
                connection.execute(paging._IN_ORDER)
                sql = ordered.where(behind).compile(connection, compile_kwargs={"literal_binds": True})
                for row in connection.exec_driver_sql("EXPLAIN (ANALYZE, BUFFERS) " + str(sql).replace("%", "%%")):
                    print("   ", row[0][:150])
    ids = [row[1] for row in page(paging.keys(run), 0.5)()][:200]
    return {
        "page of 2,000 keys, begin": timed(page(paging.keys(run), 0.0)),
        "page of 2,000 keys, middle": timed(page(paging.keys(run), 0.5)),
        "page of 2,000 pending exchanges": timed(page(asking, 0.4)),
        "page of 2,000 pending pairs": timed(page(judging, 0.4)),
        "200 observations by key": timed(
            lambda: store._database.reading(
                paging.fetch,
                sa.select(tables.observations).where(
                    tables.observations.c.run_id == run, tables.observations.c.arm == "a",
                    tables.observations.c.fingerprint == "f1", tables.observations.c.exchange_id.in_(ids),
                ),
            )
        ),
        "*count of exchanges": timed(lambda: store.count_exchanges(run), 1),
        "*counts of an arm": timed(lambda: store.observation_counts(run, "a", "f1"), 1),
        "*pending pairs counted": timed(
            lambda: store.count_pending_pairs(run, "a", "f1", judge_fingerprint="j1", orders=[Order.NONE]), 1
        ),
        "*money spent": timed(lambda: store.spent(run), 1),
    }  # fmt: skip


def sizes(store: Store, rows: int, runs: int, *, explain: bool) -> None:
    """The same questions of a small and of a large run in one store."""
    for number in range(runs):
        store._database.make_room(f"empty{number}")
    print(f"\nsmall run: {fill(store, 'small', SMALL_ROWS):.0f} s, large run: {fill(store, 'large', rows):.0f} s")
    small, large = questions(store, "small"), questions(store, "large", explain=explain)
    print(f"{'':<36}{SMALL_ROWS:>12,}{rows:>14,} rows, milliseconds; a row * in microseconds for each exchange")
    for name in small:
        if name.startswith("*"):
            each = small[name] / (SMALL_ROWS / 4) * 1000, large[name] / (rows / 4) * 1000
            print(f"{name:<36}{each[0]:>12.2f}{each[1]:>14.2f}   ({large[name] / 1000:.1f} s)")
        else:
            print(f"{name:<36}{small[name]:>12.1f}{large[name]:>14.1f}")
    begin = time.perf_counter()
    store.delete_run("large")
    print(f"{'the large run removed':<36}{'':>12}{(time.perf_counter() - begin) * 1000:>14.1f}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--explain", action="store_true", help="print the plans of the large run's pages")
    parser.add_argument("--only-sizes", action="store_true")
    options = parser.parse_args()
    with postgres("fsync", "synchronous_commit", "full_page_writes") as server, Store.open(server.get_uri()) as store:
        if not options.only_sizes:
            rates(store)
            writers(server.get_uri())
        sizes(store, options.rows, options.runs, explain=options.explain)


if __name__ == "__main__":
    main()
