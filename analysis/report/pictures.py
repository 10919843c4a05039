"""Which figures a report shows, and their words: a caption, hovering texts, a sentence for who cannot see it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from analysis import figures
from analysis.analyse import Analysis
from analysis.figures.compare import MOST_LAWS, held_out, laws_by_error
from analysis.isoflop import Minimum, groups
from analysis.report.export import Ends
from analysis.report.verdict import largest_budget
from analysis.result import FitResult
from analysis.tables.table import column
from analysis.words import DECISIONS, Estimate, bracket, compact, counts, flops, interval, percent, plural, short


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure and what is said of it."""

    name: str  # of its files
    title: str
    caption: str
    alt: str  # what it shows, with the numbers
    figure: Figure
    texts: dict[str, list[str]] = field(default_factory=dict)  # by group of points: a text each


def pictures(analysis: Analysis, ends: Ends) -> Iterator[Picture]:
    """Every figure that the analysis allows, in the order of the report. ends: the law's intervals by method."""
    if not analysis.table.num_rows:
        return
    texts = {"runs": run_texts(analysis.table), **_line_texts(analysis)}
    yield Picture(
        name="loss_compute", title="Loss against compute", figure=figures.loss_compute(analysis), texts=texts,
        caption="Each point is a run, coloured by its compute; grey lines join runs of one size. The orange "
        "line, drawn when the law is determined, is the lowest loss it allows at each budget.",
        alt=_loss_alt(analysis),
    )  # fmt: skip
    if analysis.isoflop:
        yield _isoflop(analysis)
    if analysis.surface:
        yield Picture(
            name="surface", title="The loss surface", figure=figures.loss_surface(analysis), texts=texts,
            caption="Grey lines join equal loss by the law, blue ones equal compute. The orange path is the best split "
            "of each budget, dashed where it leaves the runs: it touches each iso-loss line where compute is least.",
            alt=_surface_alt(analysis),
        )  # fmt: skip
    if analysis.law or (analysis.isoflop and analysis.isoflop.usable):
        yield from _splits(analysis, texts)
    if analysis.surface:
        yield residual_picture(analysis.surface.fit, noise_bands(analysis), texts)
        if ends:
            yield interval_picture(analysis.surface.fit, ends)
    if any(result.exponent for result in analysis.methods):
        yield Picture(
            name="methods", title="Methods side by side", figure=figures.methods(analysis.methods),
            caption="The exponent of the optimal size, and that size at the target, with 95% intervals.",
            alt="; ".join(result.describe() for result in analysis.methods) + ".",
        )  # fmt: skip
    if analysis.backtest and analysis.backtest.trials:
        yield _backtest(analysis)
    if analysis.recommended and analysis.recommended.runs:
        yield _next_runs(analysis, texts)


def noise_bands(analysis: Analysis) -> dict[str, float]:
    """One standard deviation of ln loss: of the residuals, and of the seeds alone where that is known."""
    surface = analysis.surface
    bands = {"of the residuals": surface.fit.scale}
    if surface.misfit.seeds:
        bands["between seeds"] = surface.misfit.seeds.scale
    return bands


def residual_picture(fit: FitResult, bands: dict[str, float] | None, texts: dict[str, list[str]]) -> Picture:
    """What the law leaves over."""
    worst = int(np.argmax(np.abs(fit.residuals)))
    shown = percent if fit.law.in_log else "{:.3g}".format
    return Picture(
        name="residuals", title="What the law does not explain", figure=figures.residuals(fit, bands), texts=texts,
        caption="A trend here would mean that the form is wrong. Grey is one standard deviation of the residuals"
        + (", dashed that of runs which differ by their seed alone." if bands and len(bands) > 1 else "."),
        alt=f"Residuals of {plural(len(fit.residuals), 'row')} with a scale of {shown(fit.scale)}, the largest "
        f"{shown(fit.residuals[worst])} at {fit.rows.ids[worst]}.",
    )  # fmt: skip


