"""The parts of a report below its head, as HTML. A part that the analysis cannot fill is empty."""

from html import escape

import numpy as np

from analysis.analyse import Analysis
from analysis.report.checklist import checklist
from analysis.report.export import Ends
from analysis.report.page import facts, notes, paragraph, section, table_html
from analysis.report.questions import questions
from analysis.report.summary import summarise
from analysis.tables.table import Manifest, column
from analysis.words import (
    DECISIONS,
    Estimate,
    bracket,
    compact,
    counts,
    flops,
    interval,
    number,
    percent,
    plural,
    short,
)

NO_ANSWER = "-"
MOST_PRINTED = 100  # runs listed on paper as well; table.csv has them all


def methods_section(analysis: Analysis, figure: str) -> str:
    """Each method's exponent and sizes with intervals, its known bias, and where they disagree."""
    if not analysis.methods:
        return ""
    rows = [
        [
            item.title,
            interval(item.exponent) if item.exponent else NO_ANSWER,
            counts(item.params_at_largest) if item.params_at_largest else NO_ANSWER,
            counts(item.params_at_target) if item.params_at_target else NO_ANSWER,
            f"{item.budgets} of {item.tried}",
        ]
        for item in analysis.methods
    ]
    at = f"at {flops(analysis.target)} FLOPs"
    head = ["method", "exponent a", "N* at the largest budget", f"N* {at}", "budgets"]
    text = paragraph("The same runs, four ways. Where they agree, the answer does not hang on the method.", "muted")
    biases = facts(
        (item.title, f"{item.bias}. Not done here: {item.reason}" if item.reason else item.bias)
        for item in analysis.methods
    )
    known = f"<h3>The known bias of each</h3>{biases}"
    return section("Methods side by side", text + table_html(head, rows) + figure + known)


def backtest_section(analysis: Analysis, figure: str) -> str:
    """Forms of the law compared by their error on larger runs that they did not see."""
    tested = analysis.backtest
    if tested is None:
        return ""
    dropped = ", ".join(str(k) for k in tested.compared)
    ranked = [[r.law, percent(r.rmse), f"{r.bias:+.2%}", f"{r.coverage:.0%}", str(r.runs)] for r in tested.ranking]
    head = ["law", "error, root mean square", "mean error", "inside its 95% interval", "predictions"]
    said = paragraph(
        f"Each law was fitted without the largest {dropped or 'levels'} of {tested.levels} levels of compute, and "
        "predicted the runs left out. Errors are measured above predicted, in per cent; the best comes first.", "muted",
    )  # fmt: skip
    trials = [
        [
            t.law, str(t.drop), f"{t.ratio:.3g}", str(t.kept), f"{t.bias:+.2%}", percent(t.rmse), percent(t.expected),
            f"{t.coverage:.0%}",
        ]
        for t in sorted(tested.trials, key=lambda trial: (trial.drop, trial.rmse))
    ]  # fmt: skip
    each = table_html(
        ["law", "levels left out", "times beyond", "runs fitted", "mean error", "error", "expected", "inside"], trials
    )
    doubts = notes("Of this comparison", [(note.name, note.text) for note in tested.notes])
    failed = [[item.law, str(item.drop), item.reason] for item in tested.not_tried]
    missing = f"<h3>Not fitted</h3>{table_html(['law', 'levels left out', 'why'], failed)}" if failed else ""
    body = said + (table_html(head, ranked) if ranked else "") + figure + f"<h3>Each trial</h3>{each}" + missing
    return section("Competing forms, on runs they did not see", body) + doubts


def law_section(analysis: Analysis, ends: Ends, figure: str) -> str:
    """The parameters with their intervals by all methods."""
    surface = analysis.surface
    if not surface:
        return ""
    fit = surface.fit
    said = f"<p class='formula'>{escape(fit.law.formula)}</p>"
    if surface.undetermined:
        said += f"<p><b>Not determined by these runs: {escape(surface.undetermined)}.</b></p>"
        said += table_html(["", "closest"], [[name, number(value, ".5g")] for name, value in fit.params.items()])
    else:
        said += parameter_table(fit.params, ends, fit.bse, tuple(fit.law.fixed))
    note = f"Bootstrap: {surface.boot.describe()}. {surface.kappa.describe()}. "
    note += "All digits and the covariance are in fit.json."
    return section("The law", said + paragraph(note, "muted") + figure)


def parameter_table(params: dict[str, float], ends: Ends, errors: dict[str, float], held: tuple[str, ...]) -> str:
    """A row a parameter: value, standard error, and an interval by each method."""
    rows = [
        [
            name, number(value, ".5g"), "held" if name in held else number(errors[name], ".3g"),
            *("" if name in held else bracket(*found[name]) for found in ends.values()),
        ]
        for name, value in params.items()
    ]  # fmt: skip
    return table_html(["", "value", "se", *(f"95% {method.replace('fisher', 'Fisher')}" for method in ends)], rows)


def next_section(analysis: Analysis, figure: str, note: str = "") -> str:
    """What to train next, and what it is expected to be worth. note: what a reader must know of it first."""
    advice = analysis.recommended
    if advice is None:
        return ""
    rows = [
        [
            short(run.params), short(run.tokens), f"{run.tokens / run.params:.3g}", flops(run.flops), flops(run.cost),
            run.why,
        ]
        for run in advice.runs
    ]  # fmt: skip
    head = ["N", "D", "D/N", "C (FLOPs)", "cost (FLOPs)", "why"]
    stages = [("now", advice.before), ("expected after these runs", advice.after)]
    if advice.simulated:
        stages.append(("after, by simulation", advice.simulated))
    what = DECISIONS[advice.decision]
    worth = [[name, *_estimate(found)] for name, found in stages]
    numbers = table_html([what, "value", "95% interval"], worth)
    said = paragraph(
        f"For the sharpest answer about the {what} at {flops(advice.target_flops)} FLOPs, within a budget of "
        f"{flops(advice.budget)} FLOPs: {plural(len(advice.runs), 'run')} for {flops(advice.cost)} FLOPs."
    )
    said += paragraph(note) if note else ""
    notes = (*advice.notes, "these intervals go by curvature, to be compared with each other; the bootstrap's is above")
    more = "".join(paragraph(note[0].upper() + note[1:] + ".", "muted") for note in notes)
    return section("Runs to train next", said + table_html(head, rows) + numbers + more + figure)


