"""Near duplicates: recall as the theory of banding says, no unlike documents dropped, the rule as it is stated."""

import os
import subprocess
import sys
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scaling.config.cleaning_duplicates import NearDuplicates
from scaling.data.cleaning import near
from scaling.data.cleaning.near import band_keys, minhashes, near_duplicates
from scaling.data.cleaning.words import words_of
from scaling.data.sources import DataError
from tests.data.cleaning.runner import kept, placed, run

SETS = NearDuplicates(words=1, threshold=0)  # documents as sets of words: similarity is known exactly


def pairs(similarity: float, count: int, size: int = 200) -> list[str]:
    """Pairs of documents, one after another, each of `size` words, of that Jaccard similarity; pairs share no word."""
    shared = round(2 * size * similarity / (1 + similarity))
    texts, word = [], 0
    for _ in range(count):
        for own in (0, size - shared):
            numbers = [*range(word, word + shared), *range(word + shared + own, word + size + own)]
            texts.append(" ".join(f"{number:x}" for number in numbers))
        word += 2 * size - shared
    return texts


def edited(words: list[str], share: float, rng: np.random.Generator) -> list[str]:
    """The same with that share of the words replaced by words found nowhere else."""
    found = list(words)
    for place in rng.choice(len(words), round(share * len(words)), replace=False):
        found[place] = f"{rng.integers(1 << 62):x}"
    return found


@pytest.mark.parametrize("similarity", [0.5, 0.6, 0.7, 0.8, 0.9])
def test_candidates_are_found_as_often_as_bands_and_rows_say(similarity, tmp_path):
    count = 400
    texts = pairs(similarity, count)
    true = len(set(texts[0].split()) & set(texts[1].split())) / len(set(texts[0].split()) | set(texts[1].split()))
    verdicts = run(near_duplicates(SETS), placed(texts), tmp_path / "run", shard=100)
    expected = 1 - (1 - true**SETS.rows) ** SETS.bands
    found = 2 * count - len(kept(verdicts))
    # Four standard errors of a binomial count, and one for what is rounded.
    assert abs(found - count * expected) <= 4 * np.sqrt(count * expected * (1 - expected)) + 1
    assert all(index % 2 for index in set(range(2 * count)) - set(kept(verdicts)))  # the first of a pair stays


def test_the_share_of_equal_hashes_estimates_similarity_without_bias():
    hashes = minhashes(words_of(pairs(0.6, 500)), NearDuplicates(words=1))
    equal = (hashes[::2] == hashes[1::2]).mean(axis=1)
    # The standard error of a pair is sqrt(0.6 * 0.4 / 112) = 0.046 for independent hashes; 500 pairs, four of them.
    assert equal.mean() == pytest.approx(0.6, abs=4 * 0.046 / np.sqrt(500))
    assert equal.std() < 0.05


def test_recall_of_edited_copies_and_no_false_positive(tmp_path):
    """With the default step, copies of 300 words of which some are replaced; 5-grams suffer five times as much."""
    rng, recall = np.random.default_rng(0), {}
    originals = [[f"{word:x}" for word in rng.integers(1 << 62, size=300)] for _ in range(300)]
    for share in (0.0, 0.02, 0.1, 0.3):
        copies = [edited(words, share, rng) for words in originals]
        texts = [" ".join(words) for words in originals + copies]
        stay = kept(run(near_duplicates(NearDuplicates()), placed(texts), tmp_path / str(share), shard=64))
        assert stay[:300] == list(range(300))  # no false positive among 300 unlike documents
        recall[share] = (600 - len(stay)) / 300
    assert recall[0.0] == 1
    assert recall[0.02] >= 0.9  # similarity 0.83: bands find 0.96, of which 0.98 are over the threshold
    assert recall[0.1] <= 0.02  # similarity 0.42: not nearly the same by this measure
    assert recall[0.3] == 0


def test_candidates_under_the_threshold_stay(tmp_path):
    texts = pairs(0.6, 100)
    every = near_duplicates(NearDuplicates(words=1, threshold=0, bands=112, rows=1))
    strict = near_duplicates(NearDuplicates(words=1, threshold=0.8, bands=112, rows=1))
    assert len(kept(run(every, placed(texts), tmp_path / "every"))) == 100
    assert len(kept(run(strict, placed(texts), tmp_path / "strict"))) == 200  # 0.8 is four standard errors away