def interval_picture(fit: FitResult, ends: Ends) -> Picture:
    """How sure the parameters are, three ways."""
    said = "; ".join(
        f"{name} {value:.4g}, {', '.join(f'{method} {bracket(*found[name])}' for method, found in ends.items())}"
        for name, value in fit.params.items() if name not in fit.law.fixed
    )  # fmt: skip
    return Picture(
        name="intervals", title="Three ways to an interval", figure=figures.intervals(fit, ends),
        alt=f"95% intervals: {said}.",
        caption="Each interval in units of Fisher's standard error, about the fitted value at 0. Where the ways differ "
        "much, a few runs or a bent likelihood decide: take the widest. An arrow goes on beyond the plot.",
    )  # fmt: skip


def predicted_picture(fit: FitResult, texts: dict[str, list[str]]) -> Picture:
    """Predicted against measured."""
    value = fit.predict(fit.rows.columns).value
    return Picture(
        name="predicted", title="Predicted against measured", figure=figures.predicted(fit), texts=texts,
        caption="Each point is a row that the law was fitted to. On the line the law agrees with it.",
        alt=f"{plural(len(value), 'row')}: measured {fit.law.target} from {fit.rows.target.min():.4g} to "
        f"{fit.rows.target.max():.4g}, predicted from {value.min():.4g} to {value.max():.4g}.",
    )  # fmt: skip


def curve_picture(fit: FitResult, texts: dict[str, list[str]]) -> Picture:
    """Data and fitted line of a law of one column."""
    name = fit.law.columns[0]
    x = fit.rows.columns[name]
    values = ", ".join(f"{key} {value:.4g}" for key, value in fit.params.items())
    return Picture(
        name="curve", title="The law", figure=figures.curve(fit), texts=texts,
        caption="The line is the law with its 95% band; grey is where 95% of single measurements would lie.",
        alt=f"{fit.law.target} against {name} from {x.min():.4g} to {x.max():.4g}: {fit.law.formula} with {values}.",
    )  # fmt: skip


def run_texts(table: pa.Table) -> list[str]:
    """A text for each run of a table of runs."""
    rows = table.select(["run_id", "params", "tokens", "flops", "loss"]).to_pylist()
    return [
        f"{r['run_id']}\nN {short(r['params'])}, D {short(r['tokens'])}\nC {flops(r['flops'])}, loss {r['loss']:.4f}"
        for r in rows
    ]


def row_texts(fit: FitResult) -> list[str]:
    """A text for each row of any fit."""
    columns = {name: values for name, values in fit.rows.columns.items() if values.ndim == 1}
    return [
        "\n".join([name, *(f"{key} {values[i]:.4g}" for key, values in columns.items()),
                   f"{fit.law.target} {fit.rows.target[i]:.4g}"])
        for i, name in enumerate(fit.rows.ids)
    ]  # fmt: skip


def _line_texts(analysis: Analysis) -> dict[str, list[str]]:
    if not analysis.law:
        return {}
    front = analysis.law.frontier
    return {
        "frontier": [
            f"C {flops(c)}\nN* {short(n)}, D* {short(d)}\n{d / n:.3g} tokens per parameter\nloss {loss:.4f}"
            for c, n, d, loss in zip(front.flops, front.params, front.tokens, front.loss, strict=True)
        ]
    }


def _loss_alt(analysis: Analysis) -> str:
    compute, loss = column(analysis.table, "flops"), column(analysis.table, "loss")
    said = f"{plural(len(loss), 'run')} from {flops(compute.min())} to {flops(compute.max())} FLOPs, "
    said += f"loss {loss.min():.3f} to {loss.max():.3f}."
    if analysis.forecast:
        ahead = analysis.forecast
        said += f" The frontier reaches {interval(ahead.loss)} at {flops(ahead.flops)} FLOPs."
    return said


def _isoflop(analysis: Analysis) -> Picture:
    minima = analysis.isoflop.minima
    said = "; ".join(
        f"{flops(m.flops)} FLOPs: " + (f"no usable minimum, {m.rejected}" if m.rejected else f"N* {short(m.params)}")
        for m in minima
    )
    members, texts = groups(analysis.table), run_texts(analysis.table)
    return Picture(
        name="isoflop", title="IsoFLOP curves", figure=figures.isoflop_curves(analysis), alt=f"Minima: {said}.",
        caption="At one budget a small model sees many tokens and a large one few. The star is the lowest point of the "
        "parabola, the label the budget in FLOPs; a dashed parabola has no usable minimum.",
        texts={
            "grouped": [texts[row] for m in minima for row in members[m.flops]],
            "minima": [
                f"minimum at {flops(m.flops)} FLOPs\nN* {counts(_size(m))}\nloss {m.loss:.4f}"
                for m in minima if not m.rejected
            ],
        },
    )  # fmt: skip


