"""Decide by a fitted law: how to spend a budget, what to train next, what a larger run will reach."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from rich.console import Console

from launch.analysing import FitOptions, analyse_source, find_law, source_of

console = Console()


@dataclass(frozen=True, kw_only=True)
class OptimumOptions(FitOptions):
    flops: float
    """The budget."""
    inference_tokens: float | None = None
    """Also the model that is cheapest to train and to use on so many tokens."""
    unique_tokens: float | None = None
    """Also the best model when there are only so many different tokens."""
    params: float | None = None
    """Also what this size would reach with the budget."""


@dataclass(frozen=True, kw_only=True)
class ArmsOptions(FitOptions):
    by: str
    """The column that says which arm a run belongs to."""
    flops: float | None = None
    """The first arm's budget; default: the largest trained."""
    shared: tuple[str, ...] = ("alpha", "beta")
    """Parameters that the arms are asked to have in common."""


@dataclass(frozen=True, kw_only=True)
class NextOptions(FitOptions):
    budget: float
    """FLOPs that may be spent."""
    decision: Literal["params", "loss", "ratio", "exponent"] = "params"
    """What is to become surer: the best size, the loss, the tokens per parameter at the target, or the exponent."""
    most_runs: int = 6
    """At most so many runs."""


@dataclass(frozen=True, kw_only=True)
class ForecastOptions(FitOptions):
    out: Path
    """File to write; it must not exist."""
    note: str = ""
    """Kept in the file: what the forecast is for."""


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    path: tyro.conf.Positional[Path]
    """A file that `scaling forecast` wrote."""
    loss: float
    """What the run reached, in nats a token."""
    params: float | None = None
    """Of the run: refused when it is not the run that was forecast."""
    tokens: float | None = None
    """Of the run, likewise."""
    run_id: str = ""
    """Kept in the score."""
    note: str = ""
    """Kept in the score."""


@dataclass(frozen=True, kw_only=True)
class LedgerOptions:
    folder: tyro.conf.Positional[Path] = Path()
    """Searched with everything below it."""


def optimum(arguments: list[str]) -> None:
    """The best size and tokens for a budget, with intervals; by option with inference, a data cap or a given size."""
    source, options = source_of("optimum", OptimumOptions, arguments)
    from analysis import decisions
    from analysis.words import counts, interval, short

    analysis, _ = analyse_source(source, options, forecast_flops=options.flops)
    surface, best = determined(analysis), analysis.forecast
    arm = decisions.arm(surface.boot, surface.kappa)
    found = {"optimum": best}
    lines = [
        f"{options.flops:.3g} FLOPs, {best.ratio:.3g} times the largest run: {counts(best.params)} parameters on "
        f"{counts(best.tokens)} tokens, {counts(best.tokens_per_param)} a parameter; loss {interval(best.loss)}",
        *(f"  - {doubt.name}: {doubt.text}" for doubt in best.warnings),
    ]
    if options.inference_tokens is not None:
        found["served"] = decisions.serve(arm, inference_tokens=options.inference_tokens, flops=options.flops)
        lines.append(found["served"].describe())
    if options.unique_tokens is not None:
        found["capped"] = capped = decisions.capped(arm, flops=options.flops, unique_tokens=options.unique_tokens)
        lines.append(
            f"with {short(capped.unique_tokens)} different tokens: {counts(capped.params)} parameters, "
            f"{interval(capped.epochs, '.3g')} epochs; loss {interval(capped.loss)} ({capped.source})"
        )
    if options.params is not None:
        found["fixed_size"] = fixed = decisions.fixed_size(arm, params=options.params, flops=options.flops)
        lines.append(
            f"with {short(fixed.params)} parameters: {short(fixed.tokens)} tokens, {fixed.ratio:.3g} a parameter, "
            f"{interval(fixed.over_training, '.3g')} times the optimum's; loss {interval(fixed.loss)}, which the "
            f"optimum reaches with {interval(fixed.same_loss_flops, '.3g')} FLOPs"
        )
    _print(lines, found, options)


