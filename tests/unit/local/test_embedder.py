"""The default embedder, with the real model: it is installed, small, and what users get."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from harness.errors import ConfigurationError
from harness.local import weights
from harness.local.embedder import MiniLMEmbedder, SentenceTransformerEmbedder, _special

PARAGRAPH = "Our boots carry a two-year warranty and can be returned within sixty days of delivery. "
LONG = PARAGRAPH * 60


@pytest.fixture(scope="module")
def embedder():
    return MiniLMEmbedder()


def test_identical_texts_are_exactly_one(embedder):
    texts = ["Paris.", LONG, "", "日本語", " \n"]
    assert embedder.similarity(texts, texts) == [1.0] * 5


def test_a_paraphrase_is_closer_than_another_subject(embedder):
    question = "The capital of France is Paris."
    near, far = embedder.similarity(
        [question] * 2, ["Paris is France's capital city.", "Wash the jacket at thirty degrees."]
    )
    assert near > 0.8
    assert far < 0.3


def test_an_empty_answer_is_like_no_other_text(embedder):
    assert embedder.similarity(["", "   "], ["Paris.", "Paris."]) == [0.0, 0.0]


def test_the_end_of_a_long_answer_counts(embedder):
    start = PARAGRAPH * 25  # about 450 tokens: the model alone reads 256 and would see no difference below
    kept = start + "Your refund was sent to your bank account this morning. " * 3
    turned = start + "The wolf howls at night while the river freezes over. " * 3
    assert embedder.similarity([kept], [turned])[0] < 0.999


def test_a_replaced_half_of_a_long_answer_counts_much(embedder):
    other_half = "The wolf howls at night while the river freezes and the stars go out. " * 40
    [similarity] = embedder.similarity([LONG + LONG], [LONG + other_half])
    assert similarity < 0.9


def test_vectors_have_length_one_however_long_the_text(embedder):
    vectors = embedder.embed(["short", PARAGRAPH * 20, LONG])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_one_window_reads_the_beginning_alone(embedder):
    start = PARAGRAPH * 25
    whole, first = embedder.embed([start + LONG]), embedder.embed([start + LONG], windows=1)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(first, embedder.embed([start + "The wolf howls. " * 99], windows=1), atol=1e-5)
    assert not np.allclose(whole, embedder.embed([start + "The wolf howls. " * 99]), atol=1e-5)


def test_half_an_emoji_is_read_as_a_question_mark(embedder):
    assert embedder.similarity(["Paris \ud83d"], ["Paris ?"]) == [pytest.approx(1.0, abs=1e-5)]


def test_the_neighbours_in_a_batch_change_nothing(embedder):
    alone = embedder.similarity(["Do you ship to Norway?"], ["We ship to all of Europe."])
    among = embedder.similarity(["Do you ship to Norway?", LONG, "a"], ["We ship to all of Europe.", PARAGRAPH, "b"])
    assert among[0] == pytest.approx(alone[0], abs=1e-5)


def test_no_pairs_need_no_model():
    assert SentenceTransformerEmbedder("no-such-model").similarity([], []) == []


def test_sides_of_different_length_are_refused(embedder):
    with pytest.raises(ValueError, match="argument"):
        embedder.similarity(["a"], [])


def test_many_threads_share_one_model():
    fresh = MiniLMEmbedder()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: fresh.similarity(["Paris."], ["Rome."])[0], range(8)))
    assert len(set(results)) == 1


def windows_of(embedder, text):
    """The texts of the windows in which a long one is read; what the model gets has to fit it."""
    embedder.embed(["load"])
    tokenizer = embedder._model.tokenizer
    [read] = embedder._read([text], None)
    whole = tokenizer(text, truncation=False, add_special_tokens=False, verbose=False)
    assert [token for tokens, _ in read for token in tokens[1:-1]] == whole["input_ids"], "each token is read once"
    assert all(weight == len(tokens) - 2 and len(tokens) <= 256 for tokens, weight in read)
    assert {(tokens[0], tokens[-1]) for tokens, _ in read} == {(tokenizer.cls_token_id, tokenizer.sep_token_id)}
    found, at = [], 0
    for _, weight in read:
        found.append(text[whole[0].offsets[at][0] : whole[0].offsets[at + weight - 1][1]])
        at += weight
    return found


def test_no_text_is_lost_between_windows(embedder):
    text = " ".join(f"item{number}" for number in range(900))
    windows = windows_of(embedder, text)
    assert len(windows) > 5
    assert " ".join(windows) == text


@pytest.mark.parametrize(
    ("sentence", "end"),
    [
        ("Our boots carry a two-year warranty. ", "."),
        ("保証は二年間です。", "。"),
        ("one line after another\n", "another"),
    ],
)
def test_a_window_ends_with_a_sentence(embedder, sentence, end):
    windows = windows_of(embedder, sentence * 120)
    assert len(windows) > 1
    assert all(part.endswith(end) for part in windows)


def test_a_text_without_any_space_is_read_whole(embedder):
    text = "x7" * 2_000
    assert "".join(windows_of(embedder, text)) == text


def test_a_tokenizer_that_changes_the_text_is_refused():
    def odd(text, *, add_special_tokens):
        return {"input_ids": [1, 2, 3] if add_special_tokens else [4]}

    with pytest.raises(ConfigurationError, match="tokenizer"):
        _special(odd)


def test_a_text_that_just_fits_is_read_as_plain_encode_reads_it(embedder):
    embedder.embed(["load"])
    model = embedder._model
    for words in (253, 254):
        text = "paris " * words
        assert len(model.tokenizer(text, verbose=False)["input_ids"]) == words + 2
        plain = model.encode([text], normalize_embeddings=True, show_progress_bar=False)
        np.testing.assert_allclose(embedder.embed([text]), plain, atol=1e-5)


def test_the_name_of_an_own_model_follows_its_files(tmp_path):
    folder = tmp_path / "ours"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    before = SentenceTransformerEmbedder(folder).name
    assert before.startswith("ours@")
    assert SentenceTransformerEmbedder(folder).name == before
    (folder / "config.json").write_text('{"changed": true}')
    assert SentenceTransformerEmbedder(folder).name != before


def test_an_own_model_folder_works_like_the_bundled_one(embedder):
    own = SentenceTransformerEmbedder(weights.MINILM.require())
    assert own.name != embedder.name
    left, right = ["Where is my parcel?"], ["When does my order arrive?"]
    assert own.similarity(left, right) == embedder.similarity(left, right)


def test_a_folder_that_is_no_model_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        SentenceTransformerEmbedder(tmp_path).similarity(["a"], ["b"])


def test_a_model_that_puts_a_prompt_before_every_text_is_refused(tmp_path):
    source = weights.MINILM.require()
    for file in source.iterdir():
        if file.name != "config_sentence_transformers.json":
            (tmp_path / file.name).symlink_to(file)
    settings = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(settings))
    embedder = SentenceTransformerEmbedder(tmp_path)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="a prompt \\('query'\\) before every text"):
            embedder.embed(["Paris."])
