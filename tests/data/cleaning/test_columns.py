"""Columns made from and into numbers and texts are what Arrow itself makes."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from scaling.data.cleaning.columns import as_numpy, keys, numbers, strings

TEXTS = ["one", None, "", "né 字 \U0001d54f", None, *"abcdefgh"]


@pytest.mark.parametrize("kind", [pa.int32(), pa.int64(), pa.uint32(), pa.uint64(), pa.float64()])
@pytest.mark.parametrize("values", [[], [3, 1, 2]])
def test_numbers_come_back(kind, values):
    made = numbers(values, kind)
    made.validate(full=True)
    assert made == pa.array(values, kind)
    assert as_numpy(made).tolist() == as_numpy(pa.chunked_array([made, made], kind)).tolist()[: len(values)] == values
    assert numbers(np.array(values)[::-1], kind).to_pylist() == values[::-1]
    assert len(as_numpy(pa.chunked_array([], kind))) == 0


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("values", [[], TEXTS, ["no", "nulls"], [None]])
def test_texts_and_nulls_are_those_of_arrow(kind, values):
    made = strings(values, kind)
    made.validate(full=True)
    assert made == pa.array(values, kind)


def test_bytes_of_varied_and_of_one_length_are_those_of_arrow():
    assert strings([b"\xff\0", b""], pa.large_binary()) == pa.array([b"\xff\0", b""], pa.large_binary())
    assert keys([b"ab", b"\0\xff"], pa.binary(2)) == pa.array([b"ab", b"\0\xff"], pa.binary(2))
    assert keys([], pa.binary(2)) == pa.array([], pa.binary(2))


PROGRAM = """
import sys
from pathlib import Path
from scaling.config.cleaning import ExactDuplicates, Lengths
from scaling.config.cleaning_duplicates import DuplicateLines
from scaling.data.cleaning import engine, shards
from scaling.data.cleaning.parallel import one_by_one
from scaling.data.sources import Document
folder = Path(sys.argv[1])
(folder / "source").mkdir()
shards.split([Document(name=str(n), text=f"a line for {n // 2}\\nthe same\\n") for n in range(9)], folder / "source")
engine.clean(folder / "source", [Lengths(least_words=1), ExactDuplicates(), DuplicateLines(least_words=1)],
             folder / "out", lambda line: None, one_by_one)
print(*{"pandas", "jax", "tensorflow"} & set(sys.modules))
"""


def test_cleaning_imports_nothing_large_that_it_does_not_need(tmp_path):
    pytest.importorskip("duckdb")
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
