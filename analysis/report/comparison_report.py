"""The report of a study that compares arms: one HTML file that needs no network, and its parts as files beside it."""

import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import numpy as np
import pyarrow as pa

from analysis import figures
from analysis.compared_arm import SAME, axis_letter, axis_name
from analysis.comparison import BITS, Comparison
from analysis.figures.arms import baselines, bits_of_loss, has
from analysis.leaders import lowest, reign
from analysis.report.comparison_text import (
    ALL,
    ARM_HEAD,
    NONE,
    RANK_HEAD,
    WORTH_HEAD,
    arm_rows,
    comparison_json,
    exponent_lines,
    position_rows,
    ranking_rows,
    repeat_lines,
    repeat_rows,
    summarise_comparison,
    worth_row,
)
from analysis.report.page import cards, facts, notes, page, paragraph, section, table_html
from analysis.report.pictures import Picture, run_texts
from analysis.report.report import figure_blocks, warnings
from analysis.report.sections import never_planned
from analysis.tables.table import Manifest, column, write_csv
from analysis.words import Estimate, bracket, compact, flops, interval, percent, plural
from scaling.disk import write_atomic

MOST_CARDS = 8  # with more the table below is easier to read
ABOUT = {"git_commit": "Commit", "git_dirty": "Uncommitted changes", "device_kind": "Device", "packages": "Packages"}


