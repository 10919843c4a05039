import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from complete import complete
from matplotlib.backends.backend_svg import FigureCanvasSVG

from analysis.analyse import NotDone
from analysis.report.report import write_report
from analysis.report.verdict import answer
from analysis.tables.table import Manifest, read_table

ORDER = (
    "Read with care", "Figures", "Methods side by side", "Beside the published value",
    "Competing forms, on runs they did not see", "The law", "Is the fit sound?", "Runs to train next", "Checklist",
    "What was left out", "Runs", "Provenance",
)  # fmt: skip


def svg_alone(figure, folder, name):
    """As `analysis.figures.save`, without the files, which take most of the time."""
    text = io.StringIO()
    FigureCanvasSVG(figure).print_svg(text)
    return text.getvalue()


@pytest.fixture(scope="module")
def whole(analysed, tmp_path_factory):
    """The page of a complete analysis."""
    manifest = Manifest(name="demo", published="a = 0.50")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.report.report.save", svg_alone)
        return write_report(manifest, complete(analysed), tmp_path_factory.mktemp("whole")).read_text()


@pytest.fixture
def quick(monkeypatch):
    """Pages without figures: they are drawn elsewhere, and slow."""
    monkeypatch.setattr("analysis.report.report.pictures", lambda *_: iter(()))


def test_the_page_stands_alone(written):
    html = written.read_text()
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", html)  # nothing is fetched
    assert not re.search(r"@import|url\((?!#)", html)
    assert html.count("<svg") == 7


def test_every_figure_has_an_alternative_text_with_numbers(whole):
    texts = re.findall(r"<svg[^>]*aria-label=\"([^\"]+)\"", whole)
    assert len(texts) == whole.count("<svg") == 10
    assert all(re.search(r"\d", text) and text.endswith(".") for text in texts)


def test_ids_are_unique(whole):
    ids = re.findall(r'\bid="([^"]+)"', whole)
    assert len(ids) == len(set(ids))


def test_the_sections_stand_in_the_order_of_a_readers_questions(whole):
    assert tuple(re.findall(r"<h2>([^<]+)</h2>", whole)) == ORDER


def test_warnings_stand_by_name(written, analysed):
    html = written.read_text()
    assert analysed.warnings
    for doubt in analysed.warnings:
        assert f"<dt>{doubt.name}</dt>" in html


def test_each_method_stands_with_its_known_bias(whole, analysed):
    for result in complete(analysed).methods:
        assert result.title in whole and result.bias.split(":")[0].replace("'", "&#x27;") in whole


def test_the_law_stands_with_three_intervals_side_by_side(whole):
    law = whole.split("<h2>The law</h2>")[1].split("<h2>")[0]
    assert all(f"95% {method}" in law for method in ("Fisher", "profile", "bootstrap"))


def test_next_runs_stand_with_the_interval_before_and_after(whole, analysed):
    part = whole.split("<h2>Runs to train next</h2>")[1].split("<h2>")[0]
    assert "expected after these runs" in part
    assert all(f"{run.tokens / run.params:.3g}" in part for run in complete(analysed).recommended.runs)


def test_the_page_says_question_and_answer(written, analysed):
    html = written.read_text()
    assert answer(analysed)[0][:40] in html and "a = 0.50" in html


def test_text_of_the_study_is_escaped(written):
    html = written.read_text()
    assert "Is &lt;b&gt;a&lt;/b&gt; &amp; b?" in html and "<b>a</b>" not in html
    assert "&lt;run&gt;" in html and "diverged" in html  # what was left out


def test_tags_are_balanced(whole):
    open_tags = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag not in {"meta", "br", "img"}:
                open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Reader().feed(whole)
    assert open_tags == []


def test_the_parts_lie_beside_the_page(written, analysed):
    folder = written.parent
    names = ("loss_compute", "isoflop", "surface", "size", "ratio", "residuals", "intervals")
    drawn = {f"{name}.{kind}" for name in names for kind in ("png", "svg", "pdf")}
    assert {p.name for p in folder.iterdir()} == drawn | {"report.html", "fit.json", "table.csv"}
    stored = json.loads((folder / "fit.json").read_text())
    assert stored["surface"]["params"] == analysed.surface.fit.params  # every digit
    assert read_table(folder / "table.csv")["loss"].to_pylist() == analysed.table["loss"].to_pylist()


def test_a_report_without_a_law_says_why(analysed, tmp_path, quick):
    why = NotDone(part="surface fit", reason="4 usable runs for 5 parameters")
    found = replace(analysed, surface=None, forecast=None, not_done=(why,))
    html = write_report(Manifest(name="small"), found, tmp_path).read_text()
    assert "do not yet hold a law" in html and "4 usable runs for 5 parameters" in html
    assert "<h2>The law</h2>" not in html


def test_a_law_that_is_not_determined_is_in_no_card(unheld, tmp_path, quick):
    html = write_report(Manifest(name="unheld"), unheld, tmp_path).read_text()
    cards = html.split("<dl class='cards'>")[1].split("</dl>")[0]
    assert "Not determined by these runs" in cards and "forecast by the law" not in cards
    assert "trend of the isoFLOP minima" in cards
    assert json.loads((tmp_path / "fit.json").read_text())["forecast"] is None


def test_a_table_of_nothing_usable_still_makes_a_report(analysed, tmp_path):
    empty = replace(analysed.selection, table=analysed.table.slice(0, 0))
    found = replace(analysed, selection=empty, surface=None, isoflop=None, forecast=None, trend=None, target=None)
    html = write_report(Manifest(name="none"), found, tmp_path).read_text()
    assert "0 runs fitted" in html and "<svg" not in html
