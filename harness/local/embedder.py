"""Sentence embeddings on this machine: the bundled all-MiniLM-L6-v2, or a model of one's own."""

import hashlib
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ConfigurationError
from harness.local import weights

Vectors = NDArray[np.float32]

_OVERLAP = 32
"""Tokens that neighbouring windows share, so that a sentence on the border is read whole once."""
_SLACK = 8
"""Tokens kept free in a window: text cut out of a longer one may split into slightly more word pieces."""
_METHOD = "windows-1"
"""Part of every embedder's name: raise the number when the same texts would get other vectors."""


class SentenceTransformerEmbedder:
    """Cosine similarity from a sentence-transformers model; loads it on first use, safe in several threads.

    A text longer than the model reads is split into overlapping windows. Its vector is the mean of the windows'
    vectors, each weighted by its number of tokens, scaled to length one; nothing is cut off. An empty text has no
    direction: it is equal to another empty text (1.0) and unlike any other (0.0).
    """

    def __init__(self, model: str | Path, *, batch_size: int = 32) -> None:
        self._source = str(model)
        self._batch_size = batch_size
        self._lock = threading.Lock()
        self._model: Any = None
        self._name: str | None = None

    @property
    def name(self) -> str:
        """Model name with a hash of its files, part of the fingerprint of every judge that embeds."""
        if self._name is None:
            folder = Path(self._source)
            # A hub name identifies its model; a folder may be filled with anything, so its content counts.
            identity = f"{folder.name}@{_digest(folder)}" if folder.is_dir() else self._source
            self._name = f"{identity}/{_METHOD}"
        return self._name

    def similarity(self, left: Sequence[str], right: Sequence[str]) -> list[float]:
        """Cosine similarity of ``left[i]`` and ``right[i]``, -1 to 1; identical texts give exactly 1.0.

        Raises:
            ConfigurationError: the model cannot be loaded.
            ValueError: the lengths differ.
        """
        pairs = list(zip(left, right, strict=True))
        row = {text: i for i, text in enumerate(dict.fromkeys(t for a, b in pairs if a != b for t in (a, b)))}
        vectors = self.embed(list(row))
        return [1.0 if a == b else float(np.clip(vectors[row[a]] @ vectors[row[b]], -1.0, 1.0)) for a, b in pairs]

    def embed(self, texts: Sequence[str], *, windows: int | None = None) -> Vectors:
        """One vector of length one per text; the zero vector for an empty text.

        Args:
            texts: Read whole, lone surrogates as question marks.
            windows: Read only so many windows from the beginning of each, where the gist is enough.

        Raises:
            ConfigurationError: the model cannot be loaded.
        """
        if not texts:
            return np.zeros((0, 0), dtype=np.float32)
        # One text at a time in the tokenizer and one batch at a time in the model: neither is safe to share.
        with self._lock:
            model = self._loaded()
            read = [_windows(model.tokenizer, _valid(text), model.max_seq_length)[:windows] for text in texts]
            flat = [window for group in read for window, _ in group]
            # encode() sorts by length before it batches, so that short answers are not padded to long ones.
            encoded = model.encode(
                flat,
                batch_size=self._batch_size,
                normalize_embeddings=True,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
            dimension = int(model.get_embedding_dimension())
        vectors = np.zeros((len(texts), dimension), dtype=np.float32)
        owners = np.repeat(np.arange(len(texts)), [len(group) for group in read])
        lengths = np.array([length for group in read for _, length in group], dtype=np.float32)
        if flat:
            np.add.at(vectors, owners, np.asarray(encoded, dtype=np.float32) * lengths[:, None])
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: Vectors = np.divide(vectors, norms, out=vectors, where=norms > 0)
        return unit

    def _loaded(self) -> Any:
        """The model; the caller holds the lock."""
        if self._model is None:
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging

            logging.disable_progress_bar()  # type: ignore[no-untyped-call]
            try:
                self._model = SentenceTransformer(self._source, local_files_only=Path(self._source).is_dir())
            except (OSError, ValueError) as error:
                raise ConfigurationError(f"the embedding model {self._source} cannot be loaded: {error}") from error
        return self._model


class MiniLMEmbedder(SentenceTransformerEmbedder):
    """The default embedder: all-MiniLM-L6-v2 as an installed package carries it, never from the network.

    Raises:
        ConfigurationError: the package is not installed; the message says how to install it.
    """

    def __init__(self, *, batch_size: int = 32) -> None:
        super().__init__(weights.MINILM.require(), batch_size=batch_size)
        self._name = f"{weights.MINILM.name}/{_METHOD}"


def _valid(text: str) -> str:
    """Tokenizers refuse lone surrogates, which half an emoji cut off by a length limit leaves behind."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _windows(tokenizer: Any, text: str, max_tokens: int | None) -> list[tuple[str, int]]:
    """Parts of ``text`` that each fit the model, with their numbers of tokens; none for an empty text."""
    if not text.strip():
        return []
    # The tokenizer's own file turns truncation on, which is just what must not happen.
    encoding = tokenizer(
        text, add_special_tokens=False, truncation=False, return_offsets_mapping=True, return_attention_mask=False,
        verbose=False,
    )  # fmt: skip
    offsets: list[tuple[int, int]] = encoding["offset_mapping"]
    special: int = tokenizer.num_special_tokens_to_add()
    if max_tokens is None or len(offsets) + special <= max_tokens:
        return [(text, max(1, len(offsets)))]
    size = max(1, max_tokens - special - _SLACK)
    step = max(1, size - _OVERLAP)
    starts = range(0, max(1, len(offsets) - _OVERLAP), step)
    return [
        (text[offsets[s][0] : offsets[min(s + size, len(offsets)) - 1][1]], len(offsets[s : s + size])) for s in starts
    ]


def _digest(folder: Path) -> str:
    """First 12 hex digits over names, sizes and first megabytes of a model's files."""
    digest = hashlib.sha256()
    for file in _files(folder):
        digest.update(f"{file.relative_to(folder)}:{file.stat().st_size}\n".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(1 << 20))
    return digest.hexdigest()[:12]


def _files(folder: Path) -> Iterable[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