def write_comparison(manifest: Manifest, found: Comparison, folder: Path) -> Path:
    """Write report.html, figures as PNG, SVG and PDF, fit.json and table.csv into `folder`; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "fit.json", json.dumps(comparison_json(found), indent=1, allow_nan=False) + "\n")
    write_csv(found.table, folder / "table.csv")
    shown = figure_blocks(comparison_pictures(found), folder)
    body = "\n".join(
        [
            _head(manifest, found),
            notes("Read with care", warnings(found)),
            section("Figures", "".join(shown.values())),
            arms_section(found),
            _repeated(found),
            exponents(found),
            _rankings(found),
            _positions(found),
            _published(manifest, found),
            _left_out(found, manifest),
            _runs(found),
            _provenance(found),
        ]
    )
    path = folder / "report.html"
    write_atomic(path, page(title=f"{manifest.name}: arms compared", body=body))
    return path


def _head(manifest: Manifest, found: Comparison) -> str:
    return (
        f"<header><p class='eyebrow'>Study {escape(manifest.name)}</p>"
        f"<h1>{escape(manifest.question or manifest.name)}</h1>{comparison_answers(found)}</header>"
    )


def comparison_answers(found: Comparison) -> str:
    """The order of the arms in a paragraph, and the numbers that a reader looks for."""
    said = "".join(paragraph(text, "answer") for text in _answer(found))
    letter = axis_letter(found.x)
    numbers = [
        (f"{arm.name}: loss ~ {letter}^b", f"{arm.line.exponent.value:.3f}", _bracket(arm.line.exponent))
        for arm in found.arms if arm.line
    ] + [
        (f"{arm.name}: N* ~ C^a", f"{arm.isoflop.params.exponent.value:.3f}", _bracket(arm.isoflop.params.exponent))
        for arm in found.arms if arm.isoflop and arm.isoflop.params
    ]  # fmt: skip
    numbers = numbers if len(numbers) <= MOST_CARDS else []
    note = paragraph(f"Brackets hold 95% intervals; losses are {found.unit}.", "muted") if numbers else ""
    return said + cards(numbers) + note


def arms_section(found: Comparison) -> str:
    """A row an arm."""
    return section("The arms", _table(ARM_HEAD, arm_rows(found)))


def _bracket(estimate: Estimate) -> str:
    return bracket(estimate.low, estimate.high, ".3f")


def _answer(found: Comparison) -> list[str]:
    """For each objective the order of the arms where all of them were trained as far; then the tests of exponents."""
    said = []
    for objective in found.objectives:
        arms = found.of(objective)
        reach = min(column(arm.best, found.x).max() for arm in arms)
        reached = [(_loss_at(arm.best, found.x, reach), arm.arm) for arm in arms]
        reached += [(row["loss"], row["arm"]) for row in baselines(found, objective)]
        if len(reached) < 2:
            continue
        at = f"{flops(reach) if found.x == 'flops' else compact(reach)} {axis_name(found.x)}"
        ranked = ", ".join(f"{name} {loss:.3f}" for loss, name in sorted(reached))
        goal = f" ({objective.replace('_', ' ')})" if len(found.objectives) > 1 else ""
        unit = f" in {found.unit}" if found.unit == BITS else ""
        said.append(f"Loss{goal}{unit} at {at}, the lowest first: {ranked}.")
    if len(found.objectives) == 1:
        said += _turns(found)
    if found.repeats:
        most = int(repeat_rows(found)[-1][0])
        said.append(
            f"Tokens that are read {most} times teach as much as {interval(found.repeats.worth(most), '.3g')} times as "
            f"many that are read once (R_D = {interval(found.repeats.decay, '.3g')})."
        )
    if said and found.seeds:
        said[-1] += f" Runs that differ by their seed alone differ by {percent(found.seeds.scale)}."
    for item in found.same:
        differ = "differ" if item.result.p < 0.05 else "do not differ visibly"
        said.append(f"The exponents of {item.of} {differ} between {plural(len(item.arms), 'arm')} "
                    f"(p = {item.result.p:.2g}).")  # fmt: skip
    return said


def _turns(found: Comparison) -> list[str]:
    """Which arm is best up to which budget, where the order turns."""
    reigns = reign(found.rankings)
    if len(reigns) < 2:
        return []
    told = [
        f"{name} " + (f"at {flops(low)}" if low == high else f"from {flops(low)} to {flops(high)}")
        for name, low, high in reigns
    ]
    return [f"The best arm changes with the budget: {', '.join(told)} FLOPs."]


def _loss_at(table: pa.Table, x: str, value: float) -> float:
    """The lowest loss, over sizes, of the runs nearest to a value of x; of several seeds the mean."""
    away = np.abs(np.log(column(table, x) / value))
    near = away <= away.min() + np.log(SAME)
    loss, params = column(table, "loss")[near], column(table, "params")[near]
    return min(float(loss[params == size].mean()) for size in params)


def comparison_pictures(found: Comparison) -> Iterator[Picture]:
    """Every figure that the arms allow."""
    if not found.arms:
        return
    texts = {f"arm{i}": run_texts(arm.best) for i, arm in enumerate(found.arms)}
    order = "; ".join(f"{row[0]} {row[ARM_HEAD.index('loss')]}" for row in arm_rows(found))
    against = {"flops": "compute", "params": "size", "tokens": "tokens"}[found.x]
    yield Picture(
        name="losses", title=f"Loss against {against}", figure=figures.arm_losses(found), texts=texts,
        caption=_loss_caption(found),
        alt=f"Lowest losses: {order}.",
    )  # fmt: skip
    if any(has(found, goal, "bits_per_byte") and not bits_of_loss(found, goal) for goal in found.objectives):
        yield Picture(
            name="bits", title="Bits per byte", figure=figures.arm_losses(found, measure="bits_per_byte"), texts=texts,
            caption="The same runs, where what they predict is a stretch of text told from what precedes it.",
            alt="Bits per byte: " + "; ".join(f"{row[0]} {row[-1]}" for row in arm_rows(found)) + ".",
        )  # fmt: skip
    yield from _by_size(found, texts)
    if any(arm.isoflop for arm in found.arms):
        yield from _isoflops(found)
    if found.repeats:
        yield Picture(
            name="repeats", title="Tokens that are read again", figure=figures.repeated_tokens(found), texts=texts,
            caption="Each point is a run; a line is the law that was fitted to the runs of all arms and sizes at once. "
            "Where an arm leaves the line of new tokens, its own are no longer worth as much.",
            alt="; ".join(repeat_lines(found)) + ".",
        )  # fmt: skip
    if position_rows(found)[1]:
        yield Picture(
            name="positions", title="Loss by the token's place", figure=figures.loss_by_position(found),
            caption="How much each arm gains from what it has read: the mean loss of the tokens up to a place, from "
            "the place before. Thin lines are smaller or shorter runs." + _own_tokens(found), alt=_position_alt(found),
        )  # fmt: skip
    if found.rates:
        said = "; ".join(f"{curve.arm}, {curve.label}: {curve.best:.3g}" for curve in found.rates)
        yield Picture(
            name="rates", title="Learning rates", figure=figures.learning_rates(found.rates, found.unit),
            caption="Runs that differ in their peak learning rate alone. The star is the best rate, hollow where it is "
            "the last that was tried.", alt=f"Best learning rates: {said}.",
        )  # fmt: skip


def _loss_caption(found: Comparison) -> str:
    said = "Each point is a run; a line is the power law through an arm's runs"
    if any(arm.isoflop and arm.line for arm in found.arms):
        said += ", or through its isoFLOP minima, the stars"
    if found.x == "flops" and any(not arm.line and lowest(arm) for arm in found.arms):
        said += "; a thin line joins the lowest losses of the budgets of an arm without one"
    if found.unit == BITS:
        said += ". Losses are in bits per byte, because not all runs read the same tokens"
    return said + (". A dashed level took no training FLOPs." if found.baselines.num_rows else ".")


def _own_tokens(found: Comparison) -> str:
    """What a loss per token asks to be read with."""
    return " Arms have tokens of their own here: compare each with itself." if found.unit == BITS else ""


def _by_size(found: Comparison, texts: dict[str, list[str]]) -> Iterator[Picture]:
    """Where not all parameters are active, losses against both counts."""
    counts = [name for name in ("params_active", "params") if name in found.table.column_names]
    if len(counts) < 2 or np.array_equal(*(column(found.table, name) for name in counts)):
        return
    for name, title in zip(counts, ("active parameters", "all parameters"), strict=True):
        yield Picture(
            name=f"losses_{name}", title=f"Loss against {title}", figure=figures.arm_losses(found, x=name), texts=texts,
            caption=f"The same runs against {title}.", alt=f"The same losses against {title}.",
        )  # fmt: skip


def _isoflops(found: Comparison) -> Iterator[Picture]:
    said = "; ".join(
        f"{arm.name}: {len(arm.isoflop.usable)} of {plural(len(arm.isoflop.minima), 'budget')}"
        for arm in found.arms if arm.isoflop
    )  # fmt: skip
    yield Picture(
        name="isoflops", title="IsoFLOP curves", figure=figures.arm_isoflops(found),
        alt=f"Budgets with a usable minimum: {said}.",
        caption="A parabola for each budget, darker for a smaller one. The star is its minimum; a dashed parabola has "
        "no usable minimum.",
    )  # fmt: skip
    if any(arm.isoflop and arm.isoflop.usable for arm in found.arms):
        yield Picture(
            name="optima", title="Optimal size", figure=figures.arm_optima(found), alt="; ".join(_size_texts(found)),
            caption="The best number of parameters for each budget, with 95% intervals.",
        )  # fmt: skip


def _size_texts(found: Comparison) -> list[str]:
    return [
        f"{arm.name}: N* ~ C^{interval(arm.isoflop.params.exponent)}."
        for arm in found.arms if arm.isoflop and arm.isoflop.params
    ] or ["No arm has two usable minima."]  # fmt: skip


def _position_alt(found: Comparison) -> str:
    head, rows = position_rows(found)
    return "; ".join(f"{row[0]}: {row[1]} at place {head[1]}, {row[-1]} up to place {head[-1]}" for row in rows) + "."


def exponents(found: Comparison) -> str:
    rows = [
        [
            arm.name,
            interval(arm.line.exponent) if arm.line else NONE,
            interval(arm.isoflop.params.exponent) if arm.isoflop and arm.isoflop.params else NONE,
            str(arm.points.shape[1]),
        ]
        for arm in found.arms
    ]  # fmt: skip
    if not exponent_lines(found):
        return ""
    head = ["arm", f"loss against {axis_name(found.x)}", "best size against FLOPs", "points"]
    tests = [(f"exponent of {item.of}, {plural(len(item.arms), 'arm')}", item.result.describe()) for item in found.same]
    said = paragraph(
        "Power laws without a floor, over the range that was trained: exponents of this range, not of the limit.",
        "muted",
    )
    body = said + _table(head, rows) + (facts(tests) if tests else "")
    if found.worth:
        worth = paragraph(
            "What an arm needs for a loss, over what another needs: at the lowest loss that both lines reach.", "muted"
        )
        body += worth + table_html(WORTH_HEAD, [worth_row(found, item) for item in found.worth])
    return section("Exponents", body)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Without the columns that say nothing of any arm."""
    keep = [i for i in range(len(head)) if i == 0 or any(row[i] not in (NONE, ALL) for row in rows)]
    return table_html([head[i] for i in keep], [[row[i] for i in keep] for row in rows])


