"""Vectors by content: what is kept, what goes, and that nothing depends on the file."""

import subprocess
import sys

import numpy as np

from harness.local.embedder import MiniLMEmbedder
from harness.local.vector_cache import VectorCache


def vector(number):
    return np.full(4, number, dtype=np.float32)


def test_another_process_finds_what_was_kept_without_the_texts(tmp_path):
    file = tmp_path / "runs" / "embeddings.db"
    VectorCache("model", file=file).put({"my phone is 555": vector(1)})
    found = VectorCache("model", file=file).get(["my phone is 555", "never seen"])
    assert list(found) == ["my phone is 555"]
    np.testing.assert_array_equal(found["my phone is 555"], vector(1))
    assert b"555" not in b"".join(part.read_bytes() for part in file.parent.iterdir())
    assert file.stat().st_mode & 0o077 == 0


def test_vectors_of_another_model_are_not_mixed_in(tmp_path):
    file = tmp_path / "embeddings.db"
    VectorCache("one", file=file).put({"text": vector(1)})
    assert VectorCache("two", file=file).get(["text"]) == {}


def test_memory_keeps_the_most_recently_used():
    cache = VectorCache("model", memory=2 * vector(0).nbytes)
    cache.put({"a": vector(1), "b": vector(2)})
    cache.get(["a"])
    cache.put({"c": vector(3)})
    assert set(cache.get(["a", "b", "c"])) == {"a", "c"}


def test_the_file_keeps_the_newest_within_its_size(tmp_path):
    file = tmp_path / "embeddings.db"
    cache = VectorCache("model", file=file, disk=3 * (vector(0).nbytes + 64))
    for number in range(6):
        cache.put({f"text {number}": vector(number)})
    found = VectorCache("model", file=file).get([f"text {number}" for number in range(6)])
    assert set(found) == {"text 3", "text 4", "text 5"}


def test_several_processes_write_one_file_and_lose_nothing(tmp_path):
    file = tmp_path / "embeddings.db"
    program = (
        "import sys, numpy as np; from harness.local.vector_cache import VectorCache\n"
        "cache = VectorCache('model', file=__import__('pathlib').Path(sys.argv[1]))\n"
        "for n in range(40): cache.put({f'{sys.argv[2]}-{n}': np.full(4, n, dtype=np.float32), f'shared-{n}':"
        " np.full(4, n, dtype=np.float32)})\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, str(file), str(own)]) for own in range(3)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    names = [f"{own}-{n}" for own in (0, 1, 2, "shared") for n in range(40)]
    found = VectorCache("model", file=file).get(names)
    assert {name: float(each[0]) for name, each in found.items()} == {name: float(name.split("-")[1]) for name in names}


def test_a_broken_file_costs_time_and_nothing_else(tmp_path):
    file = tmp_path / "embeddings.db"
    file.write_bytes(b"no database at all" * 100)
    cache = VectorCache("model", file=file)
    cache.put({"text": vector(1)})
    assert set(cache.get(["text", "other"])) == {"text"}


def test_a_further_candidate_has_production_embedded_no_more(tmp_path, monkeypatch):
    file = tmp_path / "embeddings.db"
    first = MiniLMEmbedder(cache_file=file)
    before = first.similarity(["It arrives on Monday."], ["Monday."])
    again = MiniLMEmbedder(cache_file=file)
    computed = []
    compute = again._computed
    monkeypatch.setattr(again, "_computed", lambda texts, windows: computed.extend(texts) or compute(texts, windows))
    again.similarity(["It arrives on Monday."], ["On Tuesday."])
    assert computed == ["On Tuesday."]
    assert again.similarity(["It arrives on Monday."], ["Monday."]) == before
