"""Tokens to vectors in batches that waste little on padding, by torch or ONNX Runtime, whichever is faster here."""

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import ConfigurationError

Vectors = NDArray[np.float32]
Tokens = Sequence[int]

BACKEND_ENV = "HARNESS_EMBEDDING_BACKEND"
"""``torch`` or ``onnx`` to fix what else is measured; ``auto`` measures."""
_BUDGET = 4096
"""Tokens of one batch, padding included: bounds memory, and is enough to keep two to sixteen cores busy."""
_WORTH_MEASURING = 512
"""Windows after which the second of building the ONNX model is soon won back."""
_TOLERANCE = 2e-5
"""Farthest that a number of a vector may lie from torch's, else ONNX Runtime is not used."""


class Backend(Protocol):
    """Runs the model over one padded batch."""

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> Vectors:
        """One vector per row, of any length."""


class TorchBackend:
    """All modules of a sentence-transformers model, as they are."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> Vectors:
        """One vector per row."""
        import torch

        features = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        device = self._model.device
        with torch.inference_mode():
            found = self._model({name: tensor.to(device) for name, tensor in features.items()})
        vectors: Vectors = found["sentence_embedding"].float().cpu().numpy()
        return vectors


class OnnxBackend:
    """The same modules as a graph, built in memory from the loaded model; nothing is written to disk."""

    def __init__(self, model: Any) -> None:
        import onnxruntime
        import torch

        class Whole(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = model  # a part of the module, so that its weights are the graph's

            def forward(self, ids: Any, mask: Any) -> Any:
                return self.model({"input_ids": ids, "attention_mask": mask})["sentence_embedding"]

        graph = io.BytesIO()
        # Rows of different length in the example keep the mask in the graph.
        ids, mask = torch.full((2, 16), 7), torch.ones((2, 16), dtype=torch.int64)
        mask[1, 9:] = 0
        axes = {name: {0: "rows", 1: "tokens"} for name in ("ids", "mask")} | {"vectors": {0: "rows"}}
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Whole().eval(), (ids, mask), graph,  # type: ignore[arg-type]  # a stream is taken too
                dynamo=False, opset_version=17, dynamic_axes=axes,
                input_names=["ids", "mask"], output_names=["vectors"],
            )  # fmt: skip
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        # Threads that spin while they wait would take the cores from the tokenizer and the database.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(graph.getvalue(), options, providers=["CPUExecutionProvider"])

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> Vectors:
        """One vector per row."""
        vectors: Vectors = self._session.run(["vectors"], {"ids": ids, "mask": mask})[0]
        return vectors


class Encoder:
    """Encodes token sequences with one loaded model; not safe in several threads.

    Raises:
        ConfigurationError: HARNESS_EMBEDDING_BACKEND names no backend, or one that cannot run this model.
    """

    def __init__(self, model: Any, *, pad: int) -> None:
        self._model = model
        self._pad = pad
        self._wanted = os.environ.get(BACKEND_ENV, "auto")
        if self._wanted not in {"auto", "torch", "onnx"}:
            raise ConfigurationError(f"{BACKEND_ENV} is {self._wanted!r}; it may be auto, torch or onnx")
        self.backend: Backend = TorchBackend(model)
        self._settled = self._wanted == "torch"
        self._seen = 0

    def encode(self, sequences: Sequence[Tokens]) -> Vectors:
        """One vector of length one per sequence, special tokens included in it."""
        self._seen += len(sequences)
        if not self._settled and (self._wanted == "onnx" or self._seen >= _WORTH_MEASURING):
            self._settled = True
            self._settle(sequences)
        found: Vectors | None = None
        for rows in batches([len(tokens) for tokens in sequences]):
            vectors = unit(self.backend.run(*self._padded([sequences[row] for row in rows])))
            if found is None:
                found = np.zeros((len(sequences), vectors.shape[1]), dtype=np.float32)
            found[rows] = vectors
        return np.zeros((0, 0), dtype=np.float32) if found is None else found

    def _padded(self, sequences: Sequence[Tokens]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        longest = max(map(len, sequences))
        ids = np.full((len(sequences), longest), self._pad, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(sequences):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        return ids, mask

    def _settle(self, sequences: Sequence[Tokens]) -> None:
        """Take ONNX Runtime when it gives the same numbers, sooner; else stay with torch."""
        if self._wanted == "auto" and getattr(getattr(self._model, "device", None), "type", "cpu") != "cpu":
            return
        lengths = sorted(range(len(sequences)), key=lambda row: len(sequences[row]))
        example = self._padded([sequences[row] for row in lengths[:: max(1, len(lengths) // 8)][:8]])
        try:
            other = OnnxBackend(self._model)
            apart = float(np.abs(unit(other.run(*example)) - unit(self.backend.run(*example))).max())
        except Exception as error:  # whatever the exporter cannot do, torch still can
            if self._wanted == "onnx":
                raise ConfigurationError(
                    f"the embedding model does not run in ONNX Runtime: {error}; set {BACKEND_ENV}=auto"
                ) from error
            return
        if apart > _TOLERANCE:
            if self._wanted == "onnx":
                raise ConfigurationError(
                    f"the embedding model's vectors in ONNX Runtime differ from torch's by {apart:.1g}; "
                    f"set {BACKEND_ENV}=auto"
                )
            return
        if self._wanted == "onnx" or _seconds(other, example) < _seconds(self.backend, example):
            self.backend = other


def batches(lengths: Sequence[int], *, budget: int = _BUDGET) -> Iterator[list[int]]:
    """Row numbers, longest first, in batches of at most ``budget`` tokens with padding; a longer row is alone."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


def unit(vectors: Vectors) -> Vectors:
    """The rows scaled to length one; zero rows stay."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return scaled


def _seconds(backend: Backend, example: tuple[NDArray[np.int64], NDArray[np.int64]]) -> float:
    """The best of three: on a busy machine the shortest time says most."""
    times = []
    for _ in range(3):
        began = perf_counter()
        backend.run(*example)
        times.append(perf_counter() - began)
    return min(times)
