"""The demo's own experiment, on a few of its requests, end to end against the real local model."""

import json

import pytest

from harness.cli import demo
from harness.cli.run import run_parsed
from harness.models.litellm_client import LitellmClient

pytestmark = [pytest.mark.models, pytest.mark.timeout(900)]


def reduced(base_url, size):
    """The demo's experiment with its first candidate, on ``size`` of its requests."""
    experiment = demo.experiment_at(base_url)
    sample = experiment.traffic.sample.model_copy(update={"size": size, "stratify_by": []})
    traffic = experiment.traffic.model_copy(update={"sample": sample})
    return experiment.model_copy(update={"traffic": traffic, "candidates": experiment.candidates[:1]})


def run(experiment, tmp_path, capsys):
    code = run_parsed(
        experiment,
        run_id=None,
        store=None,
        runs_dir=tmp_path,
        dry_run=False,
        retry_errors=False,
        as_json=True,
        quiet=True,
        command="harness demo",
    )
    return code, json.loads(capsys.readouterr().out)


def test_from_sample_export_to_report_and_again_without_a_call(model_server, tmp_path, capsys, monkeypatch):
    experiment = reduced(model_server.base_url, size=2)
    code, result = run(experiment, tmp_path, capsys)
    assert code in {0, 1, 3}
    assert [decision["arm"] for decision in result["decisions"]] == ["small"]
    html = tmp_path / result["run"] / "report.html"
    assert "</html>" in html.read_text(encoding="utf-8")

    def refuse(*arguments, **options):
        raise AssertionError("a finished call was made again")

    monkeypatch.setattr(LitellmClient, "complete", refuse)
    code_again, again = run(experiment, tmp_path, capsys)
    assert code_again == code
    assert again["run"] == result["run"]
    assert [d["results"] for d in again["decisions"]] == [d["results"] for d in result["decisions"]]
