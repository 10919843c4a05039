"""The classifier: planted quality is found, and what is found depends on nothing but the documents."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from scaling.config.cleaning_quality import QualityClassifier
from scaling.data.cleaning.quality import features_of, half_of, keys_of, quality_classifier, texts_of
from scaling.data.cleaning.recipe import folder_key
from scaling.data.sources import DataError
from tests.data.cleaning.runner import kept, placed, run


def planted(good: bool, rng: np.random.Generator, words: int = 80) -> str:
    """Seven words in ten are of a common stock, the others of one that good or poor documents have to themselves."""
    own = rng.random(words) < 0.3
    numbers = np.where(own, rng.integers(200, size=words), rng.integers(400, size=words))
    return " ".join(
        f"{('good' if good else 'poor') if mine else 'any'}{n}" for mine, n in zip(own, numbers, strict=True)
    )


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A folder of 100 good documents, none of them in the corpus."""
    folder, rng = tmp_path_factory.mktemp("good"), np.random.default_rng(1)
    for number in range(100):
        (folder / f"{number:03d}.txt").write_text(planted(True, rng))
    return str(folder)


@pytest.fixture(scope="module")
def corpus():
    """400 documents, every fourth a good one."""
    rng = np.random.default_rng(2)
    return placed([planted(index % 4 == 0, rng) for index in range(400)])


def of_good(indices):
    return sum(index % 4 == 0 for index in indices)


def test_the_best_share_is_the_planted_one(good, corpus, tmp_path):
    stay = kept(run(quality_classifier(QualityClassifier(positive=(good,), keep=0.25)), corpus, tmp_path / "run"))
    assert len(stay) == 100
    assert of_good(stay) >= 98  # recall, and with as many kept as there are good ones, precision too


def test_by_score_few_poor_documents_pass(good, corpus, tmp_path):
    """A quarter of the random documents is good, so that the chance of a good one to be of the set is 1 / 1.25."""
    verdicts = run(quality_classifier(QualityClassifier(positive=(good,))), corpus, tmp_path / "run")
    stay = kept(verdicts)
    assert of_good(stay) >= 80  # recall; with so few texts to learn from, scores lie near one half
    assert len(stay) - of_good(stay) <= 3  # false positives of 300
    assert {verdict.reason for verdict in verdicts if verdict.text is None} == {"poor by the classifier"}


@pytest.mark.parametrize("keep", [0.1, 0.333, 1.0])
def test_a_share_is_exact_and_a_smaller_one_is_part_of_a_larger(keep, good, corpus, tmp_path):
    stay = kept(run(quality_classifier(QualityClassifier(positive=(good,), keep=keep)), corpus, tmp_path / "run"))
    half = kept(run(quality_classifier(QualityClassifier(positive=(good,), keep=0.5)), corpus, tmp_path / "half"))
    assert len(stay) == int(np.ceil(keep * 400))
    assert set(stay) <= set(half) or set(half) <= set(stay)


def test_shards_and_their_order_change_nothing(good, corpus, tmp_path):
    step = quality_classifier(QualityClassifier(positive=(good,), keep=0.3, sample=150))
    found = [kept(run(step, corpus, tmp_path / str(shard), shard, seed)) for shard, seed in ((400, None), (7, 3))]
    scores = [pq.read_table(tmp_path / shard / "decision" / "dropped.parquet") for shard in ("400", "7")]
    assert found[0] == found[1] and scores[0] == scores[1]


def test_pareto_keeps_all_good_documents_and_a_few_poor_ones(good, corpus, tmp_path):
    """A document of score s stays with chance (2 - s)^-alpha: about 1 for s near 1, 2^-alpha for s near 0."""
    step = quality_classifier(QualityClassifier(positive=(good,), pareto=2.0))
    stay = kept(run(step, corpus, tmp_path / "run"))
    # Between the chances of a score of 0 and of one half, four standard errors of 300 documents allowed.
    assert 0.25 - 4 * 0.025 < (len(stay) - of_good(stay)) / 300 < 0.45 + 4 * 0.03
    assert of_good(stay) / 100 > (len(stay) - of_good(stay)) / 300


