import json

import pytest
from made_mixtures import BEST, PARTS, study

from analysis.mixing_study import study_mixture
from analysis.report.mixing_report import write_mixing
from analysis.report.mixing_text import larger_rows, summarise_mixing
from analysis.tables.table import read_table


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    table, manifest = study(noise=0.004)
    return write_mixing(manifest, study_mixture(table, manifest, draws=40), tmp_path_factory.mktemp("mixture"))


def test_the_page_says_the_best_mixture_the_law_and_what_larger_runs_say(page):
    html = page.read_text()
    assert "<h1>Which is &lt;best&gt;?</h1>" in html and "a, 2020" in html
    assert "0.30 web, 0.16 code, 0.54 books" in html
    assert "At 50k parameters it comes as number 1 of 7 mixtures" in html
    for part in ("The best mixture", "At the larger size", "The law", "The proxies", "What was left out"):
        assert f"<h2>{part}</h2>" in html, part
    assert "1, predicted best" in html and "rank correlation" in html


def test_the_page_has_its_figures_with_a_text_for_every_run(page):
    html = page.read_text()
    assert html.count("<svg") == 3
    assert all(page.with_name(f"{name}.png").exists() for name in ("triangle", "predicted", "sizes"))
    assert html.count("<title>0.05 web, 0.05 code, 0.90 books; mean loss") >= 2


def test_the_files_beside_the_page_hold_every_number(page):
    told = json.loads(page.with_name("fit.json").read_text())
    assert told["kind"] == "mixture" and told["parts"] == list(PARTS)
    assert set(told["laws"]["web"]["params"]) == {"c", "k", "t_share_web", "t_share_code"}
    assert told["best"]["weights"] == list(BEST) and len(told["best"]["intervals"]) == 3
    assert told["larger"]["place"] == 1 and None in told["larger"]["proxy"]
    assert read_table(page.with_name("table.csv")).num_rows == 25


def test_a_study_that_is_not_decided_has_a_page_too(tmp_path):
    table, manifest = study(decided=False, larger=0)
    html = write_mixing(manifest, study_mixture(table, manifest, draws=40), tmp_path).read_text()
    assert "the best mixture is not decided yet" in html and "At the larger size" not in html


def test_plain_lines_rank_the_larger_runs():
    found = study_mixture(*study(noise=0.004), draws=40)
    head, rows = larger_rows(found)
    assert [row[0] for row in rows] == ["1, predicted best", "2", "3", "4", "5", "6", "7"]
    assert [float(row[head.index("loss")]) for row in rows] == sorted(float(row[head.index("loss")]) for row in rows)
    said = summarise_mixing(found)
    assert "On mixtures left out it errs by" in said and "seeds of a proxy differ by" in said
