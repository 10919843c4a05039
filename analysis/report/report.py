"""The report of a study: one HTML file that needs no network, and its parts as files beside it."""

import json
from collections.abc import Iterable
from html import escape
from pathlib import Path

from analysis.analyse import Analysis
from analysis.comparison import Comparison
from analysis.figures.save import save
from analysis.figures.svg import inline
from analysis.report.export import three_intervals, to_json
from analysis.report.page import cards, figure_block, notes, page, paragraph, section
from analysis.report.pictures import Picture, pictures
from analysis.report.sections import (
    backtest_section,
    comparison,
    law_section,
    left_out,
    methods_section,
    next_section,
    protocol,
    provenance,
    runs,
)
from analysis.report.soundness import soundness
from analysis.report.verdict import WIDE_EXPONENT, WIDE_RATIO, answer, shows_trend
from analysis.tables.table import Manifest, write_csv
from analysis.words import Estimate, bracket, flops
from scaling.disk import write_atomic

UNDETERMINED = "Not determined by these runs"
BRACKETS = "Brackets hold 95% intervals; losses are nats per token."


def write_report(manifest: Manifest, analysis: Analysis, folder: Path) -> Path:
    """Write report.html, figures as PNG, SVG and PDF, fit.json and table.csv into `folder`; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    ends = three_intervals(analysis)
    write_atomic(folder / "fit.json", json.dumps(to_json(analysis, ends), indent=1, allow_nan=False) + "\n")
    write_csv(analysis.table, folder / "table.csv")
    shown = figure_blocks(pictures(analysis, ends), folder)
    first = "".join(shown.get(name, "") for name in ("loss_compute", "isoflop", "surface"))
    pair = "".join(shown.get(name, "") for name in ("size", "ratio"))
    body = "\n".join(
        [
            _head(manifest, analysis),
            notes("Read with care", warnings(analysis)),
            section("Figures", first + (f"<div class='pair'>{pair}</div>" if pair else "")),
            methods_section(analysis, shown.get("methods", "")),
            comparison(manifest, analysis),
            backtest_section(analysis, shown.get("backtest", "")),
            law_section(analysis, ends, shown.get("intervals", "")),
            soundness(analysis, shown.get("residuals", "")),
            next_section(analysis, shown.get("next_runs", "")),
            protocol(analysis),
            left_out(analysis, manifest),
            runs(analysis),
            provenance(analysis),
        ]
    )
    path = folder / "report.html"
    write_atomic(path, page(title=f"{manifest.name}: scaling law", body=body))
    return path


def figure_blocks(shown: Iterable[Picture], folder: Path) -> dict[str, str]:
    """Write each figure's files, and give its HTML by name."""
    return {
        item.name: figure_block(
            item.title, item.caption, inline(save(item.figure, folder, item.name), item.name, item.alt, item.texts)
        )
        for item in shown
    }


def warnings(analysis: Analysis | Comparison) -> list[tuple[str, str]]:
    """(name, text): what to doubt, and what could not be done."""
    doubted = [(doubt.name, doubt.text) for doubt in analysis.warnings]
    return doubted + [("not done", f"{item.part}: {item.reason}") for item in analysis.not_done]


def _head(manifest: Manifest, analysis: Analysis) -> str:
    return (
        f"<header><p class='eyebrow'>Study {escape(manifest.name)}</p>"
        f"<h1>{escape(manifest.question or manifest.name)}</h1>{answers(analysis)}</header>"
    )


def answers(analysis: Analysis) -> str:
    """The result in a paragraph or two, and the numbers that a reader looks for."""
    said = "".join(paragraph(text, "answer") for text in answer(analysis))
    numbers = cards(_numbers(analysis))
    return said + numbers + (paragraph(BRACKETS, "muted") if numbers else "")


def _numbers(analysis: Analysis) -> list[tuple[str, str, str]]:
    """The numbers a reader looks for; what the runs hardly hold is given as a range, with its best fit beside it."""
    found = []
    if analysis.surface:
        law, label = analysis.law, "exponent a, surface fit"
        wide = law is not None and law.exponent.span > WIDE_EXPONENT
        held = law and _number(label, law.exponent, ".2f" if wide else ".3f", wide)
        found.append(held or (label, "-", UNDETERMINED))
    if analysis.isoflop and analysis.isoflop.params:
        found.append(_number("exponent a, isoFLOP minima", analysis.isoflop.params.exponent, ".3f"))
    at = f"at {flops(analysis.target)} FLOPs" if analysis.target else ""
    if analysis.forecast:
        ahead = analysis.forecast
        found.append(_number(f"loss {at}, forecast by the law", ahead.loss, ".3f"))
        ratio = ahead.tokens_per_param
        found.append(_number(f"best tokens per parameter {at}", ratio, ".3g", ratio.factor > WIDE_RATIO))
    if shows_trend(analysis):
        found.append(_number(f"loss {at}, trend of the isoFLOP minima", analysis.trend, ".3f"))
    return found


def _number(label: str, found: Estimate, digits: str, wide: bool = False) -> tuple[str, str, str]:
    if wide:
        return label, bracket(found.low, found.high, digits), f"closest fit {found.value:{digits}}"
    return label, f"{found.value:{digits}}", bracket(found.low, found.high, digits)
