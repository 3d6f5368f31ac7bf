"""What the requests are about: clusters of their embeddings, found once for the sample and stored as an attribute."""

import asyncio
import hashlib
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.errors import Interrupted
from harness.pipeline import topic_model
from harness.pipeline.session import Session
from harness.store.attributes import last_user_text
from harness.store.prose import without_placeholders

TOPIC = "topic"
NO_TEXT = "no text"
"""The topic of requests whose last user message says nothing that could be read."""

_TASK = "topics"
_READ = 1_000
"""Characters of a request that are read; where they are more than the model takes at once, two windows of them."""
_BATCH = 64
_FOLDER = ".topics-"


async def find_topics(session: Session) -> None:
    """Give every exchange of the sample its ``topic``, once, when the experiment has slices by it.

    Raises:
        Interrupted: somebody asked for the end; what was embedded is kept for the next time.
    """
    if TOPIC in session.experiment.report.slices:
        await asyncio.to_thread(_find, session)


def _find(session: Session) -> None:
    store, run_id, reporter = session.store, session.run_id, session.reporter
    n = store.count_exchanges(run_id)
    if sum(store.attribute_values(run_id, TOPIC).values()) == n:
        return
    needed = 2 * topic_model.SMALLEST
    texts = {item.id: without_placeholders(last_user_text(item.request))[:_READ] for item in store.exchanges(run_id)}
    counts = Counter(text for text in texts.values() if text)
    if counts.total() < needed:
        store.put_attribute(run_id, TOPIC, dict.fromkeys(texts, topic_model.ALL))
        reporter.finish(_TASK, f"{counts.total():,} requests are too few to tell topics apart; it takes {needed}")
        return
    # Long texts first: texts of one length waste no time on padding, and the remaining time is never understated.
    distinct = sorted(counts, key=lambda text: (-len(text), text))
    sizes = [counts[text] for text in distinct]
    vectors, folder = _embedded(session, distinct)
    labels = topic_model.cluster(vectors, sizes).tolist()
    names = topic_model.name(distinct, sizes, labels)
    topic = {text: names[label] for text, label in zip(distinct, labels, strict=True)}
    store.put_attribute(run_id, TOPIC, {id_: topic.get(text, NO_TEXT) for id_, text in texts.items()})
    shutil.rmtree(folder, ignore_errors=True)
    reporter.finish(_TASK, f"{n:,} requests: " + "; ".join(names.values()))


def _embedded(session: Session, texts: Sequence[str]) -> tuple[topic_model.Vectors, Path]:
    """The texts' vectors, and the folder in which each batch is kept until all of them have led to topics."""
    embedder = session.engine.embedder()
    digest = hashlib.sha256("\0".join([embedder.name, str(_BATCH), *texts]).encode()).hexdigest()[:16]
    folder = session.folder / f"{_FOLDER}{digest}"
    for other in session.folder.glob(f"{_FOLDER}*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    session.reporter.start(_TASK, total=len(texts))
    found = []
    for start in range(0, len(texts), _BATCH):
        if session.stop.reason is not None:
            raise Interrupted("interrupted; the same command goes on where it stopped")
        batch = texts[start : start + _BATCH]
        file = folder / f"{start}.npy"
        if not file.exists():
            scratch = file.with_suffix(".tmp")
            with scratch.open("wb") as stream:
                np.save(stream, embedder.embed(batch, windows=2))
            scratch.replace(file)
        found.append(np.load(file))
        session.reporter.update(_TASK, done=start + len(batch))
    return np.concatenate(found), folder
