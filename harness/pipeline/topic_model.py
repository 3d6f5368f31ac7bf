"""Clusters of texts, and words to call them by; the same input gives the same output."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.floating]
Labels = NDArray[np.int64]

MOST = 8
"""Topics at most: more are no longer read, and each is one more comparison made by chance."""
SMALLEST = 200
"""Requests at least in a topic: with fewer, a rate's interval is too wide to say anything."""

_SEED = 0
_STARTS = 4
_WORDS = 3
_LEAST_SHARE = 0.02
"""A word that fewer of a topic's requests use does not name it: it is about them and not about the topic."""
_NAMELESS = "other"
ALL = "all"
"""The one topic of a sample that cannot be told apart."""

_MARKED = (
    "\u0900-\u0dff\u0e00-\u0eff\u064b-\u0652"  # scripts that write vowels as marks, which are no letters to Python
)
_WORD = re.compile(rf"(?<!\w)[^\W\d_](?:[^\W\d_]|[{_MARKED}]){{2,19}}(?![\w'\u2019])")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]{2,}")


def cluster(vectors: Vectors, counts: Sequence[int]) -> Labels:
    """The cluster of every vector, which stands for ``counts`` requests; none smaller than ``SMALLEST``.

    k-means with one cluster for every ``SMALLEST`` requests, ``MOST`` at most; then the smallest cluster joins its
    nearest neighbour until all are large enough, which may leave a single one. Clusters are numbered from the largest.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    weights = np.asarray(counts, dtype=np.float64)
    points = vectors.astype(np.float64)
    distinct = len(np.unique(points.round(4), axis=0))
    k = max(1, min(MOST, int(weights.sum()) // SMALLEST, distinct))
    # In one thread: sums in another order may put a request on a border into the other cluster.
    with threadpool_limits(limits=1):
        found = KMeans(k, n_init=_STARTS, random_state=_SEED).fit(points, sample_weight=weights).labels_
    return _by_size(_joined(points, weights, found.astype(np.int64)), weights)


def _joined(points: Vectors, weights: Vectors, labels: Labels) -> Labels:
    while True:
        present = np.unique(labels)
        sizes = np.array([weights[labels == label].sum() for label in present])
        smallest = int(np.argmin(sizes))
        if len(present) == 1 or sizes[smallest] >= SMALLEST:
            return labels
        centres = np.stack([weights[labels == label] @ points[labels == label] for label in present])
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
        closeness = centres @ centres[smallest]
        closeness[smallest] = -np.inf
        labels = np.where(labels == present[smallest], present[int(np.argmax(closeness))], labels)


def _by_size(labels: Labels, weights: Vectors) -> Labels:
    present = np.unique(labels)
    largest_first = sorted(
        present, key=lambda label: (-weights[labels == label].sum(), int(np.argmax(labels == label)))
    )
    order = {int(label): number for number, label in enumerate(largest_first)}
    return np.array([order[int(label)] for label in labels], dtype=np.int64)


def name(texts: Sequence[str], counts: Sequence[int], labels: Sequence[int]) -> dict[int, str]:
    """A name for every cluster: its three most distinguishing words, lower case, as in ``refund, order, return``.

    A word counts by the share of requests that use it, so nobody gets a word in by repeating it; its weight is that
    share in the cluster times the logarithm of how much larger it is there than in all requests. That is the class
    tf-idf of Grootendorst (2022, BERTopic) with document frequencies, under which a word that is common everywhere
    weighs nothing. Letters only, so a name is inert wherever it is shown. Clusters with the same words get a number,
    and a single cluster is called ``all``.
    """
    everywhere: Counter[str] = Counter()
    within: dict[int, Counter[str]] = {label: Counter() for label in sorted(set(labels))}
    sizes: Counter[int] = Counter()
    for text, count, label in zip(texts, counts, labels, strict=True):
        words = dict.fromkeys(words_of(text), count)
        everywhere.update(words)
        within[label].update(words)
        sizes[label] += count
    if len(within) == 1:
        return dict.fromkeys(within, ALL)
    total = sum(sizes.values())
    names: dict[int, str] = {}
    for label, found in within.items():
        weight = {
            word: used / sizes[label] * math.log(used / sizes[label] / (everywhere[word] / total))
            for word, used in found.items()
            if used >= _LEAST_SHARE * sizes[label] and used * total > everywhere[word] * sizes[label]
        }
        names[label] = _unused(", ".join(_picked(weight)) or _NAMELESS, names.values())
    return names


def _picked(weight: dict[str, float]) -> list[str]:
    """The heaviest words, one of each family such as ``recipe`` and ``recipes``."""
    picked: list[str] = []
    for word in sorted(weight, key=lambda word: (-weight[word], word)):
        if len(picked) == _WORDS:
            break
        if not any(word.startswith(other) or other.startswith(word) for other in picked):
            picked.append(word)
    return picked


def _unused(wanted: str, taken: Iterable[str]) -> str:
    number = 1
    found = wanted
    while found in taken:
        number += 1
        found = f"{wanted} {number}"
    return found


def words_of(text: str) -> Iterator[str]:
    """Words of 3 to 20 letters, lower case, without English stop words; where words have no spaces, character pairs."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    lowered = unicodedata.normalize("NFC", text.lower())
    for run in _UNSPACED.findall(lowered):
        yield from (run[i : i + 2] for i in range(len(run) - 1))
    for word in _WORD.findall(_UNSPACED.sub(" ", lowered)):
        if word not in ENGLISH_STOP_WORDS:
            yield word
