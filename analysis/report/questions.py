"""What a reader of a scaling-law fit must be told, filled in from the analysis itself.

The questions follow the reporting checklist of Li, Kudugunta & Zettlemoyer 2025,
"(Mis)Fitting: A Survey of Scaling Laws" (arXiv:2502.18969). The protocol's own points are in
`analysis.report.checklist`.
"""

import numpy as np

from analysis.analyse import Analysis
from analysis.surface import Surface
from analysis.tables.table import FLOPS_RULE, column
from analysis.words import compact

UNKNOWN = "not recorded in this table"


def questions(analysis: Analysis) -> list[tuple[str, str]]:
    """(question, answer) pairs; an answer that the table cannot give says so."""
    return [*_form(analysis), *_training(analysis), *_collection(analysis), *_fitting(analysis)]


def _form(analysis: Analysis) -> list[tuple[str, str]]:
    surface = analysis.surface
    law = surface.fit.law.formula if surface else "none was fitted"
    kappa = surface.kappa.describe() if surface else "-"
    own = "flops_exact" in analysis.table.column_names
    counted = "N: all parameters, embedding and head included. D: tokens seen" if own else "as given in the table"
    compute = "exactly, from the matrix products, head and attention included" if own else "as given in the table"
    if FLOPS_RULE in analysis.table.column_names:
        compute = "as 6 N D: the table has no flops"
    return [
        ("What form is fitted?", f"{law}, fixed before the data; isoFLOP parabolas in ln N beside it"),
        ("What do N and D mean?", counted),
        ("How is compute counted?", f"{compute}; {kappa}"),
        ("What is predicted?", "held-out loss, nats a token, on a fixed set" if own else "the table's loss"),
    ]  # fmt: skip


def _training(analysis: Analysis) -> list[tuple[str, str]]:
    return [
        ("Learning rates?", _spread(analysis, "lr")),
        ("Schedule?", _values(analysis, "schedule") + "; undecayed trunks are refused"),
        ("Batch, in sequences?", _values(analysis, "batch")),
        ("Context, in tokens?", _values(analysis, "context")),
        ("Tokenizer and vocabulary?", f"{_values(analysis, 'tokenizer')}; vocabulary: {_values(analysis, 'vocab')}"),
        ("Passes over the data, at most?", _highest(analysis, "epochs")),
        ("Was each size tuned?", "not known to the analysis: the study's plan says which learning rates were tried"),
    ]


def _collection(analysis: Analysis) -> list[tuple[str, str]]:
    table, left = analysis.table, analysis.selection.reasons()
    if not table.num_rows:
        return [("How many runs?", "none usable")]
    params, flops, tokens = (column(table, name) for name in ("params", "flops", "tokens"))
    seeds = column(table, "seed")
    decades = np.log10(flops.max() / flops.min())
    least, most = compact(params.min()), compact(params.max())
    return [
        ("How many runs?", f"{table.num_rows} fitted, {sum(left.values())} left out"),
        ("What sizes?", f"{len(np.unique(params))}, from {least} to {most} parameters"),
        ("What token counts?", f"from {compact(tokens.min())} to {compact(tokens.max())}"),
        ("What range of compute?", f"{flops.min():.3g} to {flops.max():.3g} FLOPs, {decades:.1f} decades"),
        ("How many seeds?", f"{len(np.unique(seeds[np.isfinite(seeds)]))}" if np.isfinite(seeds).any() else UNKNOWN),
        ("What was left out?", "; ".join(f"{n}: {why}" for why, n in left.items()) or "nothing"),
        (
            "Are intermediate checkpoints used?",
            "no: each point is the end of a run" if "flops_exact" in table.column_names else UNKNOWN,
        ),
    ]  # fmt: skip


def _fitting(analysis: Analysis) -> list[tuple[str, str]]:
    surface = analysis.surface
    if not surface:
        return [("How was it fitted?", "it was not: " + "; ".join(item.reason for item in analysis.not_done))]
    fit = surface.fit
    objective = f"{fit.loss.describe()} of {'ln L' if fit.law.in_log else 'L'}, summed"
    weights = "equal weights" if np.ptp(fit.weights) == 0 else "weighted"
    agreeing = f"{fit.starts_agreeing:.0%} end at the same optimum"
    return [
        ("What is minimised?", f"{objective}; residual scale {fit.scale:.2g}; {weights}"),
        ("With what optimizer?", "damped Newton with exact derivatives, coefficients solved linearly at each start"),
        ("From what starts?", f"{fit.starts} on a grid; {agreeing}; {fit.status.value}"),
        ("How sure is it?", f"95% percentile intervals; {surface.boot.describe()}"),
        ("Does the form fit?", _form_fits(surface)),
        ("Was it tested on held-out scale?", "yes: see the back-test" if analysis.backtest else "no"),
    ]  # fmt: skip


def _form_fits(surface: Surface) -> str:
    found = surface.misfit
    if surface.undetermined:
        return f"not known: {surface.undetermined}"
    if not found.seeds:
        return "not known: no cell was trained with two seeds" + ("; it misses the largest budget" * bool(found.missed))
    against = f"residuals are {found.ratio:.1f} times the noise of the seeds"
    return f"{against}; it {'misses' if found.missed else 'holds at'} the largest budget"


def _values(analysis: Analysis, name: str) -> str:
    if name not in analysis.table.column_names:
        return UNKNOWN
    found = sorted({str(value) for value in analysis.table[name].to_pylist() if value not in (None, "")})
    return ", ".join(found) or UNKNOWN


def _spread(analysis: Analysis, name: str) -> str:
    if name not in analysis.table.column_names or not analysis.table.num_rows:
        return UNKNOWN
    values = column(analysis.table, name)
    return f"{values.min():.3g}" if np.ptp(values) == 0 else f"{values.min():.3g} to {values.max():.3g}"


def _highest(analysis: Analysis, name: str) -> str:
    known = name in analysis.table.column_names and analysis.table.num_rows
    return f"{column(analysis.table, name).max():.3g}" if known else UNKNOWN
