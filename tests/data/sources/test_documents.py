import json
import os
import re
import sys
import sysconfig
import tracemalloc
from dataclasses import replace

import pytest

from scaling.config import Source
from scaling.data.sources import DataError, documents, fingerprint, readable_name
from scaling.data.sources.document import document


def texts(kind, path, **options):
    return {found.name: found.text for found in documents(Source(kind=kind, path=str(path), **options))}


def test_the_standard_library_gives_its_python_files_in_order_without_installed_packages():
    names = [found.name for _, found in zip(range(200), documents(Source()), strict=False)]
    assert names == sorted(names)
    assert "__future__.py" in names and "argparse.py" in names
    assert not any("site-packages" in name or not name.endswith(".py") for name in names)


def test_a_folder_gives_every_visible_file_and_marks_those_that_are_not_utf8(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("hidden")
    (tmp_path / "b" / "x.md").write_bytes("é\r\n\f".encode())
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    assert texts("folder", tmp_path) == {"a.txt": None, "b/x.md": "é\r\n\f"}


def test_a_source_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"kind='text'.*nowhere is neither a file nor a folder"):
        texts("text", tmp_path / "nowhere")


def test_the_fingerprint_changes_with_a_file_and_only_then(tmp_path):
    source = Source(kind="folder", path=str(tmp_path))
    (tmp_path / "a").write_text("1")
    first = fingerprint(source)
    assert fingerprint(source) == first
    (tmp_path / "a").write_text("12")
    second = fingerprint(source)
    (tmp_path / "b").write_text("")
    assert len({first, second, fingerprint(source)}) == 3
    assert fingerprint(Source()) == fingerprint(Source())


def test_names_are_fit_for_folders():
    assert readable_name(Source()) == "stdlib-" + re.match(r"[\d.]+", sys.version).group()
    assert readable_name(Source(kind="tfds", path="a/b:1.0.0")) == "a-b-1.0.0"
    assert readable_name(Source(kind="jsonl", path="/x/my texts.jsonl")) == "my-texts"


def test_the_packages_give_their_python_files_and_their_versions_tell_them_apart(tmp_path, monkeypatch):
    paths = sysconfig.get_paths() | {"purelib": str(tmp_path)}
    monkeypatch.setattr("sysconfig.get_paths", lambda: paths)
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "__init__.py").write_text("answer = 42\n")
    (tmp_path / "thing" / "data.bin").write_bytes(b"\0")
    (tmp_path / "thing-1.0.dist-info").mkdir()
    information = tmp_path / "thing-1.0.dist-info" / "METADATA"
    information.write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    source = Source(kind="packages")
    assert [document.name for document in documents(source)] == ["thing/__init__.py"]
    assert readable_name(source).startswith("packages-3.")
    first = fingerprint(source)
    os.utime(tmp_path / "thing" / "__init__.py", (0, 0))
    assert fingerprint(source) == first
    information.write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.1\n")
    assert fingerprint(source) != first


def test_a_document_with_an_id_that_came_before_is_skipped(tmp_path):
    lines = [("a", "one"), ("b", "two"), ("a", "three"), ("c", " "), ("c", "four"), (None, "five"), (None, "six")]
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps({"id": key, "text": text}) for key, text in lines))
    found = list(documents(Source(kind="jsonl", path=str(tmp_path), id_field="id")))
    # The empty one takes no id away from the one after it; where there is none, file and line name it.
    assert [(document.name, document.text, document.fault) for document in found] == [
        ("a", "one", ""),
        ("b", "two", ""),
        ("a", None, "duplicated id"),
        ("c", None, "empty"),
        ("c", "four", ""),
        ("x.jsonl:6", "five", ""),
        ("x.jsonl:7", "six", ""),
    ]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (None, "null"),
        ("", "empty"),
        (b" \n\t\xc2\xa0", "empty"),
        ("a\0b", "binary"),
        ("text " * 100 + "\x01" * 6, "binary"),  # 6 of 506 bytes
        ("text " * 100 + "\x01" * 5, ""),
        ("N\bNA\bAM\bME\bE\f", ""),  # bold print in a manual
        ("\ud800", "lone surrogates"),
        (b"\xed\xa0\x80", "not UTF-8"),
        ("é".encode("latin-1"), "not UTF-8"),
        ("é" + "x" * 599, "too long"),  # 601 bytes
        ("é" + "x" * 598, ""),
    ],
)
def test_a_text_is_fit_for_use_or_has_a_fault(value, fault):
    found = document("d", value, 600)
    assert found.fault == fault and (found.text is None) == bool(fault)


def test_the_fingerprint_changes_with_every_setting_that_changes_documents(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "x"}')
    source = Source(kind="jsonl", path=str(tmp_path))
    changes = [{"field": "body"}, {"id_field": "id"}, {"pattern": "*"}, {"most_bytes": 10}, {"kind": "folder"}]
    assert len({fingerprint(replace(source, **change)) for change in [{}, *changes]}) == 6


def test_a_folder_needs_no_more_memory_than_its_names(tmp_path):
    for number in range(40):
        folder = tmp_path / f"{number:03d}"
        folder.mkdir()
        for inner in range(100):
            (folder / f"{inner:04d}.txt").touch()
    source = Source(kind="folder", path=str(tmp_path))
    tracemalloc.start()
    try:
        assert sum(1 for _ in documents(source)) == 4_000
        fingerprint(source)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A name is a string of 60 bytes and 8 in a list; the buffer of a file is 0.26 MB.
    assert peak < 4_000 * 150 + 600_000
