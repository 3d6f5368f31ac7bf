"""`harness publish` and `harness report --against`, from the command line."""

import json
from pathlib import Path

import pytest

import reports
from harness.cli import main
from harness.pipeline.reporting import write_report
from tests.unit.ops.test_alerts import Webhook
from tests.unit.reports import factory, histories


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_NOTIFY_URLS", raising=False)
    for item in histories.weeks(3):
        write_report(item, tmp_path / "runs" / item.run_id)
    return tmp_path


@pytest.fixture
def webhook():
    hook = Webhook()
    yield hook
    hook.server.shutdown()
    hook.server.server_close()


def test_by_id_folder_and_file_with_one_json_document(folder, capsys):
    code = main(
        ["publish", "support-00c4d1", "runs/support-01c4d1", "runs/support-02c4d1/report.json", "--to", "public",
         "--base-url", "https://reports.example/eval/", "--json"]
    )  # fmt: skip
    value = json.loads(capsys.readouterr().out)
    assert code == 0, "a NO_GO that is published is a success"
    assert [run["state"] for run in value["runs"]] == ["published"] * 3
    assert value["runs"][0]["verdict"] == "NO_GO"
    assert value["runs"][2]["report"] == "https://reports.example/eval/support-02c4d1/report.html"
    assert value["runs"][2]["compared"] == "compare/support-01c4d1--support-02c4d1.html"
    assert value["runs"][2]["comparable"] is False
    assert value["index"] == "https://reports.example/eval/index.html"
    assert (folder / "public" / "index.html").is_file()
    assert main(["publish", "support-00c4d1", "--to", "public"]) == 0
    assert capsys.readouterr().out.startswith("unchanged  NO_GO        public/support-00c4d1/report.html\nindex ")


def test_without_runs_the_index_is_written_anew(folder, capsys):
    main(["publish", "support-00c4d1", "--to", "public"])
    (folder / "public" / "index.html").unlink()
    assert main(["publish", "--to", "public"]) == 0
    assert (folder / "public" / "index.html").is_file()


def test_readers_outside_get_no_text_anywhere(folder, capsys):
    write_report(factory.report(), folder / "runs" / "support-3fa9c1d2")
    assert main(["publish", "support-3fa9c1d2", "--to", "public", "--readers", "outside", "--summary", "s.md"]) == 0
    files = [file for file in (folder / "public").rglob("*") if file.is_file()]
    assert len(files) == 7
    for file in [*files, folder / "s.md"]:
        text = file.read_text(encoding="utf-8")
        for secret in ("invoice from March", "req-worst", "exports/2026", "One answer solves", "find_invoice"):
            assert secret not in text, (file.name, secret)


def test_a_summary_for_a_pull_request_goes_to_a_file_or_to_stdout(folder, capsys):
    assert main(["publish", "support-01c4d1", "support-02c4d1", "--to", "public", "--base-url", "https://r.example",
                 "--summary", "out/summary.md"]) == 0  # fmt: skip
    text = (folder / "out" / "summary.md").read_text(encoding="utf-8")
    assert "[Full report](https://r.example/support-02c4d1/report.html)" in text
    assert "[Compared with the run before](https://r.example/compare/support-01c4d1--support-02c4d1.html)" in text
    capsys.readouterr()
    assert main(["publish", "support-02c4d1", "--summary", "-"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("### Shadow Harness: support\n")
    assert "](" not in printed, "no link without an address that readers can open"


def test_a_chat_hears_of_it_once_and_a_chat_that_is_down_fails_nothing(folder, webhook, monkeypatch, capsys):
    monkeypatch.setenv("HARNESS_NOTIFY_URLS", webhook.url)
    command = ["publish", "support-00c4d1", "--to", "public", "--base-url", "https://r.example", "--notify"]
    assert main(command) == 0
    [message] = webhook.messages
    assert message["title"] == "NO_GO: small-model in place of gpt-4o, gpt-4o-mini (support)"
    assert message["type"] == "warning"
    assert "https://r.example/support-00c4d1/report.html" in message["message"]
    assert "Win rate 41.80%, required above 50%: fail" in message["message"]
    assert main(command) == 0
    assert len(webhook.messages) == 1, "what has not changed is no news"
    assert "nobody was told of what had not changed: support-00c4d1" in capsys.readouterr().err

    webhook.status = 500
    assert main(["publish", "support-01c4d1", "--to", "public", "--notify", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["runs"][0]["state"] == "published"
    assert "could not be told of run support-01c4d1; the publication stands" in captured.err
    assert str(webhook.server.server_port) not in captured.err + captured.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["support-00c4d1"], "nothing to do"),
        (["--summary", "x.md"], "name the runs"),
        (["support-00c4d1", "--to", "p", "--readers", "all"], "expected one of inside, outside"),
        (["support-00c4d1", "--to", "p", "--data", "some"], "expected one of none, numbers, all"),
        (["support-00c4d1", "--to", "p", "--base-url", "javascript:x"], "http or https"),
        (["support-00c4d1", "--summary", "-", "--json"], "both write to stdout"),
        (["support-00c4d1", "--notify"], "HARNESS_NOTIFY_URLS is not set"),
        (["support-00c4d1", "--to", "s3://bucket/x"], "pip install s3fs"),
        (["support-00c4d1", "support-00c4d1", "--to", "p"], "is named twice"),
        (["nowhere", "--to", "p"], "no run 'nowhere'"),
        (["nowhere.json", "--to", "p"], "not a readable report.json"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(folder, capsys, arguments, said):
    assert main(["publish", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not (folder / "p").exists()


def test_the_place_and_the_readers_may_come_from_the_environment(folder, monkeypatch, capsys):
    monkeypatch.setenv("HARNESS_PUBLISH_TO", "public")
    monkeypatch.setenv("HARNESS_READERS", "outside")
    assert main(["publish", "support-00c4d1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["readers"] == "outside"


def test_one_run_is_held_against_another_and_the_exit_code_is_0(folder, capsys):
    assert main(["report", "support-02c4d1", "--against", "support-00c4d1"]) == 0
    captured = capsys.readouterr()
    assert "NOT COMPARABLE: They rest on different requests: 1,200 requests of 11,020 from 2026-08-21" in captured.err
    assert captured.out.startswith("small-model: NO_GO -> INCONCLUSIVE; changed: Win rate")
    assert (folder / "runs" / "support-02c4d1" / "comparison.html").is_file()
    assert main(["report", "support-02c4d1", "--against", "runs/support-00c4d1", "-o", "out", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["before"]["verdict"] == "NO_GO"
    assert value["files"] == ["out/comparison.html", "out/comparison.json"]
    saved = json.loads((folder / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert {name: value[name] for name in saved} == saved
    assert main(["report", "support-02c4d1", "--against", "nowhere.json"]) == 2


def test_the_source_stays_as_it_was(folder):
    before = (folder / "runs" / "support-00c4d1" / "report.json").read_bytes()
    assert main(["publish", "support-00c4d1", "--to", "runs"]) == 2
    assert main(["publish", "support-00c4d1", "--to", "public", "--readers", "outside"]) == 0
    assert (folder / "runs" / "support-00c4d1" / "report.json").read_bytes() == before
    assert reports.load_json(before.decode()) == histories.report(0)
