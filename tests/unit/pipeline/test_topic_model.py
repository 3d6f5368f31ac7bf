"""Clusters and their names, from vectors and texts made by hand."""

import numpy as np
import pytest

from harness.pipeline import topic_model
from harness.pipeline.topic_model import cluster, name, words_of


def around(*sizes: int) -> np.ndarray:
    """Unit vectors about one axis per size."""
    rng = np.random.default_rng(1)
    points = np.concatenate([np.eye(8)[axis] + 0.05 * rng.normal(size=(n, 8)) for axis, n in enumerate(sizes)])
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def sizes(labels) -> list[int]:
    return np.bincount(labels).tolist()


def test_clusters_are_numbered_from_the_largest():
    assert cluster(around(210, 390), [1] * 600).tolist() == [1] * 210 + [0] * 390
    found = sizes(cluster(around(250, 700, 400), [1] * 1350))
    assert found == sorted(found, reverse=True)


def test_a_cluster_below_the_floor_joins_its_neighbour():
    labels = cluster(around(500, 500, 60), [1] * 1060)
    assert min(sizes(labels)) >= topic_model.SMALLEST
    assert sum(sizes(labels)) == 1060


def test_a_text_that_was_sent_often_counts_as_often():
    points = np.eye(8)[:3]
    assert cluster(points, [300, 250, 900]).tolist() == [1, 2, 0]
    assert cluster(points, [300, 1, 900]).tolist()[0] == 1


@pytest.mark.parametrize("n", [1, 199, 399])
def test_what_is_too_little_for_two_is_one(n):
    assert set(cluster(around(n), [1] * n).tolist()) == {0}


def test_texts_that_are_all_alike_are_one():
    assert set(cluster(np.tile(np.eye(8)[0], (2_000, 1)), [1] * 2_000).tolist()) == {0}


def test_never_more_than_can_be_read():
    labels = cluster(np.tile(np.eye(12), (300, 1)), [1] * 3_600)
    assert len(set(labels.tolist())) <= topic_model.MOST


def test_the_same_input_gives_the_same_clusters():
    points = np.random.default_rng(0).normal(size=(3_000, 16))
    assert cluster(points, [1] * 3_000).tolist() == cluster(points, [1] * 3_000).tolist()


REFUNDS = ["Please refund the order, I will return the shoes"] * 10
RECIPES = ["Please find a recipe with rice and beans, an easy recipe"] * 10


def named(*groups: list[str]) -> dict[int, str]:
    texts = [text for group in groups for text in group]
    labels = [label for label, group in enumerate(groups) for _ in group]
    return name(texts, [1] * len(texts), labels)


def test_a_topic_is_called_by_the_words_it_does_not_share():
    assert named(REFUNDS, RECIPES) == {0: "order, refund, return", 1: "beans, easy, recipe"}


def test_one_topic_for_all_says_so():
    assert named(REFUNDS) == {0: "all"}


def test_topics_with_the_same_words_get_a_number():
    assert list(named(REFUNDS, REFUNDS[:5], RECIPES, ["1 2"], ["3"]).values()) == [
        "order, refund, return", "order, refund, return 2", "beans, easy, recipe", "other", "other 2",
    ]  # fmt: skip


def test_repeating_a_word_does_not_push_it_into_a_name():
    shouting = [*REFUNDS * 10, "pwned " * 10_000]
    assert named(shouting, RECIPES)[0] == "order, refund, return"


def test_a_word_and_its_plural_count_as_one():
    texts = ["recipe recipes dinner supper"] * 5
    assert named(texts, REFUNDS)[0] == "dinner, recipe, supper"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Where's MY Refund, please? I don't know", ["refund", "know"]),
        ("<script>alert('x')</script>", ["script", "alert", "script"]),
        ("\u202eevil\x1b[31mred\x00", ["evil"]),
        ("Größe über Straße", ["größe", "über", "straße"]),
        ("cafe\u0301 menu", ["café", "menu"]),
        ("पासवर्ड भूल", ["पासवर्ड", "भूल"]),
        ("退款订单", ["退款", "款订", "订单"]),
        ("注文のキャンセル", ["注文", "文の", "のキ", "キャ", "ャン", "ンセ", "セル"]),
        ("abc123 x_y 42 " + "z" * 40, []),
    ],
)
def test_words_are_letters_in_lower_case(text, words):
    assert [word for word in words_of(text) if word != "please"] == words