def _size(minimum: Minimum) -> Estimate:
    return Estimate(value=minimum.params, low=minimum.params_low, high=minimum.params_high)


def _surface_alt(analysis: Analysis) -> str:
    params, tokens = column(analysis.table, "params"), column(analysis.table, "tokens")
    said = f"Runs from {compact(params.min())} to {compact(params.max())} parameters and {compact(tokens.min())} to "
    said += f"{compact(tokens.max())} tokens over the contours of the fitted law."
    if analysis.law:
        at, ratio = largest_budget(analysis, analysis.law)
        said += f" At {flops(at)} FLOPs the efficient path has {counts(ratio)} tokens per parameter."
    return said


def _splits(analysis: Analysis, texts: dict[str, list[str]]) -> Iterator[Picture]:
    grey = "The grey part lies beyond the runs."
    size = ratio = "Points are the isoFLOP minima."
    if analysis.law:
        at, found = largest_budget(analysis, analysis.law)
        size = f"The best size grows as compute to the power {interval(analysis.law.exponent)} by the surface fit."
        ratio = f"At {flops(at)} FLOPs the best split is {counts(found)} tokens per parameter by the surface fit."
    yield Picture(
        name="size", title="Optimal size", figure=figures.optimal_size(analysis), texts=texts, alt=size,
        caption=f"The best number of parameters for each budget. {grey}",
    )  # fmt: skip
    yield Picture(
        name="ratio", title="Optimal tokens per parameter", figure=figures.tokens_per_parameter(analysis), texts=texts,
        caption=f"The best tokens for each parameter. {grey}", alt=ratio,
    )  # fmt: skip


def _backtest(analysis: Analysis) -> Picture:
    tested, compute = analysis.backtest, column(analysis.table, "flops")
    ids = analysis.table["run_id"].to_pylist()
    texts = {}
    for i, name in enumerate(laws_by_error(tested)[:MOST_LAWS]):
        trials = sorted((trial for trial in tested.trials if trial.law == name), key=lambda trial: trial.ratio)
        x, y = held_out(trials, compute)
        names = [ids[row] for trial in trials for row in trial.rows]
        texts[f"heldout{i}"] = [f"{n}\n{a:.3g} times beyond\n{b:+.2f}%" for n, a, b in zip(names, x, y, strict=True)]
    said = "; ".join(f"{rank.law} {percent(rank.rmse)}, mean {rank.bias:+.2%}" for rank in tested.ranking)
    return Picture(
        name="backtest", title="Back-test", figure=figures.backtest(tested, analysis.table), texts=texts,
        caption="The largest budgets were left out and predicted from the others. Below zero, the larger runs came out "
        "better than predicted. Points outside the grey refute the law's own intervals.",
        alt=f"Root mean square error on held-out larger runs: {said}.",
    )  # fmt: skip


def _next_runs(analysis: Analysis, texts: dict[str, list[str]]) -> Picture:
    advice = analysis.recommended
    said = "; ".join(f"{short(run.params)} parameters on {short(run.tokens)} tokens" for run in advice.runs)
    worth = f"{interval(advice.before, '.4g')} now, {interval(advice.after, '.4g')} expected"
    advised = [f"to train: N {short(run.params)}, D {short(run.tokens)}\n{run.why}" for run in advice.runs]
    return Picture(
        name="next_runs", title="Where to train next", figure=figures.next_runs(analysis),
        texts={**texts, "advised": advised},
        caption="Left, the runs to train next among those there are. Right, the 95% interval of the decision now and "
        "as expected after them.",
        alt=f"To train: {said}. {DECISIONS[advice.decision]}: {worth}.",
    )  # fmt: skip
