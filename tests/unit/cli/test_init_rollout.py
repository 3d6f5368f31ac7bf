from pathlib import Path

from harness.cli.app import main
from harness.config.rollout import load_rollout, parse_rollout


def test_the_template_says_what_the_defaults_are(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "--rollout"]) == 0
    written = load_rollout(tmp_path / "rollout.yaml")
    given = {name: getattr(written, name) for name in ("name", "candidate")}
    plain = parse_rollout({**given, "live": "live.yaml"}, base=tmp_path)
    assert written == plain


def test_one_template_at_a_time(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "--rollout", "--live"]) == 2
