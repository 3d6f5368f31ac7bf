import json
import subprocess
from pathlib import Path

import pytest
import zstandard

from harness.config import Experiment
from harness.errors import InfrastructureError
from harness.pipeline import pair_texts
from harness.pipeline.arms import arms_of
from harness.pipeline.session import Session
from harness.store import Store
from harness.testing import exchange, observation


def session_of(store: Store, folder: Path, **report: object) -> Session:
    experiment = Experiment.model_validate(
        {
            "name": "texts",
            "traffic": {"source": ["traffic.jsonl"]},
            "candidates": [{"name": "small", "model": "openai/small"}, {"name": "tiny", "model": "openai/tiny"}],
            "report": report,
        }
    )
    store.put_exchanges("r1", [(exchange(f"answer {n}", id=f"e{n}"), float(n)) for n in range(3)])
    for arm in arms_of(experiment):
        made = [
            observation(f"said by {n}", exchange_id=f"e{n}", arm=arm.name, fingerprint=arm.fingerprint)
            for n in range(3)
        ]
        store.put_observations("r1", made)
    return Session(experiment=experiment, run_id="r1", store=store, runs_dir=folder)


def read(path: Path) -> list[tuple[str, str]]:
    text = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read().decode()
    assert text.endswith("\n")
    return [(line["arm"], line["exchange_id"]) for line in map(json.loads, text.splitlines())]


EVERY = [(arm, f"e{n}") for arm in ("small", "tiny") for n in range(3)]


def test_every_arm_is_written_and_the_same_again(store, tmp_path):
    session = session_of(store, tmp_path)
    with pair_texts.writing(session, (), tmp_path / "run") as found:
        path = found.wait()
    assert read(path) == EVERY
    first = path.read_bytes()
    with pair_texts.writing(session, (), tmp_path / "run"):
        pass
    assert path.read_bytes() == first
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["pairs.jsonl.zst"]


@pytest.mark.parametrize("size", [1, 700, 1 << 17])
def test_lines_are_whole_whatever_is_written_at_a_time(store, tmp_path, monkeypatch, size):
    monkeypatch.setattr(pair_texts, "_BLOCK_BYTES", size)
    session = session_of(store, tmp_path)
    with pair_texts.writing(session, (), tmp_path) as found:
        assert read(found.wait()) == EVERY


def test_many_are_written_by_a_process_of_its_own(store, tmp_path, monkeypatch):
    monkeypatch.setattr(pair_texts, "MANY", 2)
    session = session_of(store, tmp_path)
    with pair_texts.writing(session, (), tmp_path) as found:
        assert found.process is not None
        assert str(store.url) not in " ".join(found.process.args), "an address may hold a password"
        assert read(found.wait()) == EVERY


def test_a_process_that_fails_says_why(store, tmp_path, monkeypatch):
    monkeypatch.setattr(pair_texts, "MANY", 2)
    session = session_of(store, tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".pairs.jsonl.zst.tmp").mkdir()
    with (
        pair_texts.writing(session, (), tmp_path / "run") as found,
        pytest.raises(InfrastructureError, match=r"pairs\.jsonl\.zst could not be written: .*IsADirectoryError"),
    ):
        found.wait()


def test_a_process_ends_with_what_it_was_started_for(store, tmp_path, monkeypatch):
    monkeypatch.setattr(pair_texts, "MANY", 2)
    session = session_of(store, tmp_path)
    process: list[subprocess.Popen[str]] = []

    def interrupted() -> None:
        with pair_texts.writing(session, (), tmp_path) as found:
            process.append(found.process)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert process[0].poll() is not None


def test_without_text_there_is_no_file_and_an_older_one_goes(store, tmp_path):
    session = session_of(store, tmp_path, show_text=False)
    (tmp_path / pair_texts.FILE).write_bytes(b"older")
    with pair_texts.writing(session, (), tmp_path) as found:
        assert found is None
    assert not (tmp_path / pair_texts.FILE).exists()
