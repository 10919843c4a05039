import json
import re

import numpy as np
import pytest

from analysis import fit, laws
from analysis.report.fit_report import write_fit_report


def alternative_texts(shown, folder):
    """Instead of figures, which are drawn elsewhere, and slow."""
    return {item.name: f"[{item.name}: {item.alt}]" for item in shown}


@pytest.fixture(scope="module")
def curve(tmp_path_factory):
    """The page of a power law of one column, from a table that is no table of runs."""
    x = np.geomspace(1.0, 1e4, 20)
    y = 5 * x**-0.3 * np.exp(0.02 * np.random.default_rng(0).standard_normal(20))
    found = fit(laws.power_law("loss", "params"), {"params": x, "loss": y})
    return found, write_fit_report("a <table>", found, tmp_path_factory.mktemp("curve"))


def test_the_page_has_law_intervals_figures_and_soundness(curve):
    found, path = curve
    html = path.read_text()
    assert "Table a &lt;table&gt;" in html and html.count("<svg") == 4
    for part in ("95% Fisher", "95% profile", "95% bootstrap", "Is the fit sound?", "Rows that steer the law most"):
        assert part in html, part
    for doubt in found.warnings():
        assert f"<dt>{doubt.name}</dt>" in html


def test_the_figures_and_the_fit_lie_beside_the_page(curve):
    found, path = curve
    for name in ("curve", "predicted", "residuals", "intervals"):
        assert all((path.parent / f"{name}.{kind}").stat().st_size > 1000 for kind in ("png", "svg", "pdf"))
    assert json.loads((path.parent / "fit.json").read_text())["params"] == found.params


def test_every_figure_has_an_alternative_text(curve):
    html = curve[1].read_text()
    assert len(re.findall(r'<svg[^>]*aria-label="[^"]+\."', html)) == 4


def test_a_law_of_several_columns_has_no_curve(analysed, tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.report.fit_report.figure_blocks", alternative_texts)
    html = write_fit_report("runs", analysed.surface.fit, tmp_path).read_text()
    assert "[predicted: 22 rows: measured loss from" in html and "[curve" not in html
    assert all(f"[{name}: " in html for name in ("residuals", "intervals"))


def test_a_parameter_that_is_held_has_no_interval(curve, tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.report.fit_report.figure_blocks", alternative_texts)
    found, _ = curve
    columns = {**found.rows.columns, "loss": found.rows.target}
    held = fit(found.law.fix(b=-0.3), columns)
    row = write_fit_report("held", held, tmp_path).read_text().split("<td>b</td>")[1].split("</tr>")[0]
    assert "held" in row and "[" not in row
