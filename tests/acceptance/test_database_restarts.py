"""PostgreSQL restarted under load: the run finishes, nothing lost, nothing double."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml

from harness.store import Store, tables
from tests.integration.live.spooled import captured, spool
from tests.postgres import Fragile, fragile

__all__ = ["fragile"]

N = 400
PRICE = {"input_per_mtok": 1.0, "output_per_mtok": 2.0}


def asked(log: Path) -> Counter[str]:
    return Counter(log.read_text(encoding="utf-8").splitlines()) if log.exists() else Counter()


def harness(folder: Path, url: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *arguments, "--json", "--quiet"],
        cwd=folder,
        env=os.environ | {"HARNESS_STORE": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: "subprocess.Popen[str]", fragile: Fragile, log: Path) -> tuple[str, str, int]:
    """What the process said; and how often the server went down while it asked and wrote."""
    before, begin = fragile.restarts, time.monotonic()
    # Up while it starts: what is tested is a server that is lost, not one that was never there.
    while not asked(log):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() - begin < 90, "it does not begin"
        time.sleep(0.02)
    with fragile.going_down(every_s=0.7):
        out, err = process.communicate(timeout=180)
    return out, err, fragile.restarts - before


def stored(url: str, run_id: str) -> dict[str, int]:
    """Rows by table and arm, and how many of them belong to no other row's key."""
    with Store.open(url) as store, store._database.engine.connect() as connection:
        found: dict[str, int] = {}
        for table in (tables.exchanges, tables.exchange_bodies):
            found[table.name] = connection.scalar(sa.select(sa.func.count()).where(table.c.run_id == run_id)) or 0
        for table in (tables.observations, tables.observation_bodies, tables.judgments, tables.judgment_bodies):
            counted = sa.select(table.c.arm, sa.func.count()).where(table.c.run_id == run_id).group_by(table.c.arm)
            found |= {f"{table.name}:{arm}": n for arm, n in connection.execute(counted)}
        return found


def money(url: str, run_id: str) -> tuple[float, float, float]:
    """Dollars as the run counts them, as its rows add up, and those of calls that were made again."""
    o = tables.observations
    sums = sa.select(sa.func.sum(o.c.cost_usd), sa.func.sum(o.c.superseded_usd))
    with Store.open(url) as store:
        with store._database.engine.connect() as connection:
            cost, again = connection.execute(sums.where(o.c.run_id == run_id, o.c.arm == "new")).one()
        return store.spent(run_id)["candidates"], cost, again


EXPECTED = {
    "exchanges": N,
    "exchange_bodies": N,
    "observations:production": N,
    "observation_bodies:production": N,
    "observations:new": N,
    "observation_bodies:new": N,
    "judgments:new": 2 * N,
    "judgment_bodies:new": 2 * N,
}


def write_experiment(folder: Path, base: str) -> None:
    with (folder / "export.jsonl").open("w", encoding="utf-8") as export:
        for i in range(N):
            request = {"model": "m", "messages": [{"role": "user", "content": f"Question {i}?"}]}
            export.write(
                json.dumps({"id": f"r{i}", "latency_ms": 100, "request": request, "response": "Paris."}) + "\n"
            )
    experiment = {
        "name": "restarted",
        "traffic": {"source": "export.jsonl"},
        "candidates": [{"name": "new", "model": "openai/upstream", "api_base": base, "price": PRICE}],
        "judges": ["exact", "length"],
        "replay": {"concurrency": 8},
        "budget": {"candidates_usd": 5},
        "decision": {"criteria": [{"metric": "coverage", "at_least": N}]},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")


@pytest.mark.parametrize("upstream", [0.06], indirect=True)
def test_a_run_outlives_restarts_of_its_database(upstream, tmp_path, fragile):
    base, log = upstream
    write_experiment(tmp_path, base)
    url = fragile.new_store()

    process = harness(tmp_path, url, "run", "experiment.yaml")
    out, err, restarts = finished(process, fragile, log)

    assert process.returncode == 0, err
    assert restarts >= 3
    result = json.loads(out)
    assert result["verdict"] == "GO"
    assert stored(url, result["run"]) == EXPECTED
    assert len(asked(log)) == N
    assert max(asked(log).values()) == 1, "nothing was asked twice"
    spent, cost, again = money(url, result["run"])
    assert spent == pytest.approx(cost)
    assert again == 0


@pytest.mark.parametrize("upstream", [0.04], indirect=True)
def test_a_worker_outlives_restarts_of_its_database(upstream, tmp_path, fragile):
    base, log = upstream
    live = {
        "name": "live",
        "gateway": {"upstream": "http://127.0.0.1:1"},
        "mirror": {"rate": 1.0},
        "worker": {"look_every_s": 0.5, "in_flight": 4, "deadline_s": 10, "daily_usd": 5},
        "worker_admin": {"port": 0},
        "candidates": [{"name": "new", "model": "openai/upstream", "api_base": base, "price": PRICE}],
        "judges": ["exact", "length"],
        "decision": {"criteria": [{"metric": "coverage", "at_least": N}]},
    }
    (tmp_path / "live.yaml").write_text(yaml.safe_dump(live), encoding="utf-8")
    records = [captured(i) for i in range(N)]
    for number in range(4):
        spool(tmp_path, records[number::4], writer=f"gw{number}")
    url = fragile.new_store()

    process = harness(tmp_path, url, "worker", "live.yaml", "--drain")
    out, err, restarts = finished(process, fragile, log)

    assert process.returncode == 0, err
    assert restarts >= 3
    [arm] = json.loads(out)["arms"]
    assert arm["outcomes"]["completed"] == {"": N}
    assert arm["verdict"] == "GO"
    assert stored(url, "live") == EXPECTED
    assert len(asked(log)) == N
    assert max(asked(log).values()) == 1, "nothing was asked twice"
    spent, cost, again = money(url, "live")
    assert spent == pytest.approx(cost)
    assert again == 0


@pytest.mark.parametrize("upstream", [0.05], indirect=True)
def test_two_signals_end_a_run_whose_database_stays_away(upstream, tmp_path, fragile):
    base, log = upstream
    write_experiment(tmp_path, base)
    url = fragile.new_store()
    process = harness(tmp_path, url, "run", "experiment.yaml")
    deadline = time.monotonic() + 90
    while sum(asked(log).values()) < 30:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "it does not begin"
        time.sleep(0.02)

    fragile._control("-m", "immediate", "stop")
    try:
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=50)
        assert time.monotonic() - begin < 30, "nothing is waited for any more"
    finally:
        fragile.server.ensure_postgres_running()

    assert process.returncode in {4, 130}, err
    assert "Traceback" not in err
    # The same command goes on, and pays again for what was in flight alone.
    out, err = harness(tmp_path, url, "run", "experiment.yaml").communicate(timeout=120)
    assert stored(url, json.loads(out)["run"]) == EXPECTED, err
    assert sum(n - 1 for n in asked(log).values()) <= 3 * 8
