"""What a reader of a whole analysis must keep in mind, by name: of the design, the fit, and the methods together."""

import numpy as np
import pyarrow as pa

from analysis.doubt import Doubt
from analysis.isoflop import IsoFlop
from analysis.surface import Surface
from analysis.tables.table import FLOPS_RULE, column
from analysis.words import plural

MOST_REJECTED = 4  # isoFLOP budgets whose reason is printed
LEAST_SIZES, LEAST_DECADES = 4, 2.0  # of the protocol


def cautions(table: pa.Table, surface: Surface | None, minima: IsoFlop | None) -> tuple[Doubt, ...]:
    """Everything, the design first."""
    found = [*_design(table), *(_fit(surface) if surface else ()), *(_minima(minima) if minima else ())]
    if surface and minima and minima.params:
        other = minima.params.exponent
        if not (other.low <= surface.exponent.high and surface.exponent.low <= other.high):
            text = f"the isoFLOP exponent {other.value:.3f} and the surface's {surface.exponent.value:.3f}"
            found.append(Doubt(name="methods_disagree", text=f"{text} disagree beyond their intervals"))
    return tuple(found)


def _design(table: pa.Table) -> list[Doubt]:
    if not table.num_rows:
        return []
    sizes, flops = len(np.unique(column(table, "params"))), column(table, "flops")
    decades = np.log10(flops.max() / flops.min())
    found = []
    if sizes < LEAST_SIZES:
        found.append(("few_sizes", f"only {plural(sizes, 'model size')}; at least {LEAST_SIZES} are advised"))
    if FLOPS_RULE in table.column_names:
        text = "the table has no flops: they were computed as 6 N D, without attention and head"
        found.append(("flops_by_rule", text))
    if decades < LEAST_DECADES - 0.02:
        text = f"compute spans {decades:.1f} decades; at least {LEAST_DECADES:g} are advised"
        found.append(("short_range", text))
    for name, text in (
        ("content", "the runs were trained on different data sets: their losses are not one surface"),
        ("vocab", "the runs use different vocabularies: compare bits per byte, not nats per token"),
    ):
        if name in table.column_names and len(set(table[name].to_pylist())) > 1:
            found.append((f"mixed_{name}", text))
    return [Doubt(name=name, text=text) for name, text in found]


def _minima(minima: IsoFlop) -> list[Doubt]:
    rejected = [m for m in minima.minima if m.rejected]
    found = [Doubt(name="isoflop_rejected", text=f"budget {m.flops:.3g}: {m.rejected}") for m in rejected]
    if len(rejected) > MOST_REJECTED:
        text = f"{len(rejected)} of {len(minima.minima)} isoFLOP budgets have no usable minimum"
        found = [*found[:MOST_REJECTED], Doubt(name="isoflop_rejected", text=text)]
    return found


def _fit(surface: Surface) -> list[Doubt]:
    found = [*surface.doubts, *surface.misfit.warnings()]
    if surface.undetermined:
        found.insert(0, Doubt(name="undetermined", text=f"these runs do not determine the law: {surface.undetermined}"))
    if surface.boot.converged < 0.98:
        text = f"only {surface.boot.converged:.0%} of the bootstrap refits converged"
        found.append(Doubt(name="bootstrap_not_converged", text=text))
    return found
