"""The report of one fit of any law to any table: a page in the same style, without decisions about a budget."""

from html import escape
from pathlib import Path

from analysis.diagnose import doubts, refits
from analysis.figures.fits import single_column
from analysis.report.export import METHODS, Ends
from analysis.report.page import cards, facts, notes, page, paragraph, section
from analysis.report.pictures import (
    Picture,
    curve_picture,
    interval_picture,
    predicted_picture,
    residual_picture,
    row_texts,
)
from analysis.report.report import figure_blocks
from analysis.report.sections import parameter_table
from analysis.report.soundness import search_facts, steering
from analysis.result import FitResult, Status
from analysis.words import bracket, number, percent, plural
from scaling.disk import write_atomic

MOST_CARDS = 6


def write_fit_report(name: str, fit: FitResult, folder: Path) -> Path:
    """Write report.html, figures as PNG, SVG and PDF, and fit.json into `folder`; returns the page's path.

    name: of the table, for the page's head. The figures are the law's curve where it has one
    column, predicted against measured, residuals, and the intervals of three methods.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "fit.json", fit.to_json() + "\n")
    held = fit.status is not Status.NOT_CONVERGED and fit.freedom > 0
    ends = {method: fit.conf_int(method) for method in METHODS} if held else None
    shown = figure_blocks(_pictures(fit, ends), folder)
    found = doubts(fit, ends["bootstrap"] if ends else None)
    body = "\n".join(
        [
            _head(name, fit, ends),
            notes("Read with care", [(doubt.name, doubt.text) for doubt in found]),
            section("Figures", shown.get("curve", "") + shown["predicted"]),
            _law(fit, ends, shown.get("intervals", "")),
            section(
                "Is the fit sound?",
                facts(search_facts(fit, refits(fit) if held else None)) + shown["residuals"] + steering(fit),
            ),
            section("As plain text", f"<pre>{escape(fit.summary())}</pre>"),
        ]
    )
    path = folder / "report.html"
    write_atomic(path, page(title=f"{name}: {fit.law.name}", body=body))
    return path


def _pictures(fit: FitResult, ends: Ends | None) -> list[Picture]:
    texts = {"runs": row_texts(fit)}
    found = [curve_picture(fit, texts)] if single_column(fit) else []
    found += [predicted_picture(fit, texts), residual_picture(fit, None, texts)]
    return [*found, interval_picture(fit, ends)] if ends else found


def _head(name: str, fit: FitResult, ends: Ends | None) -> str:
    rows = plural(len(fit.residuals), "row")
    scale = f"{percent(fit.scale)} of {fit.law.target}" if fit.law.in_log else f"{fit.scale:.3g}"
    title = fit.law.name[:1].upper() + fit.law.name[1:]
    said = f"{title}, fitted to {rows}: {fit.status.value}, residual scale {scale}."
    shown = [
        (key, number(value), bracket(*ends["bootstrap"][key], ".4g") if ends else "no interval")
        for key, value in fit.params.items() if key not in fit.law.fixed
    ][:MOST_CARDS]  # fmt: skip
    note = paragraph("Brackets hold 95% intervals by the bootstrap.", "muted") if ends else ""
    return (
        f"<header><p class='eyebrow'>Table {escape(name)}</p><h1>{escape(fit.law.formula)}</h1>"
        f"{paragraph(said, 'answer')}{cards(shown)}{note}</header>"
    )


def _law(fit: FitResult, ends: Ends | None, figure: str) -> str:
    said = f"<p class='formula'>{escape(fit.law.formula)}</p>"
    table = parameter_table(fit.params, ends or {}, fit.bse, tuple(fit.law.fixed))
    source = "".join(paragraph(" ".join(part.split()), "muted") for part in fit.law.doc.strip().split("\n\n")[1:])
    return section("The law", said + table + source + figure)
