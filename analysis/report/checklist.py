"""The protocol's 25 points, filled in from the data: done, not done, or unknown to the analysis.

A point is called done only where the table or the analysis itself shows it. What
a table cannot show is unknown, and the evidence says what would show it.
"""

from dataclasses import dataclass

import numpy as np

from analysis.analyse import Analysis
from analysis.tables.table import FLOPS_RULE, column
from analysis.words import flops, percent, plural

DONE, NOT_DONE, UNKNOWN = "done", "not done", "unknown"
OWN = "flops_exact"  # a column that only our own records have
PARTS = ("params_total", "params_body", "params_head", "params_active")
LEAST_SIZES, LEAST_DECADES, LEAST_FORMS, LEAST_RATES = 4, 2.0, 3, 3
SAME_SHARE = 1.5  # warm-up over horizon, and width over depth, may vary by this factor
RULE_OF_SIX = 0.005  # relative distance of C from 6 N D within which it was computed so


@dataclass(frozen=True, kw_only=True)
class Point:
    """One demand of the protocol. state: done, not done or unknown."""

    number: int
    demand: str
    state: str
    evidence: str


def checklist(analysis: Analysis) -> tuple[Point, ...]:
    """All 25 points in order."""
    answers = (*_counting(analysis), *_training(analysis), *_design(analysis), *_fitting(analysis), *_saying(analysis))
    return tuple(
        Point(number=i, demand=demand, state=state, evidence=evidence)
        for i, (demand, state, evidence) in enumerate(answers, start=1)
    )


Answer = tuple[str, str, str]  # demand, state, evidence


def _counting(analysis: Analysis) -> list[Answer]:
    have = [name for name in PARTS if _has(analysis, name)]
    data = [name for name in ("tokens_loss_bearing", "tokens_unique", "epochs") if _has(analysis, name)]
    bits = _has(analysis, "bits_per_byte")
    own = _has(analysis, OWN)
    return [
        ("N recorded as total, body, head and active", *_parts("columns", have, PARTS)),
        ("C counted with head and attention, 6 N D only as a check", *_flops(analysis)),
        (
            "D recorded as seen, loss-bearing, unique, and epochs",
            *_parts("beside tokens", data, ("tokens_loss_bearing", "tokens_unique", "epochs")),
        ),
        (
            "one fixed held-out set; nats per token and bits per byte",
            DONE if own and bits else UNKNOWN,
            "held-out loss of one fixed set, with bits per byte" if own and bits
            else "bits_per_byte is given; whether the set was fixed is not" if bits
            else "the table gives a loss, and does not say on what text; no bits_per_byte",
        ),
        (
            "auxiliary losses kept out of the fitted loss",
            DONE if own else UNKNOWN,
            "the held-out loss is the cross-entropy alone" if own else "the table does not say what its loss contains",
        ),
    ]  # fmt: skip


def _parts(what: str, have: list[str], wanted: tuple[str, ...]) -> tuple[str, str]:
    missing = [name for name in wanted if name not in have]
    if not missing:
        return DONE, f"{what}: {', '.join(have)}"
    return UNKNOWN, f"not in the table: {', '.join(missing)}"


def _flops(analysis: Analysis) -> tuple[str, str]:
    if _has(analysis, OWN):
        return DONE, "counted from the matrix products, head and attention included"
    if _has(analysis, FLOPS_RULE):
        return NOT_DONE, "the table has no flops: they are 6 N D"
    if not analysis.table.num_rows:
        return UNKNOWN, "no usable run"
    ratio = column(analysis.table, "flops") / (6 * column(analysis.table, "params") * column(analysis.table, "tokens"))
    if np.abs(ratio - 1).max() < RULE_OF_SIX:
        return NOT_DONE, "the table's flops are 6 N D"
    span = f"from {ratio.min():.3g} to {ratio.max():.3g} times 6 N D"
    return UNKNOWN, f"flops as given, {span}; how they were counted is not said"