def test_no_document_is_judged_by_a_model_that_has_learned_it(tmp_path):
    """Random texts, all learned from: none is like the positive set or unlike it, in either half."""
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{word}" for word in rng.integers(3000, size=60)) for _ in range(400)]
    (tmp_path / "good.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in texts[:200]))
    config = QualityClassifier(positive=(str(tmp_path / "good.jsonl"),), keep=0.5)
    stay = kept(run(quality_classifier(config), placed(texts), tmp_path / "run"))
    assert sum(index < 200 for index in stay) < 100 + 4 * 7  # 200 of 400, drawn evenly: deviation sqrt(50) = 7


def test_features_are_words_and_their_hashes_are_spread():
    config = QualityClassifier(positive=("x",), bits=12)
    found = features_of(["one two two", "", "Two, one! two"], config)
    assert found.offsets.tolist() == [0, 2, 2, 4]
    assert found.counts_E[:2].tolist() == found.counts_E[2:].tolist() and sorted(found.counts_E[:2]) == [1, 2]
    rows = found.matrix(12).toarray()
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), [1, 0, 1], rtol=1e-12)
    np.testing.assert_array_equal(rows[0], rows[2])


def test_keys_depend_on_text_and_seed_and_halve_evenly():
    texts = [f"text {number}" for number in range(2000)]
    keys = keys_of(texts, 1)
    assert (keys == keys_of(texts[::-1], 1)[::-1]).all() and (keys != keys_of(texts, 2)).all()
    assert abs(half_of(keys).mean() - 0.5) < 4 * 0.5 / np.sqrt(2000)


def test_texts_come_from_files_of_all_kinds_and_folders(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"body": "one"}\n')
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b.py").write_text("two")
    (tmp_path / "folder" / "c.pyc").write_bytes(b"\xff\x00")
    (tmp_path / "d.txt").write_text("three")
    paths = [str(tmp_path / name) for name in ("a.jsonl", "folder", "d.txt")]
    assert list(texts_of(paths, "body")) == ["one", "two", "three"]


def test_the_key_of_a_recipe_covers_what_a_folder_holds(tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.txt").write_text("one")
    steps = (QualityClassifier(positive=(str(tmp_path / "good"),)),)
    first = folder_key(steps)
    (tmp_path / "good" / "a.pyc").write_bytes(b"\xff")
    assert folder_key(steps) == first
    (tmp_path / "good" / "a.txt").write_text("two")
    assert folder_key(steps) != first


def test_too_few_good_texts_are_said(tmp_path):
    (tmp_path / "good.txt").write_text("only one")
    config = QualityClassifier(positive=(str(tmp_path / "good.txt"),))
    with pytest.raises(DataError, match="1 good texts and 3 of the corpus are too few"):
        run(quality_classifier(config), placed(["a", "b", "c"]), tmp_path / "run")


def test_an_empty_positive_set_is_said(tmp_path):
    (tmp_path / "good.jsonl").write_text('{"other": "one"}\n')
    with pytest.raises(DataError, match="no field 'text'"):
        run(
            quality_classifier(QualityClassifier(positive=(str(tmp_path / "good.jsonl"),))),
            placed(["a"]),
            tmp_path / "r",
        )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"positive": ()}, "name at least one file or folder"),
        ({"keep": 0.5, "pareto": 9.0}, "give one of them at most"),
        ({"keep": 0.0}, r"keep=0\.0: must lie above 0"),
        ({"least_score": 1.5}, r"least_score=1\.5: must lie above 0"),
        ({"sample": 0}, "must be positive"),
        ({"bits": 30}, "must lie between 8 and 24"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        QualityClassifier(**{"positive": ("x",)} | wrong)
