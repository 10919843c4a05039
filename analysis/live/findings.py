"""What the runs of a study say while others are still trained: HTML, in the words and figures of the report."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from html import escape

import pyarrow as pa

from analysis import laws
from analysis.analyse import Analysis, analyse
from analysis.comparison import Comparison, compare_arms
from analysis.design import Recommendation, recommend
from analysis.figures.save import svg
from analysis.figures.svg import inline, without_styles
from analysis.figures.training import Curve, texts, training_curves
from analysis.report.comparison_report import arms_section, comparison_answers, comparison_pictures, exponents
from analysis.report.page import figure_block, notes, paragraph, section
from analysis.report.pictures import Picture, pictures
from analysis.report.report import answers, warnings
from analysis.report.sections import next_section, parameter_table
from analysis.tables.table import Manifest, column
from analysis.words import plural

NEEDED = len(laws.chinchilla.names) - len(laws.chinchilla.fixed) + 1  # runs: one more than it has parameters


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Parts of a page, as HTML."""

    law: str  # the answer and its figures
    beside: str  # sections that follow it
    advice: str  # a section: what to train next


def fitted(table: pa.Table, manifest: Manifest) -> Analysis | Comparison:
    """Everything that the finished runs say; seconds of work.

    table: the study's records so far; at least one is finished.
    Raises ValueError for records that cannot be fitted at all (`analysis.tables.selection`).
    """
    if manifest.arms:
        return compare_arms(table, manifest)
    return analyse(table, manifest=manifest)


def findings(found: Analysis | Comparison, to_come: int) -> Findings:
    """The result with its figures. to_come: runs of the study that it does not hold yet.

    matplotlib's settings are the process's: one thread at a time may call this.
    """
    if isinstance(found, Comparison):
        return _arms(found)
    advice, why_none = _advice(found)
    found = replace(found, recommended=advice)
    shown = _blocks(pictures(found, {}))
    first = "".join(shown.get(name, "") for name in ("loss_compute", "isoflop", "surface"))
    pair = "".join(shown.get(name, "") for name in ("size", "ratio"))
    body = answers(found) + first + (f"<div class='pair'>{pair}</div>" if pair else "")
    return Findings(
        law=body + _parameters(found) + shown.get("residuals", ""),
        beside=notes("Read with care", warnings(found)),
        advice=next_section(found, shown.get("next_runs", ""), _beforehand(to_come)) or _no_advice(why_none),
    )


def curves_figure(curves: list[Curve]) -> str:
    """The training curves; empty where there are none."""
    if not any(len(curve.loss) for curve in curves):
        return ""
    goals = " Losses of two objectives are of different tokens." if any(curve.arm for curve in curves) else ""
    ends = [curve.loss[-1] for curve in curves if len(curve.loss)]
    picture = Picture(
        name="curves", title="Training curves", figure=training_curves(curves), texts=texts(curves),
        caption="Training loss against the compute spent so far, a line a run; each point is a mean over neighbouring "
        "steps. A branch begins where it leaves its trunk. The law is fitted to held-out losses, not to these." + goals,
        alt=f"{plural(len(ends), 'run')} begun, at training losses from {min(ends):.3f} to {max(ends):.3f}.",
    )  # fmt: skip
    return _block(picture)


def _advice(found: Analysis) -> tuple[Recommendation | None, str]:
    """What to train after the finished runs, with as much compute as the largest of them took; or why that is open."""
    if not found.law:
        return None, "No advice yet: it follows from the law, which these runs do not determine."
    budget = float(column(found.table, "flops").max())
    try:
        return recommend(found.law.boot, found.table, found.law.kappa, budget, target_flops=found.target), ""
    except ValueError as error:
        return None, f"No advice: {error}."


def _parameters(found: Analysis) -> str:
    if not found.law:
        return ""
    fit, boot = found.law.fit, found.law.boot
    said = f"<p class='formula'>{escape(fit.law.formula)}</p>"
    table = parameter_table(fit.params, {"bootstrap": boot.conf_int()}, fit.bse, tuple(fit.law.fixed))
    return said + table + paragraph(f"Bootstrap: {boot.describe()}. {found.law.kappa.describe()}.", "muted")


def _arms(found: Comparison) -> Findings:
    shown = "".join(_blocks(comparison_pictures(found)).values())
    return Findings(
        law=comparison_answers(found) + shown,
        beside=arms_section(found) + exponents(found) + notes("Read with care", warnings(found)),
        advice=_no_advice("No advice: it is given for one law, and this study compares arms."),
    )


def _beforehand(to_come: int) -> str:
    return f"It knows nothing of the {plural(to_come, 'planned run')} still to come." if to_come else ""


def _no_advice(why: str) -> str:
    return section("Runs to train next", paragraph(why, "muted"))


def _blocks(found: Iterable[Picture]) -> dict[str, str]:
    return {picture.name: _block(picture) for picture in found}


def _block(picture: Picture) -> str:
    drawn = inline(svg(picture.figure), picture.name, picture.alt, picture.texts)
    return figure_block(picture.title, picture.caption, without_styles(drawn))