def _repeated(found: Comparison) -> str:
    """What tokens are worth that are read again."""
    known = found.repeats
    if known is None:
        return ""
    said = paragraph(
        f"{known.joint.law.formula}, fitted to {plural(known.runs_of_one_pass, 'run')} of one pass and "
        f"{known.runs_again} of more, of all arms and sizes. U are different tokens, D those read; R_D is how many "
        "repetitions bring what a further one is worth down to 1/e.",
        "muted",
    )
    tests = facts(
        [
            ("R_D, all parameters fitted at once", interval(known.decay, ".3g")),
            ("R_D, the law of the runs of one pass held", interval(known.held, ".3g")),
            ("Residuals of the fit", f"{percent(known.joint.scale)} of the loss"),
        ]
    )
    worth = table_html(["passes", "are worth so many of new tokens"], repeat_rows(found))
    return section("What repeated tokens are worth", said + tests + worth)


def _rankings(found: Comparison) -> str:
    rows = ranking_rows(found)
    return section("The best arm at each budget", _table(RANK_HEAD, rows)) if rows else ""


def _positions(found: Comparison) -> str:
    head, rows = position_rows(found)
    return section("Loss by place, largest runs", table_html(head, rows)) if rows else ""


def _published(manifest: Manifest, found: Comparison) -> str:
    ours = "; ".join(line.strip() for line in exponent_lines(found))
    rows = [("Published", manifest.published), ("This study", ours), ("Can show", manifest.shows)]
    rows.append(("Cannot show", manifest.cannot_show))
    return section("Beside the published result", facts([(key, text) for key, text in rows if text]))


