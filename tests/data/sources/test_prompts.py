"""Documents that are a prompt and its completion."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scaling.config import DataConfig, Mixture, Part, Source
from scaling.config.cleaning import Lengths
from scaling.data.sources import DataError, documents, fingerprint

FIELDS = {"field": "answer", "prompt_field": "question"}
PAIRS = [("1 + 1 = ", "2"), ("", "alone"), ("é\n", "wörld ")]


def write(folder, kind, rows):
    if kind == "jsonl":
        (folder / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")


def found(folder, kind, rows, **options):
    write(folder, kind, rows)
    return list(documents(Source(kind=kind, path=str(folder), **FIELDS, **options)))


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_text_is_its_prompt_and_its_completion(tmp_path, kind):
    rows = found(tmp_path, kind, [{"question": prompt, "answer": answer} for prompt, answer in PAIRS])
    parts = [(row.text[: row.prompt_characters], row.text[row.prompt_characters :]) for row in rows]
    assert parts == PAIRS


def test_faults_of_pairs_are_named(tmp_path):
    rows = [
        {"question": "one", "answer": "1"},
        {"answer": "1"},
        {"question": 3, "answer": "1"},
        {"question": None, "answer": "1"},
        {"question": "one", "answer": None},
        {"question": "one", "answer": " "},
        {"question": "\ud800", "answer": "1"},
    ]
    faults = [row.fault for row in found(tmp_path, "jsonl", rows)]
    assert faults == ["", "no such field", "not text", "null", "null", "empty", "lone surrogates"]
    columns = {"question": [b"\xc3", b"four" * 4, b"two"], "answer": [b"\xa9", b"16 characters ...", b"2"]}
    pq.write_table(pa.table({name: pa.array(cells, pa.binary()) for name, cells in columns.items()}), tmp_path / "b")
    faults = [row.fault for row in documents(Source(kind="parquet", path=str(tmp_path / "b"), most_bytes=20, **FIELDS))]
    assert faults == ["not UTF-8", "too long", ""]  # of the first, neither half of the letter is a text


def test_an_error_names_the_line_and_the_field(tmp_path):
    with pytest.raises(DataError, match=r"a\.jsonl, line 1: no field 'question'; it has \['answer'\]; set Source\.p"):
        found(tmp_path, "jsonl", [{"answer": "1"}])
    with pytest.raises(DataError, match=r"line 1: field 'question' holds a int, not text; choose .* Source\.prompt_f"):
        found(tmp_path, "jsonl", [{"question": 1, "answer": "1"}])
    with pytest.raises(DataError, match=r"a\.parquet: no column 'question'; it has \['answer'\]; set Source\.p"):
        found(tmp_path, "parquet", [{"answer": "1"}])
    with pytest.raises(DataError, match=r"column 'question' holds int64, not text; choose another Source\.prompt_f"):
        found(tmp_path, "parquet", [{"question": 1, "answer": "1"}])


def test_only_tables_have_prompts_and_no_cleaning_moves_their_end(tmp_path):
    with pytest.raises(ValueError, match=r"fields \['question'\]: only jsonl, parquet and tfds have fields"):
        Source(kind="text", path="x", prompt_field="question")
    source = Source(kind="jsonl", path="x", **FIELDS)
    mixture = Mixture(parts=(Part(name="pairs", source=source),))
    for options in ({"source": source}, {"mixture": mixture}):
        with pytest.raises(ValueError, match=r"cleaning beside Source\.prompt_field=\['question'\]: leave one out"):
            DataConfig(**options, cleaning=(Lengths(),))


def test_a_source_with_prompts_is_another(tmp_path):
    write(tmp_path, "jsonl", [{"question": "one", "answer": "1"}])
    plain = Source(kind="jsonl", path=str(tmp_path), field="answer")
    assert fingerprint(plain) != fingerprint(Source(kind="jsonl", path=str(tmp_path), **FIELDS))