def _estimate(found: Estimate) -> tuple[str, str]:
    if found.value < 1e4:
        return f"{found.value:.4g}", bracket(found.low, found.high)
    value, _, ends = counts(found).partition(" ")
    return value, ends


def comparison(manifest: Manifest, analysis: Analysis) -> str:
    """The published value beside this study's, and what the study said beforehand that it can show."""
    if not manifest.published:
        return ""
    rows = [("Published", manifest.published), ("This study", _ours(analysis))]
    if analysis.law:
        counted = "; ".join(f"a = {value:.3f}, N: {name}" for name, value in analysis.law.conventions.items())
        rows.append(("By counting", counted))
    rows += [("Can show", manifest.shows), ("Cannot show", manifest.cannot_show)]
    return section("Beside the published value", facts([(k, v) for k, v in rows if v]))


def _ours(analysis: Analysis) -> str:
    parts = []
    if analysis.law:
        parts.append(f"a = {interval(analysis.law.exponent)} from the surface fit")
    if analysis.isoflop and analysis.isoflop.params:
        parts.append(f"a = {interval(analysis.isoflop.params.exponent)} from the isoFLOP minima")
    return "; ".join(parts)


def protocol(analysis: Analysis) -> str:
    """The 25 points, and the reporting checklist."""
    points = checklist(analysis)
    rows = [[str(point.number), point.demand, point.state, point.evidence] for point in points]
    done = sum(point.state == "done" for point in points)
    said = paragraph(f"{done} of {len(points)} points of the protocol are done, as far as the table shows it.", "muted")
    table = table_html(["", "what the protocol asks", "state", "from the data"], rows, states=2)
    asked = f"<h3>What a reader of a scaling law must be told</h3>{facts(questions(analysis))}"
    return section("Checklist", said + table + asked, "long")


def left_out(analysis: Analysis, manifest: Manifest) -> str:
    """Every run that was not fitted, with its reason."""
    rows = [[item.run_id, item.reason] for item in analysis.selection.left_out]
    said = table_html(["run", "why"], rows) if rows else "<p>Nothing was left out.</p>"
    return section("What was left out", said + never_planned(manifest))


def never_planned(manifest: Manifest) -> str:
    """Rows of the study's sweeps that it dropped, and why; "" where it dropped none."""
    if not manifest.dropped_rows:
        return ""
    rows = [[reason, str(count)] for reason, count in manifest.dropped_reasons]
    many = "1 row was" if manifest.dropped_rows == 1 else f"{manifest.dropped_rows} rows were"
    return paragraph(f"Of the study's sweep {many} never planned:") + table_html(["why", "rows"], rows)


def runs(analysis: Analysis) -> str:
    """Every run that was fitted."""
    fitted = analysis.surface.fit.residuals if analysis.surface else [None] * analysis.table.num_rows
    rows = [
        [
            row["run_id"], compact(row["params"]), compact(row["tokens"]), f"{row['tokens'] / row['params']:.3g}",
            flops(row["flops"]), f"{row['loss']:.4f}", "" if row["loss_se"] is None else f"{row['loss_se']:.4f}",
            "" if residual is None else f"{100 * residual:+.2f}%", "" if row["seed"] is None else f"{row['seed']:.0f}",
        ]
        for row, residual in zip(analysis.table.to_pylist(), fitted, strict=True)
    ]  # fmt: skip
    head = ["run", "N", "D", "D/N", "C (FLOPs)", "loss", "se, held-out", "residual", "seed"]
    used = [i for i in range(len(head)) if not rows or any(row[i] for row in rows)]
    table = table_html([head[i] for i in used], [[row[i] for i in used] for row in rows])
    kind = " class='brief'" if len(rows) <= MOST_PRINTED else ""
    return section("Runs", f"<details{kind}><summary>{plural(len(rows), 'run')} fitted</summary>{table}</details>")


def provenance(analysis: Analysis) -> str:
    """Where the numbers come from."""
    names = {
        "git_commit": "Commit", "git_dirty": "Uncommitted changes", "python": "Python", "device_kind": "Device",
        "content": "Data (SHA-256)", "packages": "Packages",
    }  # fmt: skip
    rows = [("Bootstrap", f"{analysis.draws} draws, seed {analysis.seed}")]
    for name, label in names.items():
        if name in analysis.table.column_names:
            rows.append((label, ", ".join(sorted({str(v) for v in analysis.table[name].to_pylist() if v})) or "none"))
    if "device_seconds" in analysis.table.column_names:
        seconds, energy = column(analysis.table, "device_seconds"), column(analysis.table, "energy_kwh")
        power = f", about {np.nansum(energy):.3g} kWh" if np.isfinite(energy).any() else ""
        rows.append(("Cost of these runs", f"{np.nansum(seconds):,.0f} device seconds{power}; trunks not counted"))
    text = f"<summary>The result as plain text</summary><pre>{escape(summarise(analysis))}</pre>"
    return section("Provenance", f"{facts(rows)}<details class='brief'>{text}</details>")
