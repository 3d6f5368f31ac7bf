"""`harness db`, as an operator uses it: on a run that the command line made, in a folder of its own."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml
import zstandard

from harness.cli import main
from harness.store import Store, retention, tables

N = 40
MAIL = "ann@example.com"


def line(i: int, text: str, **fields: object) -> str:
    at = datetime.now(UTC) - timedelta(days=i)
    record = {
        "id": f"e{i}",
        "created_at": at.isoformat(),
        "user": MAIL if i % 4 == 0 else f"user-{i % 4}",
        "request": {"model": "gpt-4o", "messages": [{"role": "user", "content": f"Secret question {i}?"}]},
        "response": {
            "model": "gpt-4o",
            "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        },
        "latency_ms": 100.0,
    }
    return json.dumps(record | fields)


@pytest.fixture
def run_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HARNESS_")]:
        monkeypatch.delenv(name)
    (tmp_path / "export.jsonl").write_text("\n".join(line(i, f"answer {i}") for i in range(N)), encoding="utf-8")
    (tmp_path / "new.jsonl").write_text(
        "\n".join(line(i, f"answer {i}" if i % 10 else f"other {i}") for i in range(N)), encoding="utf-8"
    )
    experiment = {
        "name": "kept",
        "traffic": {"source": "export.jsonl"},
        "candidates": [{"name": "new", "responses": "new.jsonl"}],
        "judges": ["exact"],
        "decision": {"criteria": [{"metric": "exact_match", "above": 0.5}]},
        "retention": {"texts_days": 35, "numbers_days": 38},
    }
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")
    main(["run", "e.yaml", "--quiet", "--json"])
    found: str = json.loads(capsys.readouterr().out)["run"]
    return found


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> object:
    assert main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_user_is_forgotten_in_the_store_and_in_every_file(run_id, tmp_path, capsys):
    folder = tmp_path / "runs" / run_id
    with Store.open(f"sqlite:///{tmp_path}/runs/harness.db") as store:
        users = {exchange.id: exchange.user for exchange in store.exchanges(run_id)}
    # Redaction was at work: the store does not know the address.
    assert MAIL not in users.values()

    planned = told(capsys, "db", "delete", "--user-id", MAIL, "--dry-run")
    assert planned["planned"][0]["exchanges"] == 10
    assert {Path(file).name for file in planned["planned"][0]["files"]} >= {
        "report.html", "report.json", "pairs.jsonl.zst", "pairs.parquet",
    }  # fmt: skip
    assert (folder / "report.html").exists()

    vectors = tmp_path / "runs" / "embeddings.db"
    vectors.touch()
    assert main(["db", "delete", "--user-id", MAIL, "--yes"]) == 0
    assert not vectors.exists()
    said = capsys.readouterr()
    assert "redaction replaced this user id" in said.err
    assert not (folder / "report.html").exists()
    assert not (folder / "pairs.jsonl.zst").exists()

    assert main(["db", "delete", "--user-id", MAIL, "--yes"]) == 0
    assert "no exchange of this user was found" in capsys.readouterr().err
    assert told(capsys, "db", "check", "--all") == []

    # A report and a decision from now on say what they lack.
    assert main(["report", run_id, "--quiet"]) == 0
    capsys.readouterr()
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert report["candidates"][0]["funnel"]["sampled"] == 30
    assert any("10 exchanges were deleted on" in warning for warning in report["warnings"])
    assert "10 exchanges were deleted on" in (folder / "report.html").read_text(encoding="utf-8")
    main(["decide", "e.yaml", "--quiet", "--json"])
    capsys.readouterr()
    with Store.open(f"sqlite:///{tmp_path}/runs/harness.db") as store:
        decided = store.decisions(run_id)
    assert "reduced" not in decided[0].decision
    assert decided[-1].decision["reduced"][0]["n_exchanges"] == 10
    words = zstandard.ZstdDecompressor().stream_reader((folder / "pairs.jsonl.zst").read_bytes()).read().decode()
    assert "Secret question 1?" in words
    assert "Secret question 4?" not in words


def test_numbers_outlive_their_texts_and_can_be_decided_on(run_id, tmp_path, capsys):
    before = told(capsys, "decide", "e.yaml", "--quiet", code=main_code(capsys))

    assert main(["db", "delete", "--older-than", "20d", "--bodies-only", "--yes"]) == 0
    capsys.readouterr()
    after = told(capsys, "decide", "e.yaml", "--quiet", code=main_code(capsys))

    def numbers(result):
        return result["arms"] if "arms" in result else result["decisions"]

    assert numbers(after) == numbers(before)
    report = json.loads((tmp_path / "runs" / run_id / "report.json").read_text(encoding="utf-8"))
    assert report["candidates"][0]["funnel"]["sampled"] == N
    assert any("texts of 20 exchanges were deleted on" in warning for warning in report["warnings"])
    assert main(["db", "check"]) == 0
    # Asking, judging and labelling go on with what is left, and say so.
    assert main(["replay", "e.yaml"]) == 0
    assert "texts of 20 exchanges were deleted on" in capsys.readouterr().err


def main_code(capsys) -> int:
    code = main(["decide", "e.yaml", "--quiet"])
    capsys.readouterr()
    return code


def test_the_policy_of_the_experiment_is_applied(run_id, tmp_path, capsys):
    deleted = told(capsys, "db", "delete", "--apply-policy", "--yes")
    assert sorted(item["what"] for item in deleted["planned"]) == ["exchanges", "texts"]
    with Store.open(f"sqlite:///{tmp_path}/runs/harness.db") as store:
        assert store.count_exchanges(run_id) == 38
        assert len(list(store.exchanges(run_id))) == 35
    assert told(capsys, "db", "delete", "--apply-policy", "--yes")["planned"] == []


def test_a_run_under_way_is_left_alone_unless_forced(run_id, tmp_path, capsys):
    import fcntl

    with (tmp_path / "runs" / run_id / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        skipped = told(capsys, "db", "delete", "--older-than", "20d", "--yes")
        assert skipped["deleted"] == {}
        assert "under way" in skipped["planned"][0]["skipped"]
        assert main(["db", "delete", "--user-id", MAIL, "--yes"]) == 2
        assert "nothing was deleted" in capsys.readouterr().err
        assert told(capsys, "db", "delete", "--older-than", "20d", "--yes", "--force")["deleted"] == {run_id: 20}
    assert told(capsys, "db", "delete", "--strays", "--yes") == {
        "deleted": {}, "runless": {}, "dry_run": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--older-than", "20"],
        ["--older-than", "20d", "--user-id", "x"],
        ["--user-id", "x", "--bodies-only"],
        ["--user-id", " "],
        ["--older-than", "20d", "--run", "nosuch"],
    ],
)
def test_a_deletion_that_is_not_clear_is_refused(run_id, capsys, arguments):
    assert main(["db", "delete", *arguments, "--yes"]) == 2


def test_the_store_is_measured_copied_put_back_exported_and_vacuumed(run_id, tmp_path, capsys):
    assert main(["db", "size"]) == 0
    assert "observation_bodies" in capsys.readouterr().out
    sizes = told(capsys, "db", "size")
    assert sizes["runs"][0]["run_id"] == run_id
    assert {item["table"] for item in sizes["tables"]} >= set(tables.metadata.tables)

    assert main(["db", "backup", "monday.db"]) == 0
    assert main(["runs", "delete", run_id, "--yes"]) == 0
    assert main(["db", "restore", "monday.db"]) == 2
    assert main(["db", "restore", "monday.db", "--overwrite"]) == 0
    capsys.readouterr()
    # The same command finds everything done.
    result = told(capsys, "run", "e.yaml", "--quiet", code=main_code(capsys))
    assert result["run"] == run_id

    assert main(["db", "export", "--run", run_id, "--to", "out", "--texts"]) == 0
    assert (tmp_path / "out" / "observation_bodies.parquet").exists()
    assert main(["db", "export", "--run", run_id, "--to", "out2", "--format", "csv"]) == 2
    assert main(["db", "vacuum"]) == 0
    assert "given back" in capsys.readouterr().out


def test_migrating_says_what_it_would_do(run_id, tmp_path, capsys):
    assert told(capsys, "db", "migrate", "--check")["pending"] == []
    url = f"sqlite:///{tmp_path}/runs/harness.db"
    with Store.open(url) as store, store.database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE batch_items")
        connection.exec_driver_sql("DROP TABLE batches")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0007'")
    assert main(["db", "migrate", "--check"]) == 1
    assert "to do: 0008" in capsys.readouterr().out
    assert main(["db", "migrate"]) == 0
    assert "migrated from 0007 to 0008" in capsys.readouterr().out
    with Store.open(url) as store, store.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert main(["db", "migrate", "--check"]) == 4
    assert "newer version" in capsys.readouterr().err


def test_damage_is_reported_with_the_code_of_a_finding(run_id, tmp_path, capsys):
    with Store.open(f"sqlite:///{tmp_path}/runs/harness.db") as store, store.database.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM exchange_bodies WHERE exchange_id IN ('e3', 'e5')")
    assert main(["db", "check"]) == 1
    said = capsys.readouterr().out
    assert f"missing_body: run {run_id}: 2 ×" in said
    assert "exchange_id=e3" in said
    assert "1 findings" in said


def test_a_file_that_is_no_store_any_more_is_put_right_by_what_the_error_says(run_id, tmp_path, capsys):
    path = tmp_path / "runs" / "harness.db"
    assert main(["db", "backup", "monday.db"]) == 0
    path.write_bytes(b"\0" * 100 + path.read_bytes()[100:])
    for command in (["db", "check"], ["runs", "list"], ["run", "e.yaml", "--quiet"]):
        assert main(command) == 4
        assert "put a backup in its place (`harness db restore FILE --overwrite`)" in capsys.readouterr().err
    assert main(["db", "restore", "monday.db", "--overwrite"]) == 0
    assert "harness.db.damaged-1" in capsys.readouterr().err
    assert main(["db", "check", "--all"]) == 0
    assert path.with_name("harness.db.damaged-1").exists()


def test_what_a_removed_run_s_worker_stored_is_found_and_goes(run_id, tmp_path, capsys):
    with Store.open(f"sqlite:///{tmp_path}/runs/harness.db") as store, store.database.engine.begin() as connection:
        n = sum(
            connection.execute(sa.select(sa.func.count()).where(table.c.run_id == run_id)).scalar_one()
            for table in retention.OF_RUNS
        )
        connection.execute(sa.delete(tables.runs))
    assert main(["db", "check"]) == 1
    assert "`harness db delete --strays` removes them" in capsys.readouterr().out
    looked = told(capsys, "db", "delete", "--strays", "--dry-run")
    assert looked == {"strays": {}, "runless": {run_id: n}, "dry_run": True}
    assert main(["db", "delete", "--strays", "--yes"]) == 0
    assert f"{n} rows of runs that are not in the store ({run_id}): done" in capsys.readouterr().out
    assert main(["db", "check"]) == 0


@pytest.mark.parametrize(
    ("damage", "command"),
    [
        ("DELETE FROM observations WHERE exchange_id = 'e3' AND arm = 'new'", "harness run"),
        ("DELETE FROM judgments WHERE exchange_id = 'e3'", "harness run"),
        ("DELETE FROM decisions", "harness decide"),
        ("DELETE FROM ingest_reports", "harness ingest"),
        ("INSERT INTO exchange_attributes SELECT run_id, 'gone', 'tag', 'x' FROM runs", "harness db delete --strays"),
    ],
)
def test_what_a_finding_says_to_do_mends_it(run_id, tmp_path, capsys, damage, command):
    with Store.open(f"sqlite:///{tmp_path}/runs/harness.db") as store, store.database.engine.begin() as connection:
        connection.exec_driver_sql(damage)
    findings = told(capsys, "db", "check", code=1)
    assert any(f"`{command}`" in finding["todo"] for finding in findings)
    words = command.split()[1:]
    assert main([*words, "--yes"] if words[0] == "db" else [*words, "e.yaml"]) == 0
    capsys.readouterr()
    assert told(capsys, "db", "check") == []