def by_the_rule(texts: list[str], config: NearDuplicates) -> set[int]:
    """What is dropped, by the rule in the module's docstring, word for word."""
    hashes = minhashes(words_of(texts), config)
    buckets = defaultdict(list)
    for index, keys in enumerate(band_keys(hashes, config).tolist()):
        for key in keys:
            buckets[key].append(index)
    dropped = set()
    for documents in buckets.values():
        stand = []
        for index in documents:
            if any((hashes[index] == hashes[other]).mean() >= config.threshold for other in stand):
                dropped.add(index)
            else:
                stand.append(index)
    return dropped


@pytest.mark.parametrize("batch", [5, 8192])
def test_what_is_dropped_follows_the_rule_in_batches_of_any_size(batch, tmp_path, monkeypatch):
    monkeypatch.setattr(near, "BATCH", batch)
    rng = np.random.default_rng(1)
    # Words of a small vocabulary, in families: bands share many documents, similar or not.
    texts = [" ".join(f"w{word + 20 * (n % 4)}" for word in rng.choice(30, 15, replace=False)) for n in range(80)]
    config = NearDuplicates(words=1, threshold=0.5, bands=20, rows=2)
    expected = by_the_rule(texts, config)
    found = run(near_duplicates(config), placed(texts), tmp_path / "run", shard=20)
    assert 10 < len(expected) < 70
    assert set(range(80)) - set(kept(found)) == expected


def test_documents_of_few_words_are_compared_whole_and_those_of_none_stay(tmp_path):
    texts = ["", "one two", "...", "One, two!", "one two three", "", "one"]
    verdicts = run(near_duplicates(NearDuplicates()), placed(texts), tmp_path / "run", shard=2)
    assert kept(verdicts) == [0, 1, 2, 4, 5, 6]
    assert verdicts[3].reason == "nearly the same text"


HASH = """
import hashlib
from scaling.config.cleaning_duplicates import NearDuplicates
from scaling.data.cleaning.near import band_keys, minhashes
from scaling.data.cleaning.words import words_of
texts = [" ".join(f"{row}x{word % (row + 3)}y{word}" for word in range(40 * row + 1)) for row in range(60)]
hashes = minhashes(words_of(texts), NearDuplicates())
print(hashlib.sha256(hashes.tobytes() + band_keys(hashes, NearDuplicates()).tobytes()).hexdigest())
"""


def test_hashes_are_the_same_in_every_process_and_version():
    """Written down once, from rensa 0.5.0; another value means that its algorithm changed under one name."""
    found = {
        subprocess.run(
            [sys.executable, "-c", HASH],
            env=os.environ | {"RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()
        for threads in ("1", "3")
    }
    assert found == {"9d1c003706e2078afa48412e3ff47803651c7cc6668b8ceeef0571e71ffd9d4b"}
    assert near.algorithm() == "rensa R-MinHash 2"


def test_another_seed_gives_other_hashes():
    words = words_of(["some words of a text that is long enough"])
    one, other = (minhashes(words, NearDuplicates(seed=seed)) for seed in (1, 2))
    assert (one != other).mean() > 0.9


def test_sketches_of_another_algorithm_are_refused(tmp_path):
    table = near_duplicates(NearDuplicates()).sketch(placed(["a b c"]))
    pq.write_table(table.replace_schema_metadata({"algorithm": "rensa R-MinHash 1"}), tmp_path / "0.parquet")
    with pytest.raises(DataError, match="made with rensa R-MinHash 1, but rensa R-MinHash 2 is installed"):
        near_duplicates(NearDuplicates()).decide([tmp_path / "0.parquet"], tmp_path)


def test_a_band_value_that_very_many_documents_share_costs_one_comparison_each(tmp_path):
    verdicts = run(
        near_duplicates(NearDuplicates()), placed(["the same few words again"] * 3000), tmp_path / "run", 500
    )
    assert kept(verdicts) == [0]
    assert isinstance(pq.read_table(tmp_path / "run" / "decision" / "dropped.parquet"), pa.Table)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"threshold": 1.1}, "a similarity lies between 0 and 1"),
        ({"seed": -1}, "must fit 64 bits"),
        ({"rows": 0}, "must be positive"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        NearDuplicates(**wrong)
