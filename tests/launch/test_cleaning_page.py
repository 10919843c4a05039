"""`scaling data clean` and `report`: from documents in a folder to a page."""

import re

import pytest

from launch.data_command import data

pytest.importorskip("duckdb")
RECIPE = """
[[cleaning]]
kind = "lengths"
least_words = 4

[[cleaning]]
kind = "private_data"

[[cleaning]]
kind = "exact_duplicates"
"""


@pytest.fixture
def options(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(30):
        text = f"<script>alert({number})</script> & some words of document {number} from me{number}@example.org"
        (tmp_path / "in" / f"{number}.txt").write_text("the same text twice" if number < 3 else text)
    (tmp_path / "in" / "short.txt").write_text("short")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    source = ["--kind", "folder", "--path", str(tmp_path / "in")]
    return [*source, "--recipe", str(tmp_path / "recipe.toml"), "--root", str(tmp_path)]


def test_a_report_shows_every_step_and_escapes_documents(options, tmp_path, capsys):
    data(["clean", *options, "--processes", "1"])
    data(["report", *options, "--out", str(tmp_path / "page.html")])
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "cleaned documents and their account:" in said and "page.html" in said
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for words in ("too few words", "masked", "same text", "Commonest phrases", "Languages", "&lt;script&gt;alert("):
        assert words in page
    assert "<script>alert" not in page and "@example.org" not in page
    assert not re.findall(r"(?:src|href)=['\"](?!#)", page)  # it asks the network for nothing
    assert len(re.findall("<svg", page)) == 2


def test_preparing_with_a_recipe_tokenizes_what_is_left(options, capsys):
    data(["prepare", *options, "--tokenizer", "bytes", "--vocab", "257", "--validation-fraction", "0.3"])
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "cleaning 1, lengths: 30 of 31 documents" in said
    assert "cleaning 3, exact_duplicates: 28 of 30 documents" in said


def test_what_is_missing_or_too_much_is_said(options):
    with pytest.raises(ValueError, match="no cleaned documents here; run `scaling data clean`"):
        data(["report", *options])
    plain = [option for option in options if "recipe" not in option]
    with pytest.raises(ValueError, match="no cleaning step: give --recipe FILE"):
        data(["clean", *plain])
