import json

import pytest

from launch.tokenizers_command import tokenizers, variants
from scaling.config import DataConfig

WORDS = "the law of a small model holds for large ones too\nas compute grows 1234\n"


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for number in range(30):
        (folder / f"{number}.txt").write_text(WORDS * 5 + str(number), encoding="utf-8")
    return folder


def test_every_kind_and_size_has_a_row(texts, tmp_path, capsys):
    where = ["--kind", "folder", "--path", str(texts), "--validation-fraction", "0.3", "--root", str(tmp_path)]
    tokenizers([*where, "--tokenizers", "bytes", "bpe", "--vocabs", "270", "290", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [(row["tokenizer"], row["vocab"]) for row in rows] == [("bytes", 257), ("bpe", 270), ("bpe", 290)]
    assert rows[0]["bytes_per_token"] == 1 < rows[1]["bytes_per_token"] < rows[2]["bytes_per_token"]


def test_raw_bytes_are_tried_once_and_a_vocabulary_that_cannot_be_is_refused_first():
    assert len(variants(DataConfig(digits="single"), ("bytes", "bpe"), (300, 400))) == 3
    with pytest.raises(ValueError, match=r"DataConfig.vocab=100 with tokenizer='bpe': must be at least 260"):
        variants(DataConfig(), ("bpe",), (300, 100))
