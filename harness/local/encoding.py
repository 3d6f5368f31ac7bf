"""Tokens to vectors in batches that waste little on padding, by torch or ONNX Runtime, whichever is faster here."""

import contextlib
import io
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import ConfigurationError

Vectors = NDArray[np.float32]
Tokens = Sequence[int]
Batch = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Token numbers and mask, both rows x tokens, padded to the longest row."""

BACKEND_ENV = "HARNESS_EMBEDDING_BACKEND"
"""``torch`` or ``onnx`` to fix what else is measured; ``auto`` measures."""
_BUDGET = 512
"""Tokens of one batch per core, padding included: what a layer makes of so many stays in the core's caches."""
_GPU_BUDGET = 16_384
"""Tokens of one batch for a graphics card, which is slow in small ones."""
_WORTH_MEASURING = 512
"""Windows after which the second of building the ONNX model is soon won back."""
_TOLERANCE = 2e-5
"""Farthest that a number of a vector may lie from torch's, else ONNX Runtime is not used."""


class Backend(Protocol):
    """Runs the model over padded batches."""

    @property
    def budget(self) -> int:
        """Tokens of one batch, padding included."""

    def run(self, parts: Iterable[Batch]) -> Iterator[Vectors]:
        """For each batch, in order: one vector per row, of any length."""


class TorchBackend:
    """All modules of a sentence-transformers model, as they are."""

    def __init__(self, model: Any) -> None:
        self._model = model

    @property
    def budget(self) -> int:
        """Grows with the cores, which torch sets on one batch together."""
        import torch

        on_cpu = getattr(getattr(self._model, "device", None), "type", "cpu") == "cpu"
        return _BUDGET * torch.get_num_threads() if on_cpu else _GPU_BUDGET

    def run(self, parts: Iterable[Batch]) -> Iterator[Vectors]:
        """One vector per row."""
        import torch

        device = self._model.device
        for ids, mask in parts:
            features = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
            with torch.inference_mode():
                found = self._model({name: tensor.to(device) for name, tensor in features.items()})
            vectors: Vectors = found["sentence_embedding"].float().cpu().numpy()
            yield vectors


class OnnxBackend:
    """The same modules as a graph, built in memory from the loaded model; nothing is written to disk.

    Every core works on a batch of its own: cores that share one wait for each other in every layer.
    """

    budget = _BUDGET

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
        with warnings.catch_warnings(), torch.no_grad(), _plain_attention(model):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Whole().eval(), (ids, mask), graph,  # type: ignore[arg-type]  # a stream is taken too
                dynamo=False, opset_version=17, dynamic_axes=axes,
                input_names=["ids", "mask"], output_names=["vectors"],
            )  # fmt: skip
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(graph.getvalue(), options, providers=["CPUExecutionProvider"])
        self._cores = torch.get_num_threads()

    def run(self, parts: Iterable[Batch]) -> Iterator[Vectors]:
        """One vector per row."""
        with ThreadPoolExecutor(self._cores, thread_name_prefix="embedding") as pool:
            yield from pool.map(self._vectors, parts)

    def _vectors(self, batch: Batch) -> Vectors:
        ids, mask = batch
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
        # Texts that differ in what the model does not see, as in white space, are the same to it.
        place: dict[tuple[int, ...], int] = {}
        places = [place.setdefault(tuple(tokens), len(place)) for tokens in sequences]
        different = list(place)
        grouped = list(batches([len(tokens) for tokens in different], budget=self.backend.budget))
        parts = (self._padded([different[row] for row in rows]) for rows in grouped)
        for rows, vectors in zip(grouped, self.backend.run(parts), strict=True):
            if found is None:
                found = np.zeros((len(different), vectors.shape[1]), dtype=np.float32)
            found[rows] = unit(vectors)
        return np.zeros((0, 0), dtype=np.float32) if found is None else found[places]

    def _padded(self, sequences: Sequence[Tokens]) -> Batch:
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
            theirs, ours = (unit(next(backend.run([example]))) for backend in (other, self.backend))
            apart = float(np.abs(theirs - ours).max())
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


def batches(lengths: Sequence[int], *, budget: int) -> Iterator[list[int]]:
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


def _seconds(backend: Backend, example: Batch) -> float:
    """The best of three, with work for all cores: on a busy machine the shortest time says most."""
    work = [example] * 2 * (os.cpu_count() or 1)
    times = []
    for _ in range(3):
        began = perf_counter()
        for _ in backend.run(work):
            pass
        times.append(perf_counter() - began)
    return min(times)


@contextlib.contextmanager
def _plain_attention(model: Any) -> Iterator[None]:
    """Attention written out step by step, which ONNX Runtime runs quicker than the graph of torch's own function."""
    inner: Any = getattr(model[0], "auto_model", None)
    before = getattr(getattr(inner, "config", None), "_attn_implementation", None)
    if before is None:
        yield
        return
    inner.set_attn_implementation("eager")
    try:
        yield
    finally:
        inner.set_attn_implementation(before)