def _training(analysis: Analysis) -> list[Answer]:
    schedules = _kinds(analysis, "schedule")
    told = [name for name in ("decayed", "progress") if _has(analysis, name)]
    decayed = f"{', '.join(schedules or told)}; runs before the end of their decay are left out"
    return [
        ("warm-up as a fraction of the horizon", *_share(analysis, "warmup_tokens", "tokens", "warm-up over tokens")),
        (
            "decay matched to the horizon; points before the decay refused",
            DONE if schedules or told else UNKNOWN,
            decayed if schedules or told else "the table has no schedule",
        ),
        ("branches of one trunk carry a cluster id", *_clusters(analysis)),
        ("learning rate tuned for each size; optimum not on the grid's edge", *_rates(analysis)),
        ("the winner run again on a fresh seed", *_winner(analysis)),
        ("weight decay through its time scale, batch in tokens through a law of D", *_batches(analysis)),
        ("one aspect rule for all shapes", *_share(analysis, "dim", "layers", "width over depth")),
    ]  # fmt: skip


def _share(analysis: Analysis, top: str, bottom: str, what: str) -> tuple[str, str]:
    missing = [name for name in (top, bottom) if not _has(analysis, name)]
    if missing or not analysis.table.num_rows:
        return UNKNOWN, f"not in the table: {', '.join(missing) or 'any usable run'}"
    share = column(analysis.table, top) / column(analysis.table, bottom)
    low, high = np.nanmin(share), np.nanmax(share)
    return DONE if high <= SAME_SHARE * low else NOT_DONE, f"{what} from {low:.3g} to {high:.3g}"


def _clusters(analysis: Analysis) -> tuple[str, str]:
    rows = analysis.table.num_rows
    clusters = len(set(analysis.table["cluster"].to_pylist()))
    if clusters < rows:
        return DONE, f"{rows} runs in {plural(clusters, 'cluster')}"
    if _has(analysis, OWN):
        return DONE, "no two runs share a trunk"
    return UNKNOWN, "each run counts as its own cluster; a column cluster would say which share a trunk"


def _rates(analysis: Analysis) -> tuple[str, str]:
    if not _has(analysis, "lr"):
        return UNKNOWN, "the table has no lr"
    cells: dict[tuple[float, float], list[tuple[float, float]]] = {}
    columns = (column(analysis.table, name) for name in ("params", "tokens", "lr", "loss"))
    for n, d, lr, loss in zip(*columns, strict=True):
        cells.setdefault((n, d), []).append((loss, lr))
    tried = {cell: runs for cell, runs in cells.items() if len({lr for _, lr in runs}) >= LEAST_RATES}
    if not tried:
        return UNKNOWN, "one learning rate for each cell; whether it was tuned is not in the table"
    edge = [c for c, runs in tried.items() if min(runs)[1] in (min(lr for _, lr in runs), max(lr for _, lr in runs))]
    if edge:
        return NOT_DONE, f"best on the edge of the rates tried in {len(edge)} of {plural(len(tried), 'cell')}"
    return DONE, f"best inside the rates tried in {plural(len(tried), 'cell')} of {len(cells)}"


def _winner(analysis: Analysis) -> tuple[str, str]:
    if not analysis.table.num_rows or not np.isfinite(column(analysis.table, "seed")).any():
        return UNKNOWN, "the table has no seeds"
    params, tokens, loss, seed = (column(analysis.table, name) for name in ("params", "tokens", "loss", "seed"))
    best = int(np.argmin(loss))
    seeds = len(np.unique(seed[(params == params[best]) & (tokens == tokens[best])]))
    return DONE if seeds > 1 else NOT_DONE, f"the run of lowest loss has {plural(seeds, 'seed')} in its cell"


def _batches(analysis: Analysis) -> tuple[str, str]:
    missing = [name for name in ("weight_decay", "lr", "batch") if not _has(analysis, name)]
    if missing:
        return UNKNOWN, f"not in the table: {', '.join(missing)}"
    decay, lr, batch = (column(analysis.table, name) for name in ("weight_decay", "lr", "batch"))
    steps = batch / np.where(lr * decay > 0, lr * decay, np.nan) / column(analysis.table, "tokens")
    low, high = np.nanmin(steps), np.nanmax(steps)
    return (DONE if high <= SAME_SHARE * low else NOT_DONE), f"B / (lr x decay x D) varies by a factor {high / low:.3g}"


def _design(analysis: Analysis) -> list[Answer]:
    seeds = analysis.surface.misfit.seeds if analysis.surface else None
    spread = f"spread {percent(seeds.scale)} over {plural(seeds.cells, 'cell')}" if seeds else "no cell has two seeds"
    weighted = analysis.surface is not None and np.ptp(analysis.surface.fit.weights) > 0
    how = "used as weights" if weighted else "beside the residuals, not as weights: all runs count alike"
    return [
        (
            "two seeds on two cells at least, their spread used as weights",
            DONE if seeds and seeds.cells > 1 and weighted else NOT_DONE,
            f"{spread}; {how}" if seeds else spread,
        ),
        ("four sizes and two decades of compute at least, minima bracketed", *_range(analysis)),
    ]


