"""Batches by tokens, and both backends with the real model: the same numbers."""

import numpy as np
import pytest

from harness.errors import ConfigurationError
from harness.local import encoding
from harness.local.embedder import MiniLMEmbedder
from harness.local.encoding import BACKEND_ENV, Encoder, OnnxBackend, TorchBackend, batches, unit

TEXTS = [("Our boots carry a two-year warranty. " * n).strip() + f" Order {n}." for n in (1, 2, 5, 11, 30, 90)]


def test_batches_hold_every_row_once_within_the_budget():
    lengths = [3, 250, 7, 7, 900, 1, 120, 64]
    found = list(batches(lengths, budget=256))
    assert sorted(row for batch in found for row in batch) == list(range(8))
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= 256
    assert found[0] == [4]


def test_a_zero_vector_stays_zero():
    np.testing.assert_allclose(unit(np.array([[3, 4], [0, 0]], dtype=np.float32)), [[0.6, 0.8], [0, 0]])


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_every_backend_gives_the_numbers_of_plain_encode(monkeypatch, backend):
    monkeypatch.setenv(BACKEND_ENV, backend)
    embedder = MiniLMEmbedder()
    short = TEXTS[:4]  # plain encode() cuts longer ones off
    found = embedder.embed(short)
    wanted = {"torch": TorchBackend, "onnx": OnnxBackend}[backend]
    assert isinstance(embedder._encoder.backend, wanted)
    plain = embedder._model.encode(short, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(found @ found.T, plain @ plain.T, atol=1e-5)


def test_much_to_embed_is_measured_and_the_faster_backend_taken(monkeypatch):
    monkeypatch.delenv(BACKEND_ENV, raising=False)
    monkeypatch.setattr(encoding, "_WORTH_MEASURING", 4)
    monkeypatch.setattr(encoding, "_seconds", lambda backend, _: 1.0 if isinstance(backend, OnnxBackend) else 2.0)
    embedder = MiniLMEmbedder()
    embedder.embed(TEXTS[:1])
    assert isinstance(embedder._encoder.backend, TorchBackend)
    embedder.embed(TEXTS[1:])
    assert isinstance(embedder._encoder.backend, OnnxBackend)


def test_a_backend_with_other_numbers_is_not_taken(monkeypatch):
    monkeypatch.delenv(BACKEND_ENV, raising=False)
    monkeypatch.setattr(encoding, "_WORTH_MEASURING", 1)
    monkeypatch.setattr(OnnxBackend, "__init__", lambda self, model: None)
    monkeypatch.setattr(
        OnnxBackend, "run", lambda self, parts: iter([np.ones((len(ids), 384), dtype=np.float32) for ids, _ in parts])
    )
    embedder = MiniLMEmbedder()
    embedder.embed(TEXTS[:3])
    assert isinstance(embedder._encoder.backend, TorchBackend)


def test_texts_that_are_the_same_to_the_model_are_read_once(monkeypatch):
    monkeypatch.setenv(BACKEND_ENV, "torch")
    embedder = MiniLMEmbedder()
    embedder.embed(["load"])
    rows = []
    run = embedder._encoder.backend.run
    monkeypatch.setattr(
        embedder._encoder.backend, "run", lambda parts: run([part for part in parts if not rows.append(len(part[0]))])
    )
    found = embedder.embed(["Paris is nice.", "paris  is nice.\n", "PARIS IS NICE.", "Rome is nice."])
    assert sum(rows) == 2
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    assert not np.allclose(found[0], found[3])


def test_an_unknown_backend_is_refused(monkeypatch):
    monkeypatch.setenv(BACKEND_ENV, "abacus")
    with pytest.raises(ConfigurationError, match="auto, torch or onnx"):
        Encoder(object(), pad=0)