def _left_out(found: Comparison, manifest: Manifest) -> str:
    rows = [[item.run_id, item.reason] for item in found.selection.left_out]
    said = table_html(["run", "why"], rows) if rows else "<p>Nothing was left out.</p>"
    return section("What was left out", said + never_planned(manifest))


def _runs(found: Comparison) -> str:
    rows = [
        [
            row["run_id"], row["arm"], compact(row["params"]), compact(row["tokens"]), flops(row["flops"]),
            f"{row['loss']:.4f}", NONE if row["loss_se"] is None else f"{row['loss_se']:.4f}",
            NONE if row.get("bits_per_byte") is None else f"{row['bits_per_byte']:.4f}",
            NONE if row.get("lr") is None else f"{row['lr']:.3g}",
            NONE if row["seed"] is None else f"{row['seed']:.0f}",
        ]
        for row in found.table.to_pylist()
    ]  # fmt: skip
    head = ["run", "arm", "N", "D", "C (FLOPs)", "loss", "se, held-out", "bits per byte", "lr", "seed"]
    return section("Runs", f"<details><summary>{plural(len(rows), 'run')}</summary>{table_html(head, rows)}</details>")


def _provenance(found: Comparison) -> str:
    rows = [("Bootstrap", f"{found.draws} draws, seed {found.seed}")]
    for name, label in ABOUT.items():
        if name in found.table.column_names:
            rows.append((label, ", ".join(sorted({str(v) for v in found.table[name].to_pylist() if v})) or "none"))
    if "device_seconds" in found.table.column_names:
        seconds = np.nansum(column(found.table, "device_seconds"))
        rows.append(("Cost of these runs", f"{seconds:,.0f} device seconds; trunks not counted"))
    text = f"<summary>The result as plain text</summary><pre>{escape(summarise_comparison(found))}</pre>"
    return section("Provenance", f"{facts(rows)}<details class='brief'>{text}</details>")