def _range(analysis: Analysis) -> tuple[str, str]:
    if not analysis.table.num_rows:
        return NOT_DONE, "no usable run"
    sizes, compute = len(np.unique(column(analysis.table, "params"))), column(analysis.table, "flops")
    decades = np.log10(compute.max() / compute.min())
    minima = analysis.isoflop
    said = f"{plural(sizes, 'size')}, {decades:.1f} decades, "
    said += f"{len(minima.usable)} of {len(minima.minima)} isoFLOP minima bracketed" if minima else "no isoFLOP groups"
    wide = sizes >= LEAST_SIZES and decades >= LEAST_DECADES - 0.02
    good = wide and (minima is None or len(minima.usable) == len(minima.minima))
    return DONE if good else NOT_DONE, said


def _fitting(analysis: Analysis) -> list[Answer]:
    surface, tested = analysis.surface, analysis.backtest
    if surface is None:
        reason = next((item.reason for item in analysis.not_done), "nothing was fitted")
        fitted = [NOT_DONE, reason]
    else:
        fit = surface.fit
        fitted = [
            DONE if fit.law.in_log else NOT_DONE,
            f"{'ln L' if fit.law.in_log else 'L'}, {fit.loss.describe()}, summed; residual scale {fit.scale:.2g}",
        ]
    ready = DONE if surface else NOT_DONE
    forms = len({trial.law for trial in tested.trials}) if tested else 0
    return [
        ("fit in logs, Huber loss summed, delta reported", *fitted),
        (
            "bootstrap by cluster, Fisher and profile intervals, warning where they disagree",
            ready, f"{surface.boot.describe()}; all three in The law" if surface else "nothing was fitted",
        ),
        ("parameters and covariance stored at full precision", ready, "fit.json" if surface else "nothing was fitted"),
        (
            "three forms at least compared on held-out larger scale",
            DONE if forms >= LEAST_FORMS else NOT_DONE,
            f"{plural(forms, 'form')} back-tested" if tested else _why(analysis, "back-test"),
        ),
        ("residuals against ln N, ln D and D/N", ready, "figure and table" if surface else "nothing was fitted"),
        (
            "back-test: top budgets dropped, signed error reported",
            DONE if tested else NOT_DONE, "table and figure" if tested else _why(analysis, "back-test"),
        ),
    ]  # fmt: skip


def _saying(analysis: Analysis) -> list[Answer]:
    ahead, reasons = analysis.forecast, analysis.selection.reasons()
    bad = sum(count for why, count in reasons.items() if why in ("diverged", "failed"))
    left = sum(reasons.values())
    decided = "N*, D/N and the loss, each with its interval" if ahead else _why(analysis, "forecast")
    return [
        ("intervals on decisions: N*, D/N, loss", DONE if ahead else NOT_DONE, decided),
        (
            "forecast written and hashed before the target run, scored after",
            UNKNOWN, "the table does not say whether the run was made; a forecast file keeps the forecast",
        ),
        (
            "diverged and killed runs recorded, none dropped in silence",
            DONE if bad or _has(analysis, OWN) else UNKNOWN,
            f"{left} left out and listed, {bad} of them diverged or failed"
            + ("" if bad or _has(analysis, OWN) else "; runs that are not in the table cannot be seen"),
        ),
        (
            "extrapolation ratio printed, a warning beyond 300",
            DONE if ahead else NOT_DONE,
            f"{ahead.ratio:.3g} times the largest run, to {flops(ahead.flops)} FLOPs" if ahead else decided,
        ),
        ("the reporting checklist filled in", DONE, "below"),
    ]  # fmt: skip


def _why(analysis: Analysis, part: str) -> str:
    reasons = [item.reason for item in analysis.not_done if item.part == part]
    return reasons[0] if reasons else "not asked for: a thorough analysis does it"


def _has(analysis: Analysis, name: str) -> bool:
    """Whether the table holds anything in this column."""
    return name in analysis.table.column_names and analysis.table[name].null_count < analysis.table.num_rows


def _kinds(analysis: Analysis, name: str) -> list[str]:
    found = analysis.table[name].to_pylist() if name in analysis.table.column_names else []
    return sorted({str(value) for value in found if value not in (None, "")})
