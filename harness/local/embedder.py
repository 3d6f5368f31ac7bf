"""Sentence embeddings on this machine: the bundled all-MiniLM-L6-v2, or a model of one's own."""

import hashlib
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import ConfigurationError
from harness.local import weights
from harness.local.encoding import Encoder, Vectors, unit
from harness.local.vector_cache import VectorCache

_SHORTEST = 0.75
"""How full a window is at least: so far back a sentence's end is looked for to end the window with."""
_SENTENCE_ENDS = ".!?"
_WIDE_SENTENCE_ENDS = "\u3002\uff01\uff1f"
"""Ends of sentences in scripts that put no space behind them."""
_METHOD = "windows-2"
"""Part of every embedder's name: raise the number when the same texts would get other vectors."""


class SentenceTransformerEmbedder:
    """Cosine similarity from a sentence-transformers model; loads it on first use, safe in several threads.

    A text longer than the model reads is split into windows, between sentences where it can. Its vector is the mean
    of the windows' vectors, each weighted by its number of tokens, scaled to length one; nothing is cut off. An empty
    text has no direction: it is equal to another empty text (1.0) and unlike any other (0.0).
    """

    _slice = 2_048
    """Different texts that are tokenised, sorted by length and embedded together: bounds memory."""

    def __init__(self, model: str | Path, *, cache_file: Path | None = None) -> None:
        self._source = str(model)
        self._cache_file = cache_file
        self._cache: VectorCache | None = None
        self._lock = threading.Lock()
        self._model: Any = None
        self._encoder: Encoder | None = None
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
        rows: dict[str, list[int]] = {}
        for row, text in enumerate(texts):
            rows.setdefault(text, []).append(row)
        distinct = list(rows)
        vectors: Vectors | None = None
        for start in range(0, len(distinct), self._slice):
            part = distinct[start : start + self._slice]
            # One slice at a time: neither tokenizer nor model is safe to share.
            with self._lock:
                known = self._known(part, windows)
            for text in part:
                vector = known[text]
                if vectors is None:
                    vectors = np.zeros((len(texts), len(vector)), dtype=np.float32)
                vectors[rows[text]] = vector
        assert vectors is not None  # noqa: S101  there was a text
        return vectors

    def _known(self, texts: Sequence[str], windows: int | None) -> dict[str, Vectors]:
        """Vectors by text, from the cache or the model; the caller holds the lock."""
        if windows is not None:
            return dict(zip(texts, self._computed(texts, windows), strict=True))
        if self._cache is None:
            self._cache = VectorCache(self.name, file=self._cache_file)
        known = self._cache.get(texts)
        missing = [text for text in texts if text not in known]
        if missing:
            fresh = dict(zip(missing, self._computed(missing, None), strict=True))
            self._cache.put(fresh)
            known |= fresh
        return known

    def _computed(self, texts: Sequence[str], windows: int | None) -> Vectors:
        """One vector per text; the caller holds the lock."""
        model = self._loaded()
        read = self._read([_valid(text) for text in texts], windows)
        flat = [tokens for group in read for tokens, _ in group]
        vectors = np.zeros((len(texts), int(model.get_embedding_dimension())), dtype=np.float32)
        if flat and self._encoder is not None:
            owners = np.repeat(np.arange(len(texts)), [len(group) for group in read])
            lengths = np.array([length for group in read for _, length in group], dtype=np.float32)
            np.add.at(vectors, owners, self._encoder.encode(flat) * lengths[:, None])
        return unit(vectors)

    def _read(self, texts: Sequence[str], windows: int | None) -> list[list[tuple[Sequence[int], int]]]:
        """The windows of each text as tokens, with their weights; the caller holds the lock."""
        tokenizer, most = self._model.tokenizer, self._model.max_seq_length
        # The tokenizer's own file may turn truncation on, which is just what must not happen.
        found = tokenizer(
            list(texts), add_special_tokens=False, truncation=False, return_attention_mask=False,
            return_token_type_ids=False, verbose=False,
        )  # fmt: skip
        before, after = _special(tokenizer)
        read: list[list[tuple[Sequence[int], int]]] = []
        for number, (text, tokens) in enumerate(zip(texts, found["input_ids"], strict=True)):
            cuts = [(0, len(tokens))]
            if not text.strip():
                cuts = []
            elif most is not None and len(tokens) + len(before) + len(after) > most:
                # Half of what the model reads: attention costs less, and models were trained on texts as short as that.
                cuts = _windows(text, found[number].offsets, most // 2 - len(before) - len(after))[:windows]
            read.append([([*before, *tokens[start:end], *after], max(1, end - start)) for start, end in cuts])
        return read

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
            if self._model.default_prompt_name is not None:
                name, self._model = self._model.default_prompt_name, None
                raise ConfigurationError(
                    f"the embedding model {self._source} puts a prompt ({name!r}) before every text, which is not done "
                    "here: answers are compared with answers; name a model without a default prompt"
                )
            self._model.eval()
            self._encoder = Encoder(self._model, pad=self._model.tokenizer.pad_token_id or 0)
        return self._model


class MiniLMEmbedder(SentenceTransformerEmbedder):
    """The default embedder: all-MiniLM-L6-v2 as an installed package carries it, never from the network.

    Raises:
        ConfigurationError: the package is not installed; the message says how to install it.
    """

    def __init__(self, *, cache_file: Path | None = None) -> None:
        super().__init__(weights.MINILM.require(), cache_file=cache_file)
        self._name = f"{weights.MINILM.name}/{_METHOD}"


def _valid(text: str) -> str:
    """Tokenizers refuse lone surrogates, which half an emoji cut off by a length limit leaves behind."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _special(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The tokens that the model wants before and after every text."""
    whole, text = (tokenizer("a", add_special_tokens=special)["input_ids"] for special in (True, False))
    at = next((i for i in range(len(whole)) if whole[i : i + len(text)] == text), None)
    if at is None:
        raise ConfigurationError(
            "the embedding model's tokenizer changes a text by what it puts around it; name another"
        )
    return whole[:at], whole[at + len(text) :]


def _windows(text: str, offsets: Sequence[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Where windows of at most ``size`` tokens begin and end; ``offsets`` say which characters a token stands for."""
    found = []
    start = 0
    while start < len(offsets):
        end = _end(text, offsets, start, start + max(1, size))
        found.append((start, end))
        start = end
    return found


def _end(text: str, offsets: Sequence[tuple[int, int]], start: int, furthest: int) -> int:
    """Where the window from token ``start`` ends: after a sentence, else after a word, else at ``furthest``."""
    if furthest >= len(offsets):
        return len(offsets)
    word = None
    for end in range(furthest, start + int((furthest - start) * _SHORTEST), -1):
        last = text[offsets[end - 1][1] - 1]
        # Some tokenizers leave spaces out, others make them part of the token behind.
        space = text[offsets[end - 1][1] : offsets[end][0] + 1]
        spaced = space[:1].isspace()
        if "\n" in space or (last in _SENTENCE_ENDS and spaced) or last in _WIDE_SENTENCE_ENDS:
            return end
        if spaced and word is None:
            word = end
    return word or furthest


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
