"""However texts are ordered, repeated or batched, their similarity stays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.local.embedder import MiniLMEmbedder

WORDS = st.sampled_from("parcel refund Monday boots ships Norway receipt card 42 late thanks größe 東京 ok".split())  # noqa: SIM905
TEXTS = st.lists(
    st.tuples(st.lists(WORDS, max_size=12), st.sampled_from([1, 1, 1, 4, 40])).map(lambda t: " ".join(t[0] * t[1])),
    min_size=1, max_size=8,
)  # fmt: skip


@pytest.fixture(scope="module")
def reference():
    return MiniLMEmbedder()


@settings(max_examples=25, deadline=None)
@given(texts=TEXTS, data=st.data())
def test_order_duplicates_and_neighbours_change_nothing(reference, texts, data):
    shuffled = data.draw(st.permutations(texts + texts[:3]))
    reference._cache = None
    together = dict(zip(shuffled, reference.embed(shuffled), strict=True))
    for text in texts:
        reference._cache = None
        np.testing.assert_allclose(together[text], reference.embed([text])[0], atol=1e-5)
