import bz2
import gzip
import json
import lzma
import subprocess
import sys
from functools import cache, partial

import pytest
import zstandard

from scaling.config import Source
from scaling.data.sources import DataError, documents
from scaling.data.sources.lines import TEXT_PART_BYTES, TRIED

PACKED = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": partial(lzma.compress, preset=0),
    ".zst": zstandard.compress,
}


@cache
def _one_line(ending, tens):
    """So many times 10 MB of one letter, compressed, in parts as parallel compressors write them."""
    return PACKED[ending](b"x" * 10**7) * tens


def found(kind, path, **options):
    return list(documents(Source(kind=kind, path=str(path), **options)))


def texts(kind, path, **options):
    return {document.name: document.text for document in found(kind, path, **options) if not document.fault}


def faults(kind, path, **options):
    return {document.name: document.fault for document in found(kind, path, **options) if document.fault}


def test_a_text_file_is_cut_at_line_ends_and_loses_nothing(tmp_path):
    text = "".join(f"line {number} é\r\n" for number in range(5000))
    (tmp_path / "book.txt").write_bytes(text.encode())
    parts = texts("text", tmp_path / "book.txt")
    assert "".join(parts.values()) == text
    assert len(parts) == -(-len(text.encode()) // TEXT_PART_BYTES)
    assert all(len(part.encode()) <= TEXT_PART_BYTES and part.endswith("\n") for part in parts.values())
    assert list(parts) == sorted(parts)
    assert texts("text", tmp_path) == parts


@pytest.mark.parametrize("ending", PACKED)
def test_compressed_files_are_read_by_the_end_of_their_names(tmp_path, ending):
    lines = [json.dumps({"text": f"text {number} é"}) for number in range(3)]
    # in two pieces, as parallel compressors write them
    content = PACKED[ending]("\n".join(lines[:2]).encode() + b"\n") + PACKED[ending](lines[2].encode())
    (tmp_path / f"a.jsonl{ending}").write_bytes(content)
    assert list(texts("jsonl", tmp_path).values()) == [f"text {number} é" for number in range(3)]
    (tmp_path / f"a.txt{ending}").write_bytes(PACKED[ending]("words é\n".encode()))
    assert list(texts("text", tmp_path).values()) == ["words é\n"]
    assert list(texts("folder", tmp_path, pattern=f"*.txt{ending}").values()) == ["words é\n"]


@pytest.mark.parametrize("ending", PACKED)
def test_a_truncated_file_gives_what_comes_before_and_is_named(tmp_path, ending):
    # Three of bzip2's blocks of 900 kB, of which half a file holds the first.
    lines = [json.dumps({"text": f"{number**7}"}) + "\n" for number in range(60_000)]
    content = PACKED[ending]("".join(lines).encode())
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(content[: len(content) // 2])
    rows = found("jsonl", path)
    assert [row.fault for row in rows if row.fault] == ["damaged file"] and rows[-1].fault
    assert len(rows) > 10_000
    assert [row.text for row in rows[:-1]] == [f"{number**7}" for number in range(len(rows) - 1)]


@pytest.mark.parametrize("ending", PACKED)
def test_a_file_that_is_not_compressed_as_its_name_says_is_refused_alone(tmp_path, ending):
    (tmp_path / f"a.jsonl{ending}").write_bytes(b'{"text": "not compressed at all"}\n' * 3)
    with pytest.raises(DataError, match=rf"a\.jsonl\{ending}: damaged or truncated"):
        texts("jsonl", tmp_path)


def test_a_jsonl_field_is_the_text(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"body": "one"}\n\n{"body": "two"}')
    assert texts("jsonl", path, field="body") == {"a.jsonl:1": "one", "a.jsonl:3": "two"}


def test_jsonl_fields_say_where_a_document_is_from(tmp_path):
    lines = [
        {"text": "one", "key": "k1", "url": "http://a", "lang": "en", "terms": "CC0"},
        {"text": "two", "key": 2, "url": None},
        {"text": "three", "key": "\ud800", "url": ["http://c"], "lang": "\ud800"},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    options = {"id_field": "key", "url_field": "url", "language_field": "lang", "licence_field": "terms"}
    rows = found("jsonl", tmp_path, **options)
    assert [(row.name, row.url, row.language, row.licence) for row in rows] == [
        ("k1", "http://a", "en", "CC0"),
        ("2", "", "", ""),
        ("a.jsonl:3", "", "", ""),  # what is not valid counts as unknown
    ]


FAULTS = {
    b"{": "not JSON",
    b'{"text": ' + b"9" * 5000 + b"}": "not JSON",  # Python reads no number of that length
    b"[" * 90_000: "not JSON",
    b"[1]": "not an object",
    b'{"body": "x"}': "no such field",
    b'{"text": 3}': "not text",
    b'{"text": null}': "null",
    b'{"text": " \\n"}': "empty",
    b'{"text": "\\ud800"}': "lone surrogates",
    b'{"text": "\xff"}': "not UTF-8",
    b'{"text": "\xed\xa0\x80"}': "not UTF-8",
    b'{"text": "a\\u0000b"}': "binary",
    b'{"text": "' + b"x" * 100_000 + b'"}': "too long",
}


def test_faults_of_jsonl_lines_are_named_and_the_others_are_used(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([b'{"text": "first"}', *FAULTS, b'{"text": "last"}']))
    assert list(texts("jsonl", path, most_bytes=95_000).values()) == ["first", "last"]
    names = [f"a.jsonl:{number}" for number in range(2, 2 + len(FAULTS))]
    assert faults("jsonl", path, most_bytes=95_000) == dict(zip(names, FAULTS.values(), strict=True))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"body": "x", "id": 3}', r"a\.jsonl, line 1: no field 'text'; it has \['body', 'id'\]; set Source\.field"),
        ('{"text": 3}', r"a\.jsonl, line 1: field 'text' holds a int, not text; choose another Source\.field"),
        ("[1]", r"a\.jsonl, line 1: holds a list, not an object"),
        ("{", r"a\.jsonl, line 1: not JSON \(Expecting .*\); mend or remove"),
    ],
)
def test_jsonl_without_any_text_is_refused_by_its_first_fault(tmp_path, line, message):
    path = tmp_path / "a.jsonl"
    path.write_text(f"{line}\n" * 3)
    with pytest.raises(DataError, match=message):
        texts("jsonl", path)
    path.write_text(f"{line}\n" * TRIED + '{"text": "too late"}')
    with pytest.raises(DataError, match=message + rf".*\(and {TRIED - 1} more like it, before any text\)"):
        texts("jsonl", path)
    path.write_text(f"{line}\n" * (TRIED - 1) + '{"text": "in time"}')
    assert list(texts("jsonl", path).values()) == ["in time"]


@pytest.mark.parametrize("lines", [3, TRIED + 5])
def test_a_named_field_that_no_line_has_is_refused(tmp_path, lines):
    (tmp_path / "a.jsonl").write_text('{"text": "x", "url": "u"}\n' * lines)
    with pytest.raises(DataError, match=r"no field 'ulr' in its first objects; set the field of Source"):
        texts("jsonl", tmp_path, url_field="ulr")


def test_a_text_that_is_longer_than_the_limit_is_skipped_and_the_rest_is_used(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"short\n" + b"x" * 70_000 + b"\nend\n")
    assert texts("text", tmp_path, most_bytes=1000) == {"a.txt:000000000000": "short\n", "a.txt:000000070007": "end\n"}
    assert faults("text", tmp_path, most_bytes=1000) == {"a.txt:000000000006": "too long"}
    assert faults("folder", tmp_path, most_bytes=1000) == {"a.txt": "too long"}


PEAK = """
import resource, sys
from scaling.config import Source
from scaling.data.sources import documents
import pyarrow
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = list(documents(Source(kind=sys.argv[1], path=sys.argv[2], most_bytes=1 << 20)))
print([document.fault for document in found], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(
    ("kind", "ending", "tens"),
    [("jsonl", ".zst", 100), ("text", ".gz", 10), ("folder", ".gz", 10), ("html", ".gz", 10)],
)
def test_a_gigabyte_in_one_line_is_never_held_in_memory(tmp_path, kind, ending, tens):
    path = tmp_path / f"a{ending}"
    path.write_bytes(_one_line(ending, tens))
    said = subprocess.run([sys.executable, "-c", PEAK, kind, str(path)], capture_output=True, text=True, check=True)
    faults, kilobytes = said.stdout.rsplit(" ", 1)
    assert faults == "['too long']"
    # The limit of 1 MiB several times; the texts are 100,000 and 1,000,000.
    assert int(kilobytes) < 30_000
