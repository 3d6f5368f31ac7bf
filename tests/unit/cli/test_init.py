"""`harness init --live`."""

import re
from importlib.resources import files

import yaml

from harness.cli import main
from harness.config import is_live, load_experiment, load_live, parse_live


def test_a_live_experiment_to_start_from_is_one_that_loads(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert main(["init", "--live"]) == 0

    assert capsys.readouterr().out == "live.yaml\n"
    live = load_live(tmp_path / "live.yaml")
    assert is_live(tmp_path / "live.yaml")
    assert live.mirror.rate == 0.05
    assert live.spool.folder == str(tmp_path / "spool")


def test_without_the_option_it_is_an_export_that_is_compared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert main(["init"]) == 0
    assert load_experiment(tmp_path / "experiment.yaml").name == "my-first-comparison"


def test_nobodys_work_is_replaced(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "live.yaml").write_text("mine")

    assert main(["init", "--live"]) == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "live.yaml").read_text() == "mine"
    assert main(["init", "--live", "--force"]) == 0


def test_what_the_template_has_in_comments_loads_too():
    """Else whoever takes a comment sign away finds an error."""
    text = files("harness.cli").joinpath("live.yaml").read_text(encoding="utf-8")
    setting = re.compile(r"(?m)^( *)# ((?:  |- )*(?:[a-z_]+:(?: |$)|\{).*)$")

    found = yaml.safe_load(setting.sub(r"\1\2", text))
    live = parse_live(found)

    assert (live.replica.share, len(live.candidates), live.mirror.sticky) == (0.1, 2, "conversation")
    assert [rule.rate for rule in live.mirror.rules] == [0, 1]
    assert (live.worker.breaker.window, live.alerts.latency_ratio) == (20, 2)
