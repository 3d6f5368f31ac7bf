"""The seam between deciding about calls, which stays in one process, and making them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from harness.judging.protocol import Embedder
from harness.local.encoding import Vectors
from harness.models.factory import AttemptClient

Tell = Callable[[str], None]
"""Told what the reader should know although the run goes on."""


class TextEmbedder(Embedder, Protocol):
    """An embedder that also gives the vectors themselves."""

    def embed(self, texts: Sequence[str], *, windows: int | None = None) -> Vectors:
        """One vector of length one per text; of its first ``windows`` windows only, where the gist is enough."""
        ...


class Engine(Protocol):
    """Makes single attempts and embeds; knows nothing of retries, limits, budgets or the store."""

    @property
    def name(self) -> str:
        """``local`` or ``ray``."""
        ...

    def attempts(self, tell: Tell) -> AttemptClient:
        """A client that asks once, somewhere; close it when done. ``tell`` hears of processes that were lost."""
        ...

    def embedder(self, cache_file: Path | None = None) -> TextEmbedder:
        """The default embedder, wherever it computes; its name is the same in every engine.

        Vectors are kept in ``cache_file``, and taken from there.
        """
        ...

    def close(self) -> None:
        """End every process the engine started."""
        ...