def arms(arguments: list[str]) -> None:
    """Two or more arms (corpora, recipes, architectures): do they share exponents, and what is one worth in compute?"""
    source, options = source_of("arms", ArmsOptions, arguments)
    if not isinstance(source, Path):
        raise ValueError("arms needs a table with a column that names the arm")
    from analysis import decisions
    from analysis.bootstrap import bootstrap
    from analysis.fit import fit
    from analysis.frontier import measure_kappa
    from analysis.pooled import pool
    from analysis.tables.table import canonical, column, group_by, select

    runs = select(canonical(options.table(source), str(source)), trust_flops=options.trust_flops).table
    law, parts = find_law(options.law), group_by(runs, options.by)
    pooled = pool(law, runs, by=options.by, shared=options.shared)
    fitted = {
        name: decisions.arm(bootstrap(fit(law, part), seed=options.bootstrap_seed), measure_kappa(part))
        for name, part in parts.items()
    }
    names = list(fitted)
    flops = options.flops or float(column(parts[names[0]], "flops").max())
    found: dict[str, Any] = {"equality": pooled.equality}
    lines = [pooled.equality.describe()]
    for other in names[1:]:
        found[other] = decisions.multiplier(fitted[names[0]], fitted[other], flops)
        lines.append(f"{other} against {names[0]} at {flops:.3g} FLOPs: {found[other].describe()}")
    _print(lines, found, options)


def next_runs(arguments: list[str]) -> None:
    """What to train next for a budget, and what it would make surer."""
    source, options = source_of("next", NextOptions, arguments)
    from analysis.design import recommend

    analysis, _ = analyse_source(source, options)
    surface = determined(analysis)
    found = recommend(
        surface.boot, analysis.table, surface.kappa, options.budget, decision=options.decision,
        target_flops=analysis.target, most_runs=options.most_runs,
    )  # fmt: skip
    if options.json:
        return print(json.dumps(asdict(found)))
    console.print(found.describe(), markup=False, highlight=False, soft_wrap=True)


def forecast(arguments: list[str]) -> None:
    """Write down what a larger run will reach, before it is trained."""
    source, options = source_of("forecast", ForecastOptions, arguments)
    from analysis.ledger import write_forecast

    analysis, _ = analyse_source(source, options)
    surface = determined(analysis)
    if analysis.forecast is None:
        raise ValueError("no forecast: " + "; ".join(item.reason for item in analysis.not_done))
    write_forecast(
        options.out, analysis.forecast, table=analysis.table, fit=surface.fit, note=options.note, date=_now()
    )
    ahead = analysis.forecast
    print(
        f"{options.out}: {ahead.loss.value:.4f} nats a token at {ahead.flops:.3g} FLOPs, one run between "
        f"{ahead.run.low:.4f} and {ahead.run.high:.4f}\nwhen the run is trained: scaling score {options.out} --loss L"
    )


def score(arguments: list[str]) -> None:
    """Compare a forecast with the run that was trained, and write the score beside it."""
    from analysis.ledger import score as score_forecast

    options = tyro.cli(ScoreOptions, args=arguments, prog="scaling score", description=score.__doc__)
    found = score_forecast(
        options.path, options.loss, date=_now(), params=options.params, tokens=options.tokens,
        run_id=options.run_id, note=options.note,
    )  # fmt: skip
    print(
        f"error {found.error:+.2%}, {found.z:+.1f} standard deviations: "
        f"{'inside' if found.inside else 'outside'} the 95% interval of one run"
    )


def ledger(arguments: list[str]) -> None:
    """All forecasts below a folder, and how often they held."""
    from analysis.ledger import ledger as read_ledger

    options = tyro.cli(LedgerOptions, args=arguments, prog="scaling ledger", description=ledger.__doc__)
    console.print(read_ledger(options.folder).text(), markup=False, highlight=False, soft_wrap=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def determined(analysis: Any) -> Any:
    """The surface, or ValueError with what is missing."""
    if analysis.law is None:
        why = "; ".join(f"{item.part}: {item.reason}" for item in analysis.not_done)
        raise ValueError(f"these runs do not determine a law: {why}")
    return analysis.law


def _print(lines: list[str], found: dict[str, Any], options: FitOptions) -> None:
    if options.json:
        return print(json.dumps({name: asdict(value) for name, value in found.items()}, default=_plain))
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
