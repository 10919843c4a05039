import json
import re

import pytest
from made_arms import Runs, budgets, crossing, rates, sizes

from analysis.comparison import compare_arms
from analysis.report.comparison_report import write_comparison
from analysis.tables.table import read_table


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of families compared by size, with all its files."""
    table, manifest = sizes()
    folder = tmp_path_factory.mktemp("sizes")
    return write_comparison(manifest, compare_arms(table, manifest, draws=50), folder)


@pytest.fixture
def quick(monkeypatch):
    """A page with the figures' alternative texts in place of the figures, which take most of the time."""
    monkeypatch.setattr(
        "analysis.report.comparison_report.figure_blocks",
        lambda shown, folder: {item.name: f"[{item.name}: {item.alt}]" for item in shown},
    )

    def written(study, folder):
        table, manifest = study
        return write_comparison(manifest, compare_arms(table, manifest, draws=50), folder).read_text()

    return written


def test_the_page_says_question_order_exponents_and_what_was_published(page):
    html = page.read_text()
    assert "<h1>Is &lt;b&gt;a&lt;/b&gt; &amp; b?</h1>" in html
    assert re.search(r"Loss at 100k parameters, the lowest first: transformer 3\.\d+, LSTM 3\.\d+, 5-gram 3\.900", html)
    for part in ("Figures", "The arms", "Exponents", "Loss by place, largest runs", "Beside the published result"):
        assert f"<h2>{part}</h2>" in html, part
    assert "a, 2020" in html and "differ between 2 arms" in html


def test_the_page_has_its_figures_with_a_text_for_every_run(page):
    html = page.read_text()
    assert html.count("<svg") == 2 and all(page.with_name(f"{name}.png").exists() for name in ("losses", "positions"))
    assert html.count("<title>transformer-") == 6


def test_counted_runs_are_compared_by_their_tokens(quick, tmp_path):
    runs = Runs()
    for order, exponent in ((2, -0.05), (3, -0.1)):
        for tokens in (1e4, 1e5, 1e6, 1e7):
            runs.add(f"{order}-gram", params=tokens / 10, tokens=tokens, flops=0.0, loss=6 * tokens**exponent)
    html = quick(runs.study("counted"), tmp_path)
    assert "Loss at 10M tokens, the lowest first: 3-gram 1.197, 2-gram 2.680." in html
    assert "2-gram: loss ~ D^b" in html and "<dd>-0.100" in html
    assert "Loss against tokens" in html or "[losses:" in html


def test_the_table_beside_the_page_names_the_arm_of_each_run(page):
    table = read_table(page.with_name("table.csv"))
    assert set(table["arm"].to_pylist()) == {"transformer", "LSTM"} and table.num_rows == 12


def test_the_numbers_beside_the_page_are_not_rounded(page):
    told = json.loads(page.with_name("fit.json").read_text())
    assert told["kind"] == "comparison" and told["x"] == "params"
    assert [arm["name"] for arm in told["arms"]] == ["transformer", "LSTM"]
    assert len(repr(told["arms"][0]["line"]["exponent"]["value"])) > 12
    assert told["baselines"][0]["loss_by_position"] == {"1": 3.9, "2": 3.9, "4": 3.9, "8": 3.9}


def test_budgets_bring_isoflop_curves_and_best_sizes(quick, tmp_path):
    html = quick(budgets(), tmp_path)
    assert "[isoflops: Budgets with a usable minimum: decoder: 4 of 4 budgets; encoder: 4 of 4 budgets.]" in html
    assert "[optima: decoder: N* ~ C^" in html and "best size against FLOPs" in html
    assert "[positions" not in html and "[rates" not in html
    assert "several_objectives" in html


def test_of_several_sizes_at_a_budget_the_best_is_told(quick, tmp_path):
    runs = Runs()
    for arm, least in (("a", 3.0), ("b", 2.9)):
        for size, above in ((1e4, 0.2), (2e4, 0.0), (4e4, 0.1), (8e4, 0.3)):
            runs.add(arm, params=size, tokens=1e10 / size, flops=6e10, loss=least + above, budget=6e10)
    assert "Loss at 6.00e10 FLOPs, the lowest first: b 2.900, a 3.000." in quick(runs.study(), tmp_path)


def test_learning_rates_bring_their_panel(quick, tmp_path):
    html = quick(rates(), tmp_path)
    assert "[rates: Best learning rates: standard, width 16: 0.00781" in html and "lr_at_edge" in html


def test_experts_bring_losses_against_active_and_all_parameters(quick, tmp_path):
    runs = Runs()
    for size in (1e4, 2e4, 4e4, 8e4):
        for arm, times in (("dense", 1), ("experts", 4)):
            more = {"params_active": size}
            loss = 10 * (size * times**0.2) ** -0.1
            runs.add(arm, params=size * times, tokens=20 * size, flops=120 * size**2, loss=loss, **more)
    html = quick(runs.study(), tmp_path)
    assert "[losses_params_active: " in html and "[losses_params: " in html
    assert "<th>active</th>" in html or ">active</th>" in html


def test_tokenizers_as_arms_have_a_figure_of_bits_per_byte(quick, tmp_path):
    runs = Runs()
    for arm, bits in (("bytes", 1.4), ("bpe", 0.5)):
        runs.add(arm, params=1e4, tokens=1e6, flops=6e10, loss=1.0 if arm == "bytes" else 3.0, bits=bits)
    html = quick(runs.study(), tmp_path)
    assert "[bits: Bits per byte: bytes 1.4000; bpe 1.5000.]" in html


def test_what_cannot_be_done_is_said(quick, tmp_path):
    runs = Runs()
    for size in (1e4, 2e4):
        runs.add("a", params=size, tokens=1e6, flops=6e6 * size, loss=3.0)
    html = quick(runs.study(), tmp_path)
    assert "a: line: 2 distinct values of parameters; a line needs 4" in html and "<h2>Exponents</h2>" not in html


def test_a_study_without_a_usable_run_still_has_a_page(quick, tmp_path):
    runs = Runs()
    runs.add("a", params=1e4, tokens=1e6, flops=6e10, loss=3.0, status="diverged")
    html = quick(runs.study(), tmp_path)
    assert "<td>diverged</td>" in html and "[losses" not in html


def test_an_order_that_turns_with_the_budget_is_told(quick, tmp_path):
    html = quick(crossing(), tmp_path)
    assert "The best arm changes with the budget: fast from 1.00e10 to 3.00e10, slow from 1.00e11 to 3.00e11" in html
    assert "<h2>The best arm at each budget</h2>" in html
